/* Addresses and networks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/address.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: no address */
    } rows[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"192.0.2.1:443", "192.0.2.1:443"},
        {"0.0.0.0", "0.0.0.0"},
        {"::1", "::1"},
        {"[::1]", "::1"},
        {"[::1]:65535", "[::1]:65535"},
        {"2001:db8::1", "2001:db8::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"[::ffff:192.0.2.7]:1", "192.0.2.7:1"},
        {"", NULL},
        {":", NULL},
        {":80", NULL},
        {"192.0.2.1:", NULL},
        {"192.0.2.1:65536", NULL},
        {"192.0.2.1:-1", NULL},
        {"192.0.2.1:80a", NULL},
        {"192.0.2", NULL},
        {"192.0.2.256", NULL},
        {"0x7f.0.0.1", NULL},
        {"127.1", NULL},
        {"1.2.3.4.5", NULL},
        {"[192.0.2.1]", NULL},
        {"[192.0.2.1]:80", NULL},
        {"[::1", NULL},
        {"[::1]:", NULL},
        {"[::1]80", NULL},
        {"[::1]:80:80", NULL},
        {"[]", NULL},
        {"fe80::1%eth0", NULL},
        {" 192.0.2.1", NULL},
        {"unknown", NULL},
        {"_hidden", NULL},
        {"localhost", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", NULL},
    };
    char text[ADDRESS_TEXT_MAX];
    struct address a;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool ok = address_parse(span_str(rows[i].text), &a);
        if (ok != (rows[i].want != NULL)) fail_msg("\"%s\"", rows[i].text);
        if (!ok) continue;
        address_write(&a, text);
        assert_string_equal(text, rows[i].want);
    }
    assert_false(address_parse(span_of("1.2.3.4\0", 8), &a));
    assert_false(address_parse(span_of(NULL, 0), &a));
}

static struct address parsed(const char *text)
{
    struct address a;
    assert_true(address_parse(span_str(text), &a));
    return a;
}

static void test_of_sockets(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(7)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(8)};
    struct sockaddr un = {.sa_family = AF_UNIX};
    char text[ADDRESS_TEXT_MAX];
    struct address a;
    (void)state;
    inet_pton(AF_INET, "198.51.100.3", &in.sin_addr);
    address_of((const struct sockaddr *)&in, &a);
    address_write(&a, text);
    assert_string_equal(text, "198.51.100.3:7");
    inet_pton(AF_INET6, "::ffff:198.51.100.3", &six.sin6_addr);
    address_of((const struct sockaddr *)&six, &a);
    address_write(&a, text);
    assert_string_equal(text, "198.51.100.3:8");
    address_of(&un, &a);
    address_write(&a, text);
    assert_string_equal(text, "unix");
    address_of(NULL, &a);
    address_write(&a, text);
    assert_string_equal(text, "gone");
}

static void test_loopback(void **state)
{
    static const char *const yes[] = {"127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"};
    static const char *const no[] = {"128.0.0.1", "10.0.0.1", "::2", "2001:db8::1", "::"};
    struct address a = {.kind = ADDRESS_UNIX};
    (void)state;
    assert_true(address_loopback(&a));
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        a = parsed(yes[i]);
        assert_true(address_loopback(&a));
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        a = parsed(no[i]);
        assert_false(address_loopback(&a));
    }
}

static bool same_group(const char *x, const char *y)
{
    unsigned char a[16], b[16];
    struct address one = parsed(x), other = parsed(y);
    address_group(&one, a);
    address_group(&other, b);
    return memcmp(a, b, sizeof a) == 0;
}

static void test_groups(void **state)
{
    (void)state;
    assert_true(same_group("192.0.2.1:1", "192.0.2.1:2"));
    assert_false(same_group("192.0.2.1", "192.0.2.2"));
    assert_true(same_group("192.0.2.1", "::ffff:192.0.2.1"));
    assert_true(same_group("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"));
    assert_false(same_group("2001:db8::1", "2001:db8:0:1::1"));
}

static void test_nets(void **state)
{
    static const struct {
        const char *net, *in, *out;
    } rows[] = {
        {"10.0.0.0/8", "10.255.3.4", "11.0.0.0"},
        {"10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"},
        {"192.0.2.128/25", "192.0.2.128", "192.0.2.127"},
        {"192.0.2.1", "192.0.2.1:9", "192.0.2.2"},
        {"192.0.2.1/32", "192.0.2.1", "192.0.2.0"},
        {"0.0.0.0/0", "255.1.2.3", "2001:db8::1"},
        {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"},
        {"::1", "::1", "127.0.0.1"},
        {"::/0", "2001:db8::1", NULL},
        {"::/0", "1.2.3.4", NULL},
    };
    struct address_net net;
    struct address a;
    char err[200];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(address_net_parse(rows[i].net, &net, err, sizeof err), 0);
        a = parsed(rows[i].in);
        if (!address_in(&a, &net)) fail_msg("%s is in %s", rows[i].in, rows[i].net);
        if (!rows[i].out) continue;
        a = parsed(rows[i].out);
        if (address_in(&a, &net)) fail_msg("%s is not in %s", rows[i].out, rows[i].net);
    }
    assert_int_equal(address_net_parse("unix:", &net, err, sizeof err), 0);
    a = (struct address){.kind = ADDRESS_UNIX};
    assert_true(address_in(&a, &net));
    a = parsed("127.0.0.1");
    assert_false(address_in(&a, &net));
    a = (struct address){.kind = ADDRESS_NONE};
    assert_false(address_in(&a, &net));
}

static void test_no_nets(void **state)
{
    static const char *const rows[] = {"",
                                       "10.0.0.0/",
                                       "10.0.0.0/33",
                                       "10.0.0.1/8",
                                       "10.0.0.0/8/8",
                                       "10.0.0.0/-1",
                                       "proxy",
                                       "unix:/path",
                                       "[::1]",
                                       "::1/129",
                                       "2001:db8::1/32",
                                       "10/8",
                                       "10.0.0.1:80",
                                       " 10.0.0.1"};
    struct address_net net;
    char err[200];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        *err = '\0';
        if (address_net_parse(rows[i], &net, err, sizeof err) == 0) fail_msg("\"%s\"", rows[i]);
        assert_non_null(strstr(err, "\""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),    cmocka_unit_test(test_of_sockets),
        cmocka_unit_test(test_loopback), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_nets),     cmocka_unit_test(test_no_nets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
