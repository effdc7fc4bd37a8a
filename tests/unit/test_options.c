/* The option table: every row is complete and appears in schema, help and reference; suggestions;
 * comments and commas. */
#include "config_fixture.h"

#include "base/json_scan.h"
#include "bus/registry.h"
#include "config/jsonc.h"
#include "config/options.h"
#include "config/secret.h"
#include "config/suggest.h"
#include "config/value.h"

struct pages {
    char *schema, *help, *reference;
};

static void pages_make(struct pages *p, const struct wsbus_backend *const *backends)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    config_schema(backends, &b);
    assert_true(json_valid(buf_view(&b)));
    p->schema = buf_steal(&b);
    config_help(backends, &b);
    p->help = buf_steal(&b);
    config_reference(backends, &b);
    p->reference = buf_steal(&b);
    buf_free(&b);
}

static void pages_free(struct pages *p)
{
    free(p->schema);
    free(p->help);
    free(p->reference);
}

static void expect_row(const struct pages *p, const char *prefix, const struct wsbus_option *o)
{
    char text[128];
    snprintf(text, sizeof text, "\"%s\":\t{", o->name);
    if (!strstr(p->schema, text)) fail_msg("not in the schema: %s", o->name);
    snprintf(text, sizeof text, "  %s%s ", prefix, o->name);
    if (!strstr(p->help, text)) fail_msg("not in --help: %s%s", prefix, o->name);
    snprintf(text, sizeof text, "| `%s` |", o->name);
    if (!strstr(p->reference, text)) fail_msg("not in the reference: %s", o->name);
}

static void expect_rows(const struct pages *p, const char *prefix, const struct wsbus_option *o)
{
    for (; o && o->name; o++)
        expect_row(p, prefix, o);
}

static void expect_all(const struct wsbus_backend *const *backends)
{
    struct pages p;
    pages_make(&p, backends);
    for (const struct option_row *row = option_rows; row->section; row++) {
        char prefix[64] = "";
        if (*row->section) snprintf(prefix, sizeof prefix, "%s.", row->section);
        expect_row(&p, prefix, &row->option);
    }
    expect_rows(&p, "listen.", option_listen);
    expect_rows(&p, "buses.NAME.", option_bus);
    expect_rows(&p, "channels.N.", option_rule);
    for (; *backends; backends++) {
        expect_rows(&p, "buses.NAME.", (*backends)->options);
        expect_rows(&p, "channels.N.", (*backends)->rule_options);
    }
    pages_free(&p);
}

static void test_pages(void **state)
{
    (void)state;
    expect_all(fix_backends);
    expect_all(bus_registry);
}

/* Every default is a value that the row itself accepts, and no row says nothing. */
static void test_rows(void **state)
{
    (void)state;
    struct problems ps = {.arena = arena_new()};
    for (const struct option_row *row = option_rows; row->section; row++) {
        struct wsbus_value v;
        value_default(&row->option, &ps, &v);
        assert_false(v.set);
        assert_true(strlen(row->option.help) > 10);
        if (row->option.type == WSBUS_INT) assert_true(row->option.min < row->option.max);
        const struct option_section *s = option_sections;
        while (s->section && strcmp(s->section, row->section) != 0)
            s++;
        assert_non_null(s->section);
    }
    assert_int_equal(ps.count, 0);
    arena_free(ps.arena);
}

static void test_suggest(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance("queue_byte", "queue_bytes"), 1);
    assert_int_equal(suggest_distance("", "abc"), 3);
    assert_int_equal(suggest_distance("ab", "ba"), 1);
    assert_int_equal(suggest_distance("ABC", "abc"), 0);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);

    struct suggest s = suggest_start("memry");
    suggest_try(&s, "redis");
    assert_null(s.best);
    suggest_try(&s, "memory");
    assert_string_equal(s.best, "memory");
    s = suggest_start("xy");
    suggest_try(&s, "ab");
    assert_null(s.best);
}

struct strip_case {
    const char *given, *expected;
};

static void test_jsonc(void **state)
{
    (void)state;
    static const struct strip_case cases[] = {
        {"[1, 2]", "[1, 2]"},
        {"[1,]", "[1 ]"},
        {"{\"a\":1 , }", "{\"a\":1   }"},
        {"[1,// x\n]", "[1     \n]"},
        {"[1, /* , ] */ ]", "[1            ]"},
        {"\"// no /* comment ,]\"", "\"// no /* comment ,]\""},
        {"[\"a\\\"//\",]", "[\"a\\\"//\" ]"},
        {"[,]", "[,]"},
        {"{,}", "{,}"},
        {"[1,,]", "[1,,]"},
        {"[[1,],]", "[[1 ] ]"},
        {"{\"a\":,}", "{\"a\":,}"},
        {"1/**/", "1    "},
        {"/*\n*/1", "  \n  1"},
        {"1 // end", "1       "},
        {"/", "/"},
        {"\"open", "\"open"},
        {"\"open\\", "\"open\\"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        size_t where;
        snprintf(text, sizeof text, "%s", cases[i].given);
        assert_int_equal(jsonc_strip(text, strlen(text), &where), 0);
        assert_string_equal(text, cases[i].expected);
    }
    char open[] = "1 /* x *";
    size_t where = 0;
    assert_int_equal(jsonc_strip(open, strlen(open), &where), -1);
    assert_int_equal(where, 2);

    struct span text = SPAN("a\n\xc3\xa4"
                            "b");
    assert_int_equal(jsonc_place(text, 0).line, 1);
    assert_int_equal(jsonc_place(text, 4).line, 2);
    assert_int_equal(jsonc_place(text, 4).column, 2);
}

static void test_secret(void **state)
{
    (void)state;
    static const struct strip_case cases[] = {
        {"plain", "plain"},
        {"redis://host:6379/0", "redis://host:6379/0"},
        {"redis://user:pass@host:6379/0", "redis://***@host:6379/0"},
        {"redis://:p@ss@host", "redis://***@host"},
        {"redis://u:p/ss@host", "redis://***@host"},
        {"redis://u:p?ss@host", "redis://***@host"},
        {"redis://a:b@h1,redis://c:d@h2", "redis://***@h1,redis://***@h2"},
        {"x://h/?kind=stream&password=p&n=1", "x://h/?kind=stream&password=***&n=1"},
        {"x://h/?q=a@b", "x://h/?q=a@b"},
        {"mail@example.com", "mail@example.com"},
    };
    struct arena *a = arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(secret_blot(a, cases[i].given), cases[i].expected);
    assert_true(secret_name("sasl.password"));
    assert_true(secret_name("ssl.key.PEM"));
    assert_false(secret_name("sasl.username"));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages), cmocka_unit_test(test_rows),   cmocka_unit_test(test_suggest),
        cmocka_unit_test(test_jsonc), cmocka_unit_test(test_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
