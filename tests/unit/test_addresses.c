/* Connections of an address, and who is behind a proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "edge/addresses.h"
#include "edge/trust.h"

static struct address parsed(const char *text)
{
    struct address a;
    assert_true(address_parse(span_str(text), &a));
    return a;
}

static enum addresses_verdict enter(struct addresses *a, const char *from, uint64_t now,
                                    struct addresses_entry **ret)
{
    struct address address = parsed(from);
    return addresses_enter(a, &address, now, ret);
}

static void test_connections(void **state)
{
    struct addresses *a = addresses_new((struct addresses_limits){.connections = 2});
    struct addresses_entry *e[4];
    (void)state;
    assert_int_equal(enter(a, "192.0.2.1:1", 1, &e[0]), ADDRESSES_OK);
    assert_int_equal(enter(a, "192.0.2.1:2", 1, &e[1]), ADDRESSES_OK);
    assert_int_equal(enter(a, "192.0.2.1:3", 1, &e[2]), ADDRESSES_CONNECTIONS);
    assert_null(e[2]);
    assert_int_equal(enter(a, "192.0.2.2:3", 1, &e[2]), ADDRESSES_OK);
    addresses_leave(e[0]);
    assert_int_equal(enter(a, "192.0.2.1:4", 1, &e[0]), ADDRESSES_OK);
    assert_int_equal(addresses_count(a), 2);
    addresses_leave(e[0]);
    addresses_leave(e[1]);
    addresses_leave(e[2]);
    addresses_leave(NULL);
    addresses_free(a);
}

static void test_six_is_counted_by_network(void **state)
{
    struct addresses *a = addresses_new((struct addresses_limits){.connections = 1});
    struct addresses_entry *e, *f;
    (void)state;
    assert_int_equal(enter(a, "2001:db8::1", 1, &e), ADDRESSES_OK);
    assert_int_equal(enter(a, "2001:db8::2", 1, &f), ADDRESSES_CONNECTIONS);
    assert_int_equal(enter(a, "2001:db8:0:1::2", 1, &f), ADDRESSES_OK);
    addresses_leave(e);
    addresses_leave(f);
    addresses_free(a);
}

/* Coming and going does not fill the bucket. */
static void test_rate(void **state)
{
    struct addresses *a = addresses_new((struct addresses_limits){.per_second = 10});
    struct addresses_entry *e;
    unsigned good = 0;
    (void)state;
    for (int i = 0; i < 100; i++) {
        good += enter(a, "192.0.2.1", 1000, &e) == ADDRESSES_OK;
        addresses_leave(e);
    }
    assert_int_equal(good, 50);
    assert_int_equal(enter(a, "192.0.2.1", 1099, &e), ADDRESSES_RATE);
    assert_int_equal(enter(a, "192.0.2.9", 1099, &e), ADDRESSES_OK);
    addresses_leave(e);
    assert_int_equal(enter(a, "192.0.2.1", 1100, &e), ADDRESSES_OK);
    addresses_leave(e);
    addresses_free(a);
}

/* However many come, only so many are remembered. */
static void test_memory(void **state)
{
    struct addresses *a = addresses_new((struct addresses_limits){.per_second = 1});
    struct addresses_entry *e;
    char text[64];
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_int_equal(enter(a, text, 1000, &e), ADDRESSES_OK);
        addresses_leave(e);
    }
    assert_in_range(addresses_count(a), 1, 16 * 4097);
    for (unsigned i = 0; i < 1000; i++) { /* all are as new by now */
        snprintf(text, sizeof text, "10.9.%u.%u", i >> 8, i & 255);
        assert_int_equal(enter(a, text, 100000, &e), ADDRESSES_OK);
        addresses_leave(e);
    }
    assert_in_range(addresses_count(a), 1, 1016);
    addresses_free(a);
}

static void test_no_limits(void **state)
{
    struct addresses *a = addresses_new((struct addresses_limits){0});
    struct addresses_entry *e;
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(enter(a, "192.0.2.1", 1, &e), ADDRESSES_OK);
    assert_null(e);
    addresses_free(a);
}

static void test_forwarded(void **state)
{
    static const char *const proxies[] = {"10.0.0.0/8", "2001:db8:ffff::/48", "unix:"};
    static const struct {
        const char *peer, *header, *want;
    } rows[] = {
        {"10.0.0.1:5", "", "10.0.0.1:5"},
        {"10.0.0.1:5", "192.0.2.1", "192.0.2.1"},
        {"10.0.0.1:5", "192.0.2.1:77", "192.0.2.1:77"},
        {"10.0.0.1:5", " 192.0.2.1\t", "192.0.2.1"},
        /* What the client itself has written is not looked at. */
        {"10.0.0.1:5", "127.0.0.1, 192.0.2.1", "192.0.2.1"},
        {"10.0.0.1:5", "garbage, 192.0.2.1", "192.0.2.1"},
        {"10.0.0.1:5", "192.0.2.1, 10.0.0.2", "192.0.2.1"},
        {"10.0.0.1:5", "192.0.2.1,10.0.0.2 ,[2001:db8:ffff::1]:9", "192.0.2.1"},
        {"10.0.0.1:5", "192.0.2.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"},
        {"10.0.0.1:5", "2001:db8::5", "2001:db8::5"},
        {"10.0.0.1:5", "10.0.0.3, 10.0.0.2", "10.0.0.3"}, /* all are proxies */
        {"10.0.0.1:5", "192.0.2.1, unknown", "10.0.0.1:5"},
        {"10.0.0.1:5", "192.0.2.1,", "10.0.0.1:5"},
        {"10.0.0.1:5", "192.0.2.1,,10.0.0.2", "10.0.0.2"},
        {"[2001:db8:ffff::7]:5", "192.0.2.1", "192.0.2.1"},
        /* Nobody whose word counts. */
        {"192.0.2.66:5", "192.0.2.1", "192.0.2.66:5"},
        {"[2001:db8::7]:5", "192.0.2.1", "[2001:db8::7]:5"},
    };
    struct config config;
    char text[ADDRESS_TEXT_MAX];
    (void)state;
    memset(&config, 0, sizeof config);
    config.trusted_proxies = (struct config_patterns){proxies, 3};
    struct trust *t = trust_new(&config);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct address peer = parsed(rows[i].peer);
        struct address client = trust_client(t, &peer, span_str(rows[i].header));
        address_write(&client, text);
        if (strcmp(text, rows[i].want) != 0)
            fail_msg("%s: %s: %s", rows[i].peer, rows[i].header, text);
    }
    struct address local = {.kind = ADDRESS_UNIX};
    struct address client = trust_client(t, &local, SPAN("192.0.2.1"));
    address_write(&client, text);
    assert_string_equal(text, "192.0.2.1");
    trust_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections), cmocka_unit_test(test_six_is_counted_by_network),
        cmocka_unit_test(test_rate),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_no_limits),   cmocka_unit_test(test_forwarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
