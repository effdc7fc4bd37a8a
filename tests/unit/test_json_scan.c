/* JSON without a tree: which texts are JSON, and reading them where they stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "base/mem.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct span good[] = {
    SPAN("null"),
    SPAN("true"),
    SPAN("false"),
    SPAN("0"),
    SPAN("-0"),
    SPAN("-0.0"),
    SPAN("1"),
    SPAN("-1"),
    SPAN("10"),
    SPAN("1e400"),
    SPAN("1E+2"),
    SPAN("1e-2"),
    SPAN("-1.5e0"),
    SPAN("0e1"),
    SPAN("0.1e01"),
    SPAN("123456789012345678901234567890"),
    SPAN("9223372036854775808"),
    SPAN("0.00000000000000000000000000001"),
    SPAN("1.7976931348623157e9999"),
    SPAN("\"\""),
    SPAN("\"a\""),
    SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
    SPAN("\"\\u0000\""),
    SPAN("\"\\u0041\\uaBcD\""),
    SPAN("\"\\ud83d\\ude00\""),
    SPAN("\"\\ud800\""),
    SPAN("\"\\udc00\\ud800\""),
    SPAN("\"\x7f\""),
    SPAN("\"\xc2\x80\""),
    SPAN("\"\xc3\xa9\""),
    SPAN("\"\xe2\x80\xa8\xe2\x80\xa9\""),
    SPAN("\"\xf0\x9f\x98\x80\""),
    SPAN("\"\xf4\x8f\xbf\xbf\""),
    SPAN("\"\xef\xbf\xbf\""),
    SPAN("\"\xef\xbb\xbf\""),
    SPAN("\"\xed\x9f\xbf\xee\x80\x80\""),
    SPAN("\"seven..\""),
    SPAN("\"eight...\""),
    SPAN("\"fifteen........\""),
    SPAN("\"sixteen.........\""),
    SPAN("[]"),
    SPAN("[ ]"),
    SPAN("[1]"),
    SPAN("[1,2]"),
    SPAN("[[],[[]],{}]"),
    SPAN("{}"),
    SPAN("{ }"),
    SPAN("{\"a\":1}"),
    SPAN("{\"a\":1,\"a\":2}"),
    SPAN("{\"\":0}"),
    SPAN("{\"a\":{\"b\":[{\"c\":[]}]}}"),
    SPAN("{\"a\\u0000b\":[1 , 2\t,\r\n3 ] }"),
    SPAN(" \t\r\n1\n"),
    SPAN("\n{\n\"a\" :\n[ null ]\n}\n"),
    SPAN("[true,false,null,\"x\",-1.0]"),
};

static const struct span bad[] = {
    SPAN(""),
    SPAN(" "),
    SPAN("\n"),
    SPAN("nul"),
    SPAN("nulll"),
    SPAN("True"),
    SPAN("NULL"),
    SPAN("NaN"),
    SPAN("-NaN"),
    SPAN("Infinity"),
    SPAN("-Infinity"),
    SPAN("undefined"),
    SPAN("a"),
    SPAN("01"),
    SPAN("-01"),
    SPAN("00"),
    SPAN("+1"),
    SPAN(".5"),
    SPAN("-.5"),
    SPAN("1."),
    SPAN("1.e1"),
    SPAN("-"),
    SPAN("--1"),
    SPAN("1e"),
    SPAN("1e+"),
    SPAN("1E-"),
    SPAN("1ee1"),
    SPAN("1.2.3"),
    SPAN("0x1"),
    SPAN("1_000"),
    SPAN("1 000"),
    SPAN("0.e1"),
    SPAN("1a"),
    SPAN("-a"),
    SPAN("-1x"),
    SPAN("\""),
    SPAN("\"a"),
    SPAN("a\""),
    SPAN("'a'"),
    SPAN("\"\\\""),
    SPAN("\"\\"),
    SPAN("\"\\x00\""),
    SPAN("\"\\a\""),
    SPAN("\"\\0\""),
    SPAN("\"\\\0\""),
    SPAN("\"\\u\""),
    SPAN("\"\\u0\""),
    SPAN("\"\\u00\""),
    SPAN("\"\\u000\""),
    SPAN("\"\\u00g0\""),
    SPAN("\"\\U0000\""),
    SPAN("\"\\ud800\\u\""),
    SPAN("\"\\ud800\\\""),
    SPAN("\"\n\""),
    SPAN("\"\t\""),
    SPAN("\"\0\""),
    SPAN("\"\x1f\""),
    SPAN("\"1234567\x01\""),
    SPAN("\"12345678\x1f\""),
    SPAN("\"\x80\""),
    SPAN("\"\xff\""),
    SPAN("\"\xc0\x80\""),
    SPAN("\"\xc1\xbf\""),
    SPAN("\"\xc3\""),
    SPAN("\"\xe0\x80\x80\""),
    SPAN("\"\xe0\x9f\xbf\""),
    SPAN("\"\xed\xa0\x80\""),
    SPAN("\"\xed\xbf\xbf\""),
    SPAN("\"\xf0\x80\x80\x80\""),
    SPAN("\"\xf0\x8f\xbf\xbf\""),
    SPAN("\"\xf4\x90\x80\x80\""),
    SPAN("\"\xf5\x80\x80\x80\""),
    SPAN("\"\xe2\x82\""),
    SPAN("\"\xf0\x9f\x98\""),
    SPAN("\xe2\x82\xac"),
    SPAN("["),
    SPAN("]"),
    SPAN("[1"),
    SPAN("[1,"),
    SPAN("[1,]"),
    SPAN("[,1]"),
    SPAN("[,]"),
    SPAN("[1,,2]"),
    SPAN("[1 2]"),
    SPAN("[1;2]"),
    SPAN("[1}"),
    SPAN("[\"a\":1]"),
    SPAN("[1]]"),
    SPAN("[1],"),
    SPAN("[][]"),
    SPAN("[1]x"),
    SPAN("[\x0b]"),
    SPAN("[\x0c]"),
    SPAN("[\xc2\xa0]"),
    SPAN("[\0]"),
    SPAN("[]\0"),
    SPAN("{"),
    SPAN("}"),
    SPAN("{\"a\""),
    SPAN("{\"a\":"),
    SPAN("{\"a\":1"),
    SPAN("{\"a\":1,"),
    SPAN("{\"a\":1,}"),
    SPAN("{,}"),
    SPAN("{\"a\"}"),
    SPAN("{\"a\":}"),
    SPAN("{\"a\",1}"),
    SPAN("{\"a\"::1}"),
    SPAN("{\"a\" 1}"),
    SPAN("{a:1}"),
    SPAN("{'a':1}"),
    SPAN("{1:1}"),
    SPAN("{null:1}"),
    SPAN("{\"a\":1]"),
    SPAN("{\"a\":1 \"b\":2}"),
    SPAN("{\"a\":1,,\"b\":2}"),
    SPAN("{[]:1}"),
    SPAN("{}}"),
    SPAN("{} {}"),
    SPAN("1 2"),
    SPAN("1,2"),
    SPAN("// x\n1"),
    SPAN("/* x */1"),
    SPAN("1#x"),
    SPAN("\xef\xbb\xbf{}"),
    SPAN("\xef\xbb\xbf"),
    SPAN("\xff\xfe[\0]\0"),
    SPAN("\"a\" \"b\""),
};

static void accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!json_valid(good[i])) fail_msg("refused: %.*s", (int)good[i].n, good[i].p);
}

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (json_valid(bad[i])) fail_msg("row %zu accepted: %.*s", i, (int)bad[i].n, bad[i].p);
    assert_false(json_valid((struct span){NULL, 0}));
}

/* Every byte, at every place relative to a word, is plain or special as RFC 8259 has it. */
static void every_byte_at_every_offset(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 18; at++) {
            char text[20];
            memset(text, 'x', sizeof(text));
            text[0] = text[19] = '"';
            text[1 + at] = (char)c;
            bool valid = json_valid((struct span){text, sizeof(text)});
            bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            assert_int_equal(valid, plain);
        }
    }
}

static void tells_where_and_why(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        size_t where;
        const char *why;
    } rows[] = {
        {SPAN(""), 0, "unexpected end"},
        {SPAN("{\"a\":"), 5, "unexpected end"},
        {SPAN("{\"a\":01}"), 6, "comma or closing bracket expected"},
        {SPAN("\xef\xbb\xbf{}"), 0, "byte order mark"},
        {SPAN("[1,x]"), 3, "unexpected character"},
        {SPAN("[\"ab\n\"]"), 4, "control character in a string"},
        {SPAN("[\"ab\xff\"]"), 4, "invalid UTF-8"},
        {SPAN("\"\\q\""), 2, "invalid escape"},
        {SPAN("1 x"), 2, "something follows the value"},
        {SPAN("{1:2}"), 1, "member name expected"},
        {SPAN("{\"a\" 2}"), 5, "colon expected"},
        {SPAN("-x"), 1, "invalid number"},
        {SPAN("trux"), 3, "unexpected character"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t where = 99;
        const char *why = NULL;
        assert_int_equal(json_check(rows[i].text, &where, &why), -1);
        assert_int_equal(where, rows[i].where);
        assert_string_equal(why, rows[i].why);
    }
}

/* `depth` containers in one another, arrays and objects in turn if `mixed`. */
static struct span nested(struct buf *b, size_t depth, bool mixed)
{
    buf_clear(b);
    for (size_t i = 0; i < depth; i++)
        buf_str(b, mixed && i % 3 == 1 ? "{\"a\":" : "[");
    buf_str(b, "0");
    for (size_t i = depth; i-- > 0;)
        buf_byte(b, mixed && i % 3 == 1 ? '}' : ']');
    return buf_view(b);
}

static void limits_depth(void **state)
{
    (void)state;
    struct buf b;
    size_t where;
    const char *why;
    buf_init(&b, BUF_UNLIMITED);
    for (int mixed = 0; mixed < 2; mixed++) {
        assert_true(json_valid(nested(&b, JSON_DEPTH_MAX, mixed)));
        b.p[b.n - 1] = '}';
        assert_false(json_valid(buf_view(&b)));
        assert_int_equal(json_check(nested(&b, JSON_DEPTH_MAX + 1, mixed), &where, &why), -1);
        assert_string_equal(why, "nested too deep");
        assert_false(json_valid(nested(&b, 10000, mixed)));
    }
    buf_clear(&b);
    for (size_t i = 0; i < 100000; i++)
        buf_str(&b, "[");
    assert_int_equal(json_check(buf_view(&b), &where, &why), -1);
    assert_int_equal(where, JSON_DEPTH_MAX);
    /* Depth counts what is open, not what was. */
    buf_clear(&b);
    buf_byte(&b, '[');
    for (size_t i = 0; i < 2000; i++)
        buf_str(&b, "[{}],");
    buf_str(&b, "[]]");
    assert_true(json_valid(buf_view(&b)));
    buf_free(&b);
}

/* The heap copy has no byte more than the text, so that a read beyond the end is seen. */
static bool check_copy(const char *p, size_t n)
{
    char *copy = mem_alloc(n);
    if (n > 0) memcpy(copy, p, n);
    bool valid = json_valid((struct span){copy, n});
    free(copy);
    return valid;
}

static const struct span whole = SPAN(
    "{\"type\":\"publish\",\"a\":[1,-2.5e+10,true,false,null,{\"b\":\"\\ud83d\\ude00 \xe2\x82\xac "
    "\xf0\x9f\x98\x80 a long plain text, longer than two words\"}],\"\\u0000\":{\"\":[[],{}]}}");

static void refuses_every_prefix(void **state)
{
    (void)state;
    for (size_t n = 0; n < whole.n; n++)
        if (check_copy(whole.p, n)) fail_msg("prefix of %zu bytes accepted", n);
    assert_true(check_copy(whole.p, whole.n));
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* Walks over everything in an accepted text. */
static void walk(struct span value, int depth)
{
    struct span key, item;
    struct buf out;
    int64_t number;
    struct json_iter it = json_open(value);
    assert_true(depth <= JSON_DEPTH_MAX);
    switch (json_kind(value)) {
    case JSON_OBJECT:
        while (json_member(&it, &key, &item)) {
            json_key_is(key, "type");
            assert_true(json_valid(item));
            walk(item, depth + 1);
        }
        break;
    case JSON_ARRAY:
        while (json_element(&it, &item)) {
            assert_true(json_valid(item));
            walk(item, depth + 1);
        }
        break;
    case JSON_STRING:
        buf_init(&out, value.n);
        json_unescape(value, &out);
        assert_false(out.failed);
        buf_free(&out);
        break;
    case JSON_NUMBER: json_integer(value, &number); break;
    default: break;
    }
}

static void survives_mutations(void **state)
{
    (void)state;
    static const char spice[] = "{}[]\",:\\u0dD8-+.eE1tn \n\x80\xff\xe2";
    uint32_t seed = 12345;
    size_t accepted = 0;
    for (int round = 0; round < 60000; round++) {
        char *copy = mem_dup(whole.p, whole.n);
        size_t n = whole.n;
        for (uint32_t k = random_next(&seed) % 3 + 1; k > 0; k--) {
            size_t at = random_next(&seed) % n;
            char with = spice[random_next(&seed) % (sizeof(spice) - 1)];
            if (random_next(&seed) % 4 > 0) {
                copy[at] = with;
            } else {
                memmove(copy + at, copy + at + 1, n - at - 1);
                n--;
            }
        }
        copy = mem_grow(copy, n);
        if (json_valid((struct span){copy, n})) {
            accepted++;
            walk((struct span){copy, n}, 0);
        }
        free(copy);
    }
    assert_true(accepted > 100);
}

static void walks_members_and_elements(void **state)
{
    (void)state;
    struct span text = SPAN(" { \"a\" : 1 , \"b\\\"}\":[ 1,\"]\\\\\" , {} ],\"c\":\"\",\"d\" "
                            ":{\"e\":[[]]} , \"f\":-1.5e3} ");
    static const char *const expect[][2] = {{"a", "1"},
                                            {"b\\\"}", "[ 1,\"]\\\\\" , {} ]"},
                                            {"c", "\"\""},
                                            {"d", "{\"e\":[[]]}"},
                                            {"f", "-1.5e3"}};
    struct span key, value;
    size_t n = 0;
    assert_true(json_valid(text));
    for (struct json_iter it = json_open(text); json_member(&it, &key, &value); n++) {
        assert_true(n < COUNT(expect));
        assert_true(span_eq(key, span_str(expect[n][0])));
        assert_true(span_eq(value, span_str(expect[n][1])));
    }
    assert_int_equal(n, COUNT(expect));
    static const char *const elements[] = {"1", "\"]\\\\\"", "{}"};
    n = 0;
    for (struct json_iter it = json_open(span_str(expect[1][1])); json_element(&it, &value); n++)
        assert_true(span_eq(value, span_str(elements[n])));
    assert_int_equal(n, COUNT(elements));
    struct json_iter none = json_open(SPAN("[ ]"));
    assert_false(json_element(&none, &value));
    none = json_open(SPAN(" {}"));
    assert_false(json_member(&none, &key, &value));
}

static void knows_kinds(void **state)
{
    (void)state;
    assert_int_equal(json_kind(SPAN(" {}")), JSON_OBJECT);
    assert_int_equal(json_kind(SPAN("\n[]")), JSON_ARRAY);
    assert_int_equal(json_kind(SPAN("\"\"")), JSON_STRING);
    assert_int_equal(json_kind(SPAN("-1")), JSON_NUMBER);
    assert_int_equal(json_kind(SPAN("0")), JSON_NUMBER);
    assert_int_equal(json_kind(SPAN("true")), JSON_TRUE);
    assert_int_equal(json_kind(SPAN("false")), JSON_FALSE);
    assert_int_equal(json_kind(SPAN("null")), JSON_NULL);
    assert_true(span_eq(json_trim(SPAN(" \n[ ]\t")), SPAN("[ ]")));
}

static void compares_keys(void **state)
{
    (void)state;
    assert_true(json_key_is(SPAN("type"), "type"));
    assert_true(json_key_is(SPAN("t\\u0079pe"), "type"));
    assert_true(json_key_is(SPAN("\\u0074\\u0079\\u0070\\u0065"), "type"));
    assert_true(json_key_is(SPAN("a\\/b"), "a/b"));
    assert_true(json_key_is(SPAN("\\ud83d\\ude00"), "\xf0\x9f\x98\x80"));
    assert_true(json_key_is(SPAN(""), ""));
    assert_false(json_key_is(SPAN(""), "t"));
    assert_false(json_key_is(SPAN("typ"), "type"));
    assert_false(json_key_is(SPAN("types"), "type"));
    assert_false(json_key_is(SPAN("t\\u0079p"), "type"));
    assert_false(json_key_is(SPAN("t\\u0079pes"), "type"));
    assert_false(json_key_is(SPAN("type\\u0000"), "type"));
    assert_false(json_key_is(SPAN("\\ud800"), "\xed\xa0\x80"));
}

static void unescapes(void **state)
{
    (void)state;
    static const struct {
        struct span text, plain;
    } rows[] = {
        {SPAN("\"\""), SPAN("")},
        {SPAN("\"abc\""), SPAN("abc")},
        {SPAN(" \"a\\nb\" "), SPAN("a\nb")},
        {SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SPAN("\"\\/\b\f\n\r\t")},
        {SPAN("\"\\u0000\\u0041\\u00e9\\u20AC\""), SPAN("\0A\xc3\xa9\xe2\x82\xac")},
        {SPAN("\"\\ud83d\\ude00\\uDBFF\\uDFFF\""), SPAN("\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf")},
        {SPAN("\"\xe2\x82\xac\\\\u0041\""), SPAN("\xe2\x82\xac\\u0041")},
    };
    static const struct span lone[] = {
        SPAN("\"\\ud800\""),         SPAN("\"x\\udc00\""),   SPAN("\"\\ud800\\ud800\\udc00x\""),
        SPAN("\"\\ud800x\\udc00\""), SPAN("\"\\ud800\\n\""), SPAN("\"\\udbff\\\\udc00\""),
    };
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    for (size_t i = 0; i < COUNT(rows); i++) {
        buf_clear(&b);
        buf_str(&b, "before");
        assert_int_equal(json_unescape(rows[i].text, &b), 0);
        assert_true(span_eq((struct span){b.p + 6, b.n - 6}, rows[i].plain));
    }
    for (size_t i = 0; i < COUNT(lone); i++) {
        buf_clear(&b);
        buf_str(&b, "before");
        assert_true(json_valid(lone[i]));
        assert_int_equal(json_unescape(lone[i], &b), -1);
        assert_true(span_eq(buf_view(&b), SPAN("before")));
    }
    buf_free(&b);
}

static void reads_integers(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        int64_t value;
    } rows[] = {
        {SPAN("0"), 0},
        {SPAN("-0"), 0},
        {SPAN(" 17 "), 17},
        {SPAN("-1"), -1},
        {SPAN("9007199254740993"), INT64_C(9007199254740993)},
        {SPAN("9223372036854775807"), INT64_MAX},
        {SPAN("-9223372036854775808"), INT64_MIN},
    };
    static const struct span none[] = {
        SPAN("9223372036854775808"),
        SPAN("-9223372036854775809"),
        SPAN("1.0"),
        SPAN("1e0"),
        SPAN("1E2"),
        SPAN("99999999999999999999999999"),
        SPAN("18446744073709551616"),
        SPAN("true"),
        SPAN("\"1\""),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t v = 99;
        assert_int_equal(json_integer(rows[i].text, &v), 0);
        assert_true(v == rows[i].value);
    }
    for (size_t i = 0; i < COUNT(none); i++) {
        int64_t v = 99;
        assert_int_equal(json_integer(none[i], &v), -1);
        assert_true(v == 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(every_byte_at_every_offset),
        cmocka_unit_test(tells_where_and_why),
        cmocka_unit_test(limits_depth),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(survives_mutations),
        cmocka_unit_test(walks_members_and_elements),
        cmocka_unit_test(knows_kinds),
        cmocka_unit_test(compares_keys),
        cmocka_unit_test(unescapes),
        cmocka_unit_test(reads_integers),
    };
    return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
