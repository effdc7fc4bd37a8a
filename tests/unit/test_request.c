/* Frames from the client: what is accepted, what is refused and which address the error keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "protocol/request.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct request_parser parser;
static struct request r;
static struct request_error e;

static void accept(struct span text)
{
    if (request_parse(&parser, text, &r, &e) != 0)
        fail_msg("refused (%s): %.*s", e.message, (int)text.n, text.p);
}

static void refuse_with(struct span text, enum error_code code)
{
    if (request_parse(&parser, text, &r, &e) != -1) fail_msg("accepted: %.*s", (int)text.n, text.p);
    if (e.code != code) fail_msg("%s: %.*s", error_name(e.code), (int)text.n, text.p);
    assert_true(strlen(e.message) > 10);
    assert_int_equal(e.message[strlen(e.message) - 1], '.');
    assert_true(utf8_valid(span_str(e.message)));
}

static void refuse(struct span text)
{
    refuse_with(text, ERR_BAD_REQUEST);
}

static void assert_span(struct span s, const char *text)
{
    if (text == NULL) {
        assert_null(s.p);
        return;
    }
    assert_non_null(s.p);
    if (!span_eq(s, span_str(text))) fail_msg("\"%.*s\" is not \"%s\"", (int)s.n, s.p, text);
}

static void refuses_what_is_no_object(void **state)
{
    (void)state;
    static const struct span rows[] = {
        SPAN(""),
        SPAN(" "),
        SPAN("x"),
        SPAN("null"),
        SPAN("[]"),
        SPAN("\"{}\""),
        SPAN("1"),
        SPAN("{"),
        SPAN("{}x"),
        SPAN("{}{}"),
        SPAN("\xef\xbb\xbf{\"type\":\"ping\"}"),
        SPAN("{\"type\":\"ping\",}"),
        SPAN("{'type':'ping'}"),
        SPAN("{\"type\":\"ping\",\"id\":1,\"x\":\"\xff\"}"),
        SPAN("{\"type\":\"ping\",\"id\":1,\"x\":\"\xed\xa0\x80\"}"),
        SPAN("{\"type\":\"ping\",\"id\":1,\"x\":01}"),
        SPAN("{\"type\":\"ping\",\"id\":1"),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        refuse(rows[i]);
        assert_null(e.id.p);
        assert_null(e.channel.p);
    }
    refuse((struct span){NULL, 0});
}

static void reads_ids(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        bool valid;
    } rows[] = {
        {"1", true},
        {"0", true},
        {"-0", true},
        {"9007199254740991", true},
        {"-9007199254740991", true},
        {"\"\"", true},
        {"\"a\"", true},
        {"\"\\u0041\\n\"", true},
        {"\"\\u0000\"", true},
        {"\"1234567890123456789012345678901234567890123456789012345678901234\"", true},
        {"\"123456789012345678901234567890123456789012345678901234567890\\ud83d\\ude00\"", true},
        {"9007199254740992", false},
        {"-9007199254740992", false},
        {"99999999999999999999999", false},
        {"1.0", false},
        {"1e0", false},
        {"true", false},
        {"false", false},
        {"{}", false},
        {"[1]", false},
        {"\"12345678901234567890123456789012345678901234567890123456789012345\"", false},
        {"\"1234567890123456789012345678901234567890123456789012345678901\\ud83d\\ude00\"", false},
        {"\"\\ud800\"", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{ \"type\":\"ping\" , \"id\" : %s }", rows[i].id);
        if (rows[i].valid) {
            accept(span_str(text));
            assert_span(r.id, rows[i].id);
        } else {
            refuse(span_str(text));
            assert_null(e.id.p);
        }
    }
    accept(SPAN("{\"type\":\"ping\",\"id\":null}"));
    assert_null(r.id.p);
    accept(SPAN("{\"type\":\"ping\"}"));
    assert_null(r.id.p);
}

static void refuses_fields_given_twice(void **state)
{
    (void)state;
    static const char *const names[] = {
        "type", "channel", "from",      "filter", "policy",  "interval",  "token", "data",
        "text", "binary",  "tombstone", "key",    "headers", "partition", "until", "limit"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{\"id\":7,\"%s\":\"ping\",\"x\":1,\"%s\":\"ping\"}", names[i],
                 names[i]);
        refuse(span_str(text));
        assert_span(e.id, "7");
        assert_non_null(strstr(e.message, names[i]));
        snprintf(text, sizeof(text), "{\"id\":7,\"%s\":null,\"\\u%04x%s\":\"ping\"}", names[i],
                 names[i][0], names[i] + 1);
        refuse(span_str(text));
        assert_non_null(strstr(e.message, "twice"));
    }
    refuse(SPAN("{\"type\":\"ping\",\"id\":1,\"id\":1}"));
    assert_null(e.id.p);
    refuse(SPAN("{\"type\":\"ping\",\"id\":1,\"i\\u0064\":null}"));
    assert_null(e.id.p);
    refuse(SPAN("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"a\",\"channel\":\"b\"}"));
    assert_span(e.id, "1");
    assert_null(e.channel.p);
    accept(SPAN("{\"type\":\"ping\",\"x\":1,\"x\":2,\"Type\":3,\"\":4,\"\":5}"));
}

static void knows_types(void **state)
{
    (void)state;
    accept(SPAN("{\"type\":\"ping\",\"id\":\"a\"}"));
    assert_int_equal(r.type, REQUEST_PING);
    accept(SPAN("{\"t\\u0079pe\":\"p\\u0069ng\"}"));
    assert_int_equal(r.type, REQUEST_PING);
    accept(SPAN("{\"type\":\"auth\",\"token\":\"a.b\\u002ec\"}"));
    assert_int_equal(r.type, REQUEST_AUTH);
    assert_span(r.token, "a.b.c");
    accept(SPAN("{\"type\":\"unsubscribe\",\"channel\":\"a\",\"from\":5}"));
    assert_int_equal(r.type, REQUEST_UNSUBSCRIBE);
    refuse(SPAN("{\"id\":1}"));
    assert_span(e.id, "1");
    refuse(SPAN("{\"type\":null}"));
    refuse(SPAN("{\"type\":1}"));
    refuse(SPAN("{\"type\":\"\\ud800\"}"));
    refuse(SPAN("{\"type\":\"auth\"}"));
    refuse(SPAN("{\"type\":\"auth\",\"token\":null}"));
    refuse(SPAN("{\"type\":\"auth\",\"token\":1}"));
    static const struct span unknown[] = {
        SPAN("{\"type\":\"\",\"id\":1,\"channel\":\"a\"}"),
        SPAN("{\"type\":\"PING\",\"id\":1,\"channel\":\"a\"}"),
        SPAN("{\"id\":1,\"type\":\"ping\\u0000\",\"channel\":\"a\"}"),
        SPAN("{\"id\":1,\"type\":\"message\",\"channel\":\"a\",\"from\":1}"),
    };
    for (size_t i = 0; i < COUNT(unknown); i++) {
        refuse_with(unknown[i], ERR_UNKNOWN_TYPE);
        assert_span(e.id, "1");
        assert_span(e.channel, "a");
    }
    refuse(SPAN("{\"type\":\"nonsense\",\"id\":[]}"));
}

static void reads_channels(void **state)
{
    (void)state;
    accept(SPAN("{\"type\":\"subscribe\",\"channel\":\"a.b\"}"));
    assert_int_equal(r.type, REQUEST_SUBSCRIBE);
    assert_span(r.channel, "a.b");
    assert_int_equal(r.from.kind, FROM_ABSENT);
    accept(SPAN("{\"channel\":\"a\\u002eb\\/\\u20ac\",\"type\":\"subscribe\"}"));
    assert_span(r.channel, "a.b/\xe2\x82\xac");
    static const char *const types[] = {"subscribe", "unsubscribe", "publish", "history"};
    static const char *const channels[] = {"\"\"",        "\"a..b\"",   "\"a b\"", "\"a.*\"",
                                           "1",           "null",       "[]",      "\"\\u0000\"",
                                           "\"\\ud800\"", "\"\\u00a0\""};
    for (size_t t = 0; t < COUNT(types); t++) {
        char text[256];
        for (size_t c = 0; c < COUNT(channels); c++) {
            snprintf(text, sizeof(text), "{\"type\":\"%s\",\"id\":3,\"data\":1,\"channel\":%s}",
                     types[t], channels[c]);
            refuse(span_str(text));
            assert_span(e.id, "3");
            assert_null(e.channel.p);
            assert_non_null(strstr(e.message, "channel"));
        }
        snprintf(text, sizeof(text), "{\"type\":\"%s\",\"id\":3,\"data\":1}", types[t]);
        refuse(span_str(text));
    }
    accept(SPAN("{\"type\":\"ping\",\"channel\":17}"));
}

static void reads_from(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        enum from_kind kind;
        int64_t number;
        const char *cursor;
    } rows[] = {
        {"null", FROM_ABSENT, 0, NULL},
        {"\"now\"", FROM_NOW, 0, NULL},
        {"\"n\\u006fw\"", FROM_NOW, 0, NULL},
        {"\"earliest\"", FROM_EARLIEST, 0, NULL},
        {"\"snapshot\"", FROM_SNAPSHOT, 0, NULL},
        {"{\"after\":[]}", FROM_AFTER, 0, "[]"},
        {"{\"after\": [\"0/1\", \"1/2\"] }", FROM_AFTER, 0, "[\"0/1\", \"1/2\"]"},
        {"{\"time\":0}", FROM_TIME, 0, NULL},
        {"{\"time\":9007199254740991}", FROM_TIME, INT64_C(9007199254740991), NULL},
        {"{\"ago\":60000}", FROM_AGO, 60000, NULL},
        {"{\"last\":0}", FROM_LAST, 0, NULL},
        {"{\"l\\u0061st\":5,\"x\":6,\"after\":null}", FROM_LAST, 5, NULL},
    };
    static const char *const bad[] = {
        "\"\"",
        "\"latest\"",
        "\"NOW\"",
        "1",
        "true",
        "[]",
        "[\"0/1\"]",
        "{}",
        "{\"x\":1}",
        "{\"after\":null}",
        "{\"after\":\"0/1\"}",
        "{\"after\":{}}",
        "{\"after\":1}",
        "{\"time\":-1}",
        "{\"time\":1.5}",
        "{\"time\":1e3}",
        "{\"time\":\"1\"}",
        "{\"time\":9007199254740992}",
        "{\"ago\":-1}",
        "{\"ago\":true}",
        "{\"last\":-1}",
        "{\"last\":99999999999999999999}",
        "{\"last\":1,\"time\":2}",
        "{\"last\":1,\"last\":1}",
        "{\"last\":null,\"last\":1}",
        "{\"after\":[],\"ago\":1}",
        "\"\\ud800\"",
    };
    static const char *const types[] = {"subscribe", "history"};
    for (size_t t = 0; t < COUNT(types); t++) {
        char text[256];
        for (size_t i = 0; i < COUNT(rows); i++) {
            snprintf(text, sizeof(text), "{\"type\":\"%s\",\"id\":1,\"from\":%s,\"channel\":\"c\"}",
                     types[t], rows[i].from);
            accept(span_str(text));
            assert_int_equal(r.from.kind, rows[i].kind);
            assert_true(r.from.number == rows[i].number);
            assert_span(r.from.cursor, rows[i].cursor);
        }
        for (size_t i = 0; i < COUNT(bad); i++) {
            snprintf(text, sizeof(text), "{\"type\":\"%s\",\"from\":%s,\"channel\":\"c\",\"id\":1}",
                     types[t], bad[i]);
            refuse(span_str(text));
            assert_span(e.id, "1");
            assert_span(e.channel, "c");
            assert_non_null(strstr(e.message, "from"));
        }
    }
}

static void records_filter_policy_interval(void **state)
{
    (void)state;
    accept(SPAN(
        "{\"type\":\"subscribe\",\"channel\":\"c\",\"filter\":{},\"policy\":\"confl\\u0061te\","
        "\"interval\":60000}"));
    assert_true(r.has_filter);
    assert_span(r.policy, "conflate");
    assert_true(r.has_interval);
    assert_int_equal(r.interval, 60000);
    accept(SPAN("{\"type\":\"subscribe\",\"channel\":\"c\",\"filter\":null,\"policy\":null,"
                "\"interval\":null}"));
    assert_false(r.has_filter);
    assert_null(r.policy.p);
    assert_false(r.has_interval);
    accept(SPAN("{\"type\":\"subscribe\",\"channel\":\"c\",\"policy\":\"drop\",\"interval\":0}"));
    accept(SPAN("{\"type\":\"subscribe\",\"channel\":\"c\",\"policy\":\"disconnect\"}"));
    static const char *const bad[] = {"\"filter\":[]",   "\"filter\":true",    "\"filter\":\"x\"",
                                      "\"policy\":\"\"", "\"policy\":\"x\"",   "\"policy\":1",
                                      "\"interval\":-1", "\"interval\":60001", "\"interval\":\"1\"",
                                      "\"interval\":1.0"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{\"type\":\"subscribe\",\"channel\":\"c\",\"id\":1,%s}",
                 bad[i]);
        refuse(span_str(text));
        assert_span(e.channel, "c");
    }
}

static void accept_publish(const char *members)
{
    static char text[512];
    snprintf(text, sizeof(text), "{\"type\":\"publish\",\"channel\":\"c\",%s}", members);
    accept(span_str(text));
    assert_int_equal(r.type, REQUEST_PUBLISH);
}

static void reads_payloads(void **state)
{
    (void)state;
    static const struct {
        const char *members, *payload;
    } rows[] = {
        {"\"data\": {\"a\" : 1,\n\"a\":2} ", "{\"a\" : 1,\n\"a\":2}"},
        {"\"data\":null", "null"},
        {"\"data\": 12345678901234567890 ", "12345678901234567890"},
        {"\"data\":1e400", "1e400"},
        {"\"data\":\"\\ud800\"", "\"\\ud800\""},
        {"\"data\":\"\\u0000\"", "\"\\u0000\""},
        {"\"data\":false,\"tombstone\":false,\"text\":null,\"binary\":null", "false"},
        {"\"text\":\"\"", ""},
        {"\"text\":\"a\\nb\\ud83d\\ude00\"", "a\nb\xf0\x9f\x98\x80"},
        {"\"text\":\"x\",\"tombstone\":null", "x"},
        {"\"binary\":\"\"", ""},
        {"\"binary\":\"aGVsbG8=\"", "hello"},
        {"\"binary\":\"Pz8\\/\"", "???"},
        {"\"key\":\"\\u0041\",\"binary\":\"\\u0061GVsbG8=\",\"headers\":{\"\\u0042\":\"\\u0043\"}",
         "hello"},
        {"\"tombstone\":true", NULL},
        {"\"data\":null,\"tombstone\":true", NULL},
        {"\"tombstone\":true,\"text\":null", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        accept_publish(rows[i].members);
        assert_span(r.payload, rows[i].payload);
        assert_int_equal(r.partition, -1);
    }
    accept_publish("\"text\":\"a\\u0000b\"");
    assert_true(span_eq(r.payload, SPAN("a\0b")));
    accept_publish("\"binary\":\"AP+A\"");
    assert_true(span_eq(r.payload, SPAN("\0\xff\x80")));
}

static void reads_key_headers_partition(void **state)
{
    (void)state;
    accept_publish(
        "\"data\":1,\"key\":\"k\\u00e9\",\"partition\":2147483647,"
        "\"headers\":{\"a\":\"1\",\"\\u0062\":\"\\u0000\",\"\":\"\",\"c\":\"\\ud83d\\ude00\"}");
    assert_span(r.key, "k\xc3\xa9");
    assert_int_equal(r.partition, INT32_MAX);
    assert_int_equal(r.header_count, 4);
    assert_true(span_eq(span_of(r.headers[0].name, r.headers[0].name_len), SPAN("a")));
    assert_true(span_eq(span_of(r.headers[0].value, r.headers[0].value_len), SPAN("1")));
    assert_true(span_eq(span_of(r.headers[1].name, r.headers[1].name_len), SPAN("b")));
    assert_true(span_eq(span_of(r.headers[1].value, r.headers[1].value_len), SPAN("\0")));
    assert_int_equal(r.headers[2].name_len, 0);
    assert_true(
        span_eq(span_of(r.headers[3].value, r.headers[3].value_len), SPAN("\xf0\x9f\x98\x80")));
    accept_publish("\"data\":1,\"key\":\"\",\"headers\":{},\"partition\":0");
    assert_span(r.key, "");
    assert_int_equal(r.header_count, 0);
    assert_int_equal(r.partition, 0);
    accept_publish("\"data\":1,\"key\":null,\"headers\":null,\"partition\":null");
    assert_null(r.key.p);
    assert_int_equal(r.header_count, 0);
    assert_int_equal(r.partition, -1);
}

static void refuses_bad_publishes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"x\":1",
        "\"data\":1,\"text\":\"\"",
        "\"data\":null,\"text\":\"a\"",
        "\"data\":null,\"binary\":\"\"",
        "\"text\":\"\",\"binary\":\"\"",
        "\"data\":1,\"tombstone\":true",
        "\"text\":\"\",\"tombstone\":true",
        "\"binary\":\"\",\"tombstone\":true",
        "\"tombstone\":false",
        "\"tombstone\":null",
        "\"data\":1,\"tombstone\":1",
        "\"tombstone\":\"true\"",
        "\"text\":null",
        "\"binary\":null",
        "\"text\":1",
        "\"text\":[]",
        "\"text\":\"\\ud800\"",
        "\"text\":\"\\udc00x\"",
        "\"binary\":1",
        "\"binary\":\"a\"",
        "\"binary\":\"aGVsbG8\"",
        "\"binary\":\"aGVsbG8==\"",
        "\"binary\":\"aGVsbG9=\"",
        "\"binary\":\"aGVs bG8=\"",
        "\"binary\":\"aGVsbG8=\\n\"",
        "\"binary\":\"-_-_\"",
        "\"binary\":\"====\"",
        "\"binary\":\"a===\"",
        "\"binary\":\"aG=s\"",
        "\"binary\":\"aGVsbG8=aGVs\"",
        "\"binary\":\"\\ud800\"",
        "\"data\":1,\"key\":1",
        "\"data\":1,\"key\":\"\\ud800\"",
        "\"data\":1,\"headers\":[]",
        "\"data\":1,\"headers\":\"a\"",
        "\"data\":1,\"headers\":{\"a\":1}",
        "\"data\":1,\"headers\":{\"a\":null}",
        "\"data\":1,\"headers\":{\"a\":\"1\",\"a\":\"1\"}",
        "\"data\":1,\"headers\":{\"a\":\"1\",\"b\":\"\",\"\\u0061\":\"2\"}",
        "\"data\":1,\"headers\":{\"\\ud800\":\"1\"}",
        "\"data\":1,\"headers\":{\"a\":\"\\ud800\"}",
        "\"data\":1,\"headers\":{\"a\":{}}",
        "\"data\":1,\"partition\":-1",
        "\"data\":1,\"partition\":2147483648",
        "\"data\":1,\"partition\":\"0\"",
        "\"data\":1,\"partition\":0.0",
        "\"data\":1,\"partition\":true",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{\"id\":\"i\",\"type\":\"publish\",%s,\"channel\":\"c\"}",
                 bad[i]);
        refuse(span_str(text));
        assert_span(e.id, "\"i\"");
        assert_span(e.channel, "c");
    }
}

static void reads_history(void **state)
{
    (void)state;
    accept(SPAN("{\"type\":\"history\",\"id\":1,\"channel\":\"c\"}"));
    assert_int_equal(r.type, REQUEST_HISTORY);
    assert_int_equal(r.limit, 0);
    assert_null(r.until.p);
    accept(
        SPAN("{\"type\":\"history\",\"id\":1,\"channel\":\"c\",\"until\":[ \"0/1\" ],\"limit\":1,"
             "\"filter\":{\"key\":1}}"));
    assert_int_equal(r.limit, 1);
    assert_span(r.until, "[ \"0/1\" ]");
    assert_true(r.has_filter);
    static const char *const bad[] = {
        "\"limit\":0",     "\"limit\":-1",      "\"limit\":1.5",
        "\"limit\":\"5\"", "\"until\":\"0/1\"", "\"until\":{}",
        "\"until\":5",     "\"filter\":5",      "\"limit\":9007199254740992"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{\"type\":\"history\",\"channel\":\"c\",\"id\":1,%s}",
                 bad[i]);
        refuse(span_str(text));
        assert_span(e.id, "1");
    }
    refuse(SPAN("{\"type\":\"history\",\"channel\":\"c\"}"));
    assert_span(e.channel, "c");
    refuse(SPAN("{\"type\":\"history\",\"channel\":\"c\",\"id\":null}"));
}

/* Thousands of headers: growing, sorting, one name twice far apart. */
static void takes_many_headers(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    for (int twice = 0; twice < 2; twice++) {
        buf_clear(&b);
        buf_str(&b, "{\"type\":\"publish\",\"channel\":\"c\",\"data\":1,\"headers\":{\"n0\":\"x\"");
        for (int i = 1; i < 20000; i++)
            buf_printf(&b, ",\"n%d\":\"\\u0041\"", i);
        buf_str(&b, twice ? ",\"n0\":\"x\"}}" : "}}");
        if (twice) {
            refuse(buf_view(&b));
        } else {
            accept(buf_view(&b));
            assert_int_equal(r.header_count, 20000);
            assert_memory_equal(r.headers[19999].name, "n19999", 6);
        }
    }
    request_parser_shrink(&parser);
    assert_int_equal(parser.header_size, 0);
    assert_true(parser.text.size <= 4096);
    accept(SPAN("{\"type\":\"ping\"}"));
    buf_free(&b);
}

static void refuses_deep_nesting(void **state)
{
    (void)state;
    static const size_t depths[] = {511, 512, 10000};
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    for (size_t i = 0; i < COUNT(depths); i++) {
        buf_clear(&b);
        buf_str(&b, "{\"type\":\"ping\",\"x\":");
        for (size_t k = 0; k < depths[i]; k++)
            buf_byte(&b, '[');
        for (size_t k = 0; k < depths[i]; k++)
            buf_byte(&b, ']');
        buf_byte(&b, '}');
        if (depths[i] < 512)
            accept(buf_view(&b));
        else
            refuse(buf_view(&b));
    }
    buf_free(&b);
}

static int setup(void **state)
{
    (void)state;
    request_parser_init(&parser);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    request_parser_free(&parser);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_no_object),
        cmocka_unit_test(reads_ids),
        cmocka_unit_test(refuses_fields_given_twice),
        cmocka_unit_test(knows_types),
        cmocka_unit_test(reads_channels),
        cmocka_unit_test(reads_from),
        cmocka_unit_test(records_filter_policy_interval),
        cmocka_unit_test(reads_payloads),
        cmocka_unit_test(reads_key_headers_partition),
        cmocka_unit_test(refuses_bad_publishes),
        cmocka_unit_test(reads_history),
        cmocka_unit_test(takes_many_headers),
        cmocka_unit_test(refuses_deep_nesting),
    };
    return cmocka_run_group_tests_name("request", tests, setup, teardown);
}
