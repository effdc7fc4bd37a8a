/* Origins, Host headers and patterns of origins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/origin.h"

struct parse_case {
    const char *text;
    const char *scheme, *host; /* scheme NULL: no origin */
    unsigned port;
};

static const struct parse_case parses[] = {
    {"https://example.com", "https", "example.com", 443},
    {"http://example.com", "http", "example.com", 80},
    {"HTTPS://Example.COM", "https", "example.com", 443},
    {"https://example.com:443", "https", "example.com", 443},
    {"https://example.com:8443", "https", "example.com", 8443},
    {"http://example.com:443", "http", "example.com", 443},
    {"http://localhost:5173", "http", "localhost", 5173},
    {"http://127.0.0.1:8080", "http", "127.0.0.1", 8080},
    {"http://[::1]:8080", "http", "[::1]", 8080},
    {"http://[0:0:0:0:0:0:0:1]", "http", "[::1]", 80},
    {"http://[2001:DB8::1]", "http", "[2001:db8::1]", 80},
    {"wss://example.com", "wss", "example.com", 443},
    {"capacitor://localhost", "capacitor", "localhost", 0},
    {"chrome-extension://abcdefghijklmnop", "chrome-extension", "abcdefghijklmnop", 0},
    {"https://a_b.example.com", "https", "a_b.example.com", 443},
    {"https://xn--bcher-kva.example", "https", "xn--bcher-kva.example", 443},
    {"https://example.com:65535", "https", "example.com", 65535},
    {.text = ""},
    {.text = "null"},
    {.text = "*"},
    {.text = "example.com"},
    {.text = "//example.com"},
    {.text = "https:example.com"},
    {.text = "https:/example.com"},
    {.text = "https://"},
    {.text = "https:///"},
    {.text = "://example.com"},
    {.text = "1https://example.com"},
    {.text = " https://example.com"},
    {.text = "https://example.com "},
    {.text = "https://example.com/"},
    {.text = "https://example.com/path"},
    {.text = "https://example.com?x"},
    {.text = "https://example.com#x"},
    {.text = "https://user@example.com"},
    {.text = "https://good.example@evil.example"},
    {.text = "https://example..com"},
    {.text = "https://.example.com"},
    {.text = "https://example.com."},
    {.text = "https://example.com:"},
    {.text = "https://example.com:0"},
    {.text = "https://example.com:0443"},
    {.text = "https://example.com:65536"},
    {.text = "https://example.com:123456"},
    {.text = "https://example.com:+80"},
    {.text = "https://example.com:80:80"},
    {.text = "https://*.example.com"},
    {.text = "https://b\xc3\xbc"
             "cher.example"},
    {.text = "https://exa mple.com"},
    {.text = "https://a.example, https://b.example"},
    {.text = "http://[::1"},
    {.text = "http://[::1]x"},
    {.text = "http://[]"},
    {.text = "http://[fe80::1%25eth0]"},
    {.text = "http://::1"},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof parses / sizeof *parses; i++) {
        struct origin o;
        bool good = origin_parse(span_str(parses[i].text), &o);
        if (good != (parses[i].scheme != NULL)) fail_msg("\"%s\"", parses[i].text);
        if (!good) continue;
        assert_string_equal(o.scheme, parses[i].scheme);
        assert_string_equal(o.host, parses[i].host);
        assert_int_equal(o.port, parses[i].port);
    }
    struct origin o;
    assert_false(origin_parse(SPAN("ht\0tp://example.com"), &o));
    assert_false(origin_parse(SPAN("https://exam\0ple.com"), &o));
    assert_false(origin_parse(SPAN("https://[::1\0]"), &o));
}

static void test_long(void **state)
{
    (void)state;
    char text[600] = "https://";
    struct origin o;
    memset(text + 8, 'a', 500);
    assert_false(origin_parse(span_of(text, 8 + 64), &o));
    assert_true(origin_parse(span_of(text, 8 + 63), &o));
    for (size_t i = 8 + 60; i < sizeof text; i += 60)
        text[i] = '.';
    assert_true(origin_parse(span_of(text, 8 + 253), &o));
    assert_false(origin_parse(span_of(text, 8 + 254), &o));
    memset(text, 'a', 100);
    memcpy(text + 100, "://a", 4);
    assert_false(origin_parse(span_of(text, 104), &o));
    assert_false(origin_parse(span_of(text + 68, 36), &o));
    assert_true(origin_parse(span_of(text + 69, 35), &o));
}

struct match_case {
    const char *pattern, *origin;
    bool matches;
};

static const struct match_case matches[] = {
    {"https://example.com", "https://example.com", true},
    {"https://example.com", "https://EXAMPLE.com:443", true},
    {"https://example.com:443", "https://example.com", true},
    {"https://example.com", "http://example.com", false},
    {"https://example.com", "http://example.com:443", false},
    {"https://example.com", "https://example.com:8443", false},
    {"https://example.com", "https://www.example.com", false},
    {"https://example.com", "https://example.com.evil.net", false},
    {"https://example.com", "https://evilexample.com", false},
    {"https://*.example.com", "https://a.example.com", true},
    {"https://*.example.com", "https://a.b.example.com", true},
    {"https://*.example.com", "https://example.com", false},
    {"https://*.example.com", "https://evilexample.com", false},
    {"https://*.example.com", "https://a.example.com:8443", false},
    {"https://*.example.com:8443", "https://a.example.com:8443", true},
    {"https://*.example.com", "http://a.example.com", false},
    {"https://*.example.com", "https://example.com.evil.net", false},
    {"http://*.localhost", "http://app.localhost", true},
    {"http://[::1]:80", "http://[0::1]", true},
    {"capacitor://localhost", "capacitor://localhost", true},
    {"capacitor://localhost", "ionic://localhost", false},
};

static void test_match(void **state)
{
    (void)state;
    char err[256];
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++) {
        struct origin p, o;
        assert_int_equal(origin_pattern(span_str(matches[i].pattern), &p, err, sizeof err), 0);
        assert_true(origin_parse(span_str(matches[i].origin), &o));
        if (origin_matches(&p, &o) != matches[i].matches)
            fail_msg("%s against %s", matches[i].origin, matches[i].pattern);
    }
}

static void test_wrong_patterns(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "*",
                                        "null",
                                        "example.com",
                                        "*.example.com",
                                        "https://*",
                                        "https://*.",
                                        "https://a.*",
                                        "https://*.*.example.com",
                                        "https://*a.example.com",
                                        "https://example.com/",
                                        "https://*.1.2.3.4",
                                        "https://*.[::1]",
                                        "https://example.com:*",
                                        "*://example.com"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct origin p;
        char err[256] = "";
        if (origin_pattern(span_str(wrong[i]), &p, err, sizeof err) == 0) fail_msg("%s", wrong[i]);
        assert_true(strlen(err) > 0);
    }
}

struct own_case {
    const char *origin, *host;
    bool own; /* over plain text */
    bool own_tls;
};

static const struct own_case owns[] = {
    {"http://localhost:8080", "localhost:8080", true, false},
    {"http://LOCALHOST:8080", "localhost:8080", true, false},
    {"http://localhost:8080", "localhost", false, false},
    {"http://localhost", "localhost", true, false},
    {"http://localhost", "localhost:80", true, false},
    {"https://example.com", "example.com", true, true},
    {"https://example.com", "example.com:443", true, true},
    {"https://example.com", "example.com:80", false, false},
    {"http://[::1]:8080", "[::1]:8080", true, false},
    {"http://localhost:8080", "127.0.0.1:8080", false, false},
    {"chrome-extension://example", "example", false, false},
};

static void test_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof owns / sizeof *owns; i++) {
        struct origin page, host;
        assert_true(origin_parse(span_str(owns[i].origin), &page));
        assert_true(origin_parse_host(span_str(owns[i].host), &host));
        if (origin_is_own(&page, &host, false) != owns[i].own)
            fail_msg("%s on %s", owns[i].origin, owns[i].host);
        if (origin_is_own(&page, &host, true) != owns[i].own_tls)
            fail_msg("%s on %s with TLS", owns[i].origin, owns[i].host);
    }
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const yes[] = {"localhost",        "LOCALHOST:1", "a.localhost",
                                      "127.0.0.1:8080",   "127.9.9.9",   "[::1]:80",
                                      "[0:0:0:0:0:0:0:1]"};
    static const char *const no[] = {"example.com",  "localhost.example.com",
                                     "notlocalhost", "127.0.0.1.example.com",
                                     "128.0.0.1",    "0.0.0.0",
                                     "[::2]",        "127.1"};
    struct origin host;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(origin_parse_host(span_str(yes[i]), &host));
        if (!origin_host_loopback(&host)) fail_msg("%s", yes[i]);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_true(origin_parse_host(span_str(no[i]), &host));
        if (origin_host_loopback(&host)) fail_msg("%s", no[i]);
    }
    assert_false(origin_parse_host(SPAN(""), &host));
    assert_false(origin_parse_host(SPAN(":80"), &host));
    assert_false(origin_parse_host(SPAN("a b"), &host));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_long),
        cmocka_unit_test(test_match), cmocka_unit_test(test_wrong_patterns),
        cmocka_unit_test(test_own),   cmocka_unit_test(test_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
