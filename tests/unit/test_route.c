/* Channel rules: first match wins, templates, prefixes, what is hidden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bus/registry.h"
#include "hub/route.h"

static struct config_bus buses[] = {{"a", &backend_memory, NULL}, {"b", &backend_memory, NULL}};
static struct route_table *table;
static struct buf scratch;

static void open_table(struct config_rule *rules, size_t count)
{
    struct config c = {.buses = buses, .bus_count = 2, .rules = rules, .rule_count = count};
    char err[200] = "";

    buf_init(&scratch, BUF_UNLIMITED);
    table = route_new(&c, err, sizeof err);
    assert_string_equal(err, "");
    assert_non_null(table);
}

static void close_table(void)
{
    route_free(table);
    buf_free(&scratch);
}

/* `rule` -1: no rule matches. */
static void expect(const char *channel, int rule, const char *topic, const char *key,
                   const struct config_rule *rules)
{
    struct route r;

    if (!route_find(table, span_str(channel), &scratch, &r)) {
        assert_int_equal(rule, -1);
        return;
    }
    assert_int_equal(r.rule - rules, rule);
    assert_true(span_eq(r.topic, span_str(topic)));
    assert_int_equal(r.topic.p[r.topic.n], '\0'); /* backends may use it as a string */
    assert_int_equal(r.key.p != NULL, key != NULL);
    if (key) assert_true(span_eq(r.key, span_str(key)));
    assert_true(r.caps & WSBUS_CAP_LOG);
}

static void the_first_match_wins(void **state)
{
    struct config_rule rules[] = {
        {.match = "quotes.EURUSD", .topic = "special"},
        {.match = "quotes.{symbol}", .topic = "quotes", .key = "{symbol}"},
        {.match = "raw.{a}.{b}", .bus = 1, .topic = "{b}-x-{a}", .key = "k{a}{a}"},
        {.match = "chat.**", .bus = 1},
        {.match = "one.*"},
    };
    (void)state;
    open_table(rules, 5);
    expect("quotes.EURUSD", 0, "special", NULL, rules);
    expect("quotes.GBPUSD", 1, "quotes", "GBPUSD", rules);
    expect("raw.1.22", 2, "22-x-1", "k11", rules);
    expect("chat.a", 3, "chat.a", NULL, rules);
    expect("chat.a.b.c", 3, "chat.a.b.c", NULL, rules);
    expect("one.a", 4, "one.a", NULL, rules);
    expect("one.a.b", -1, NULL, NULL, rules);
    expect("chat", -1, NULL, NULL, rules);
    expect("quotes", -1, NULL, NULL, rules);
    expect("Quotes.EURUSD", -1, NULL, NULL, rules);
    close_table();
}

static void a_prefix_is_taken_off_and_internal_topics_are_hidden(void **state)
{
    struct config_rule rules[] = {
        {.prefix = "a/", .match = "**", .hide_internal = true},
        {.prefix = "b/", .match = "**", .bus = 1},
        {.match = "x.{n}", .topic = "{n}", .hide_internal = true},
        {.match = "x.*", .bus = 1},
    };
    (void)state;
    open_table(rules, 4);
    expect("a/orders.new", 0, "orders.new", NULL, rules);
    expect("a/__consumer_offsets", -1, NULL, NULL, rules);
    expect("a/_one", 0, "_one", NULL, rules);
    expect("b/__hidden", 1, "__hidden", NULL, rules);
    expect("a/", -1, NULL, NULL, rules);
    expect("orders", -1, NULL, NULL, rules);
    expect("x.open", 2, "open", NULL, rules);
    expect("x.__secret", 3, "x.__secret", NULL, rules); /* the topic decides, not the name */
    close_table();
}

static void a_wrong_rule_is_told(void **state)
{
    struct config_rule rule = {.match = "a.{x}", .topic = "{y}"};
    struct config c = {.buses = buses, .bus_count = 1, .rules = &rule, .rule_count = 1};
    char err[200] = "";
    (void)state;
    assert_null(route_new(&c, err, sizeof err));
    assert_non_null(strstr(err, "a.{x}"));
    rule = (struct config_rule){.match = "a..b"};
    assert_null(route_new(&c, err, sizeof err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_match_wins),
        cmocka_unit_test(a_prefix_is_taken_off_and_internal_topics_are_hidden),
        cmocka_unit_test(a_wrong_rule_is_told),
    };
    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
