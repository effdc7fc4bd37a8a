/* Patterns over dotted names and templates made of their captures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pattern.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char err[200];

static struct pattern *compile(const char *text)
{
    struct pattern *p = pattern_new(span_str(text), err, sizeof(err));
    if (p == NULL) fail_msg("%s: %s", text, err);
    return p;
}

static void matches(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"orders", "orders", true},
        {"orders", "order", false},
        {"orders", "orderss", false},
        {"orders", "Orders", false},
        {"orders.new", "orders.new", true},
        {"orders.new", "orders", false},
        {"orders.new", "orders.new.x", false},
        {"quotes.*", "quotes.A", true},
        {"quotes.*", "quotes", false},
        {"quotes.*", "quotes.A.B", false},
        {"quotes.*", "quotesxA", false},
        {"quotes.*", "quotes.", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"*", "", false},
        {"*.b", "a.b", true},
        {"*.b", ".b", false},
        {"*.*", "a.b", true},
        {"a.*.c", "a.b.c", true},
        {"a.*.c", "a..c", false},
        {"a.*.c", "a.b.d", false},
        {"**", "a", true},
        {"**", "a.b.c", true},
        {"**", "", false},
        {"chat.**", "chat.a", true},
        {"chat.**", "chat.a.b.c", true},
        {"chat.**", "chat", false},
        {"chat.**", "chat.", false},
        {"chat.**", "chats.a", false},
        {"*.**", "a.b", true},
        {"*.**", "a", false},
        {"q.{s}", "q.EUR/USD", true},
        {"q.{s}", "q.a.b", false},
        {"{a}.{b}.**", "x.y.z", true},
        {"{a}.{b}.**", "x.y", false},
        {"a", "a.", false},
        {"\xc3\xa9.*", "\xc3\xa9.\xe2\x82\xac", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct pattern *p = compile(rows[i].pattern);
        struct pattern_match m;
        if (pattern_match(p, span_str(rows[i].name), NULL) != rows[i].match ||
            pattern_match(p, span_str(rows[i].name), &m) != rows[i].match)
            fail_msg("%s against %s", rows[i].pattern, rows[i].name);
        assert_false(pattern_match(p, (struct span){NULL, 0}, NULL));
        pattern_free(p);
    }
    pattern_free(NULL);
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",           ".",
        "a.",         ".a",
        "a..b",       "a*",
        "*a",         "a.b*.c",
        "***",        "**.a",
        "**.**",      "a.**.b",
        "{}",         "{",
        "}",          "a{b}",
        "{a}b",       "{a",
        "a}",         "{1a}",
        "{a-b}",      "{a b}",
        "{\xc3\xa9}", "{{a}}",
        "{a}.{a}",    "x.{*}",
        "{a}{b}",     "{a}.{b}.{c}.{d}.{e}.{f}.{g}.{h}.{i}.{j}.{k}.{l}.{m}.{n}.{o}.{p}.{q}",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        err[0] = '\0';
        if (pattern_new(span_str(bad[i]), err, sizeof(err)) != NULL)
            fail_msg("accepted: %s", bad[i]);
        assert_true(strlen(err) > 5);
    }
    assert_null(pattern_new(SPAN("{a}.\0{b"), err, 8));
    assert_null(pattern_new((struct span){NULL, 0}, NULL, 0));
}

static void captures(void **state)
{
    (void)state;
    struct pattern *p = compile("{area}.x.{_n1}.*.{B}");
    struct pattern_match m;
    assert_int_equal(pattern_capture(p, SPAN("area")), 0);
    assert_int_equal(pattern_capture(p, SPAN("_n1")), 1);
    assert_int_equal(pattern_capture(p, SPAN("B")), 2);
    assert_int_equal(pattern_capture(p, SPAN("x")), -1);
    assert_int_equal(pattern_capture(p, SPAN("")), -1);
    assert_true(pattern_match(p, SPAN("one.x.two.three.four"), &m));
    assert_int_equal(m.count, 3);
    assert_true(span_eq(m.value[0], SPAN("one")));
    assert_true(span_eq(m.value[1], SPAN("two")));
    assert_true(span_eq(m.value[2], SPAN("four")));
    pattern_free(p);
    p = compile("{a}.{b}.{c}.{d}.{e}.{f}.{g}.{h}.{i}.{j}.{k}.{l}.{m}.{n}.{o}.{p}");
    assert_true(pattern_match(p, SPAN("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16"), &m));
    assert_int_equal(m.count, PATTERN_CAPTURES);
    assert_true(span_eq(m.value[15], SPAN("16")));
    pattern_free(p);
}

static void fills_templates(void **state)
{
    (void)state;
    static const struct {
        const char *text, *result;
    } rows[] = {
        {"", ""},
        {"prices", "prices"},
        {"{a}", "x"},
        {"p-{a}", "p-x"},
        {"{b}-s", "y/z-s"},
        {"{a}{b}{a}", "xy/zx"},
        {"<{a}>.<{b}>*", "<x>.<y/z>*"},
    };
    static const char *const bad[] = {"{",  "}",   "a{",   "a}",      "{a",    "{a}}",
                                      "{}", "{c}", "{a}{", "x{a}y}z", "{{a}}", "{ a}"};
    struct pattern *p = compile("{a}.{b}");
    struct pattern_match m;
    struct buf out;
    assert_true(pattern_match(p, SPAN("x.y/z"), &m));
    buf_init(&out, BUF_UNLIMITED);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct template *t = template_new(span_str(rows[i].text), p, err, sizeof(err));
        assert_non_null(t);
        buf_clear(&out);
        template_write(t, &m, &out);
        assert_true(span_eq(buf_view(&out), span_str(rows[i].result)));
        template_free(t);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        err[0] = '\0';
        if (template_new(span_str(bad[i]), p, err, sizeof(err)) != NULL)
            fail_msg("accepted: %s", bad[i]);
        assert_true(strlen(err) > 5);
    }
    template_free(NULL);
    buf_free(&out);
    pattern_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches),
        cmocka_unit_test(refuses),
        cmocka_unit_test(captures),
        cmocka_unit_test(fills_templates),
    };
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
