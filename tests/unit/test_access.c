/* Who may connect, subscribe and publish. */
#include "config_fixture.h"

#include "access/access.h"

#define BUSES "\"buses\":{\"m\":{\"type\":\"memory\"}}"

struct gate {
    struct fix fix;
    struct access *access;
};

static void gate_open(struct gate *g, const char *file)
{
    char err[256] = "";
    fix_ok(&g->fix, file, NULL, NULL);
    g->access = access_new(&g->fix.config, err, sizeof err);
    assert_non_null(g->access);
}

static void gate_close(struct gate *g)
{
    access_free(g->access);
    fix_done(&g->fix);
}

static bool may(const struct gate *g, enum access_right right, const char *channel)
{
    return access_channel(g->access, right, span_str(channel));
}

static bool enters(const struct gate *g, const char *origin, const char *host, bool loopback)
{
    const struct access_way way = {.loopback = loopback};
    return access_origin(g->access, span_str(origin), span_str(host), way);
}

static bool enters_tls(const struct gate *g, const char *origin, const char *host)
{
    const struct access_way way = {.loopback = true, .tls = true};
    return access_origin(g->access, span_str(origin), span_str(host), way);
}

static void test_without(void **state)
{
    (void)state;
    struct gate g;
    gate_open(&g, "{" BUSES "}");
    assert_true(may(&g, ACCESS_SUBSCRIBE, "a"));
    assert_true(may(&g, ACCESS_PUBLISH, "a.b.c"));

    assert_true(enters(&g, NULL, "localhost:8080", true));
    assert_true(enters(&g, "http://localhost:8080", "localhost:8080", true));
    assert_true(enters(&g, "http://[::1]:8080", "[::1]:8080", true));
    assert_false(enters(&g, "null", "localhost:8080", true));
    assert_false(enters(&g, "", "localhost:8080", true));
    assert_false(enters(&g, "http://localhost:3000", "localhost:8080", true));
    assert_false(enters(&g, "http://evil.example", "localhost:8080", true));
    /* A page of evil.example whose name was made to point to this machine. */
    assert_false(enters(&g, "http://evil.example:8080", "evil.example:8080", true));
    assert_false(enters(&g, NULL, "evil.example:8080", true));
    assert_false(enters(&g, NULL, NULL, true));
    assert_false(enters(&g, NULL, "", true));

    /* A page that came in plain text is not one of ours, where we speak TLS. */
    assert_true(enters_tls(&g, "https://localhost:8443", "localhost:8443"));
    assert_true(enters_tls(&g, "https://localhost", "localhost"));
    assert_true(enters_tls(&g, NULL, "localhost"));
    assert_false(enters_tls(&g, "http://localhost:8443", "localhost:8443"));
    assert_false(enters_tls(&g, "http://localhost", "localhost"));
    gate_close(&g);
}

static void test_no_origins(void **state)
{
    (void)state;
    struct gate g;
    gate_open(&g, "{" BUSES ",\"access\":{},\"listen\":\"0.0.0.0:80\"}");
    assert_false(may(&g, ACCESS_SUBSCRIBE, "a"));
    assert_false(may(&g, ACCESS_PUBLISH, "a"));
    assert_true(enters(&g, "https://example.com", "example.com", false));
    assert_true(enters(&g, NULL, "example.com", false));
    assert_true(enters(&g, NULL, NULL, false));
    assert_false(enters(&g, "https://example.com", NULL, false));
    assert_false(enters(&g, "https://example.com", "other.example", false));
    assert_false(enters(&g, "null", "null", false));
    assert_false(enters(&g, NULL, "example.com", true));
    gate_close(&g);
}

static void test_origins(void **state)
{
    (void)state;
    struct gate g;
    gate_open(&g, "{" BUSES ",\"access\":{\"origins\":[\"https://app.example.com\","
                  "\"http://*.example.org:8080\"],\"anonymous\":{\"subscribe\":[\"quotes.**\","
                  "\"news.*\"],\"publish\":\"room.{name}\"}}}");
    assert_true(enters(&g, "https://app.example.com", "localhost:8080", true));
    assert_true(enters(&g, "https://app.example.com", "bridge.example.com", true));
    assert_true(enters(&g, "http://a.example.org:8080", "x", false));
    assert_true(enters(&g, NULL, NULL, true));
    assert_false(enters(&g, "null", "localhost", true));
    assert_false(enters(&g, "http://localhost:8080", "localhost:8080", true));
    assert_false(enters(&g, "http://example.org:8080", "x", false));

    assert_true(may(&g, ACCESS_SUBSCRIBE, "quotes.EURUSD"));
    assert_true(may(&g, ACCESS_SUBSCRIBE, "quotes.a.b"));
    assert_true(may(&g, ACCESS_SUBSCRIBE, "news.sport"));
    assert_false(may(&g, ACCESS_SUBSCRIBE, "news.sport.tennis"));
    assert_false(may(&g, ACCESS_SUBSCRIBE, "quotes"));
    assert_false(may(&g, ACCESS_SUBSCRIBE, "room.a"));
    assert_true(may(&g, ACCESS_PUBLISH, "room.a"));
    assert_false(may(&g, ACCESS_PUBLISH, "quotes.EURUSD"));
    gate_close(&g);
}

struct tricky {
    const char *origin;
    bool enters;
};

/* Against app.example.com, any name below example.net:8443 (both https) and http://[::1]:3000. */
static const struct tricky tricky[] = {
    {"https://app.example.com", true},
    {"https://app.example.com:443", true},
    {"HTTPS://APP.EXAMPLE.COM", true},
    {"https://a.example.net:8443", true},
    {"https://a.b.c.example.net:8443", true},
    {"https://A.Example.NET:8443", true},
    {"http://[::1]:3000", true},
    {"http://[0:0:0:0:0:0:0:1]:3000", true},
    /* scheme and port */
    {"http://app.example.com", false},
    {"http://app.example.com:443", false},
    {"ws://app.example.com", false},
    {"wss://app.example.com", false},
    {"https://app.example.com:8443", false},
    {"https://app.example.com:0", false},
    {"https://app.example.com:00443", false},
    {"https://app.example.com:443443", false},
    {"https://app.example.com:+443", false},
    {"https://app.example.com:", false},
    {"https://a.example.net", false},
    {"http://a.example.net:8443", false},
    /* names that only look like one of them */
    {"https://example.com", false},
    {"https://www.app.example.com", false},
    {"https://app.example.com.evil.example", false},
    {"https://evil.example/https://app.example.com", false},
    {"https://evilapp.example.com", false},
    {"https://app-example.com", false},
    {"https://appxexample.com", false},
    {"https://app.example.com.", false},
    {"https://example.net:8443", false},
    {"https://.example.net:8443", false},
    {"https://evilexample.net:8443", false},
    {"https://a.example.net.evil.example:8443", false},
    {"https://a..example.net:8443", false},
    {"https://*.example.net:8443", false},
    {"https://a.example.net%2eevil.example:8443", false},
    /* what no browser sends */
    {"", false},
    {"null", false},
    {"NULL", false},
    {"*", false},
    {"undefined", false},
    {"app.example.com", false},
    {"//app.example.com", false},
    {"https:app.example.com", false},
    {"https:///app.example.com", false},
    {"https://app.example.com/", false},
    {"https://app.example.com?", false},
    {"https://app.example.com#", false},
    {"https://app.example.com\\@evil.example", false},
    {"https://evil.example@app.example.com", false},
    {"https://app.example.com@evil.example", false},
    {" https://app.example.com", false},
    {"https://app.example.com ", false},
    {"https://app.example.com\thttps://evil.example", false},
    {"https://app.example.com,https://evil.example", false},
    {"https://evil.example https://app.example.com", false},
    {"https://xn--app-example.com", false},
    {"https://\xd0\xb0pp.example.com", false},
    {"https://app.example.com\xe3\x80\x82", false},
    {"http://[::1]", false},
    {"http://[::2]:3000", false},
    {"http://::1:3000", false},
    {"http://[::ffff:0:1]:3000", false},
    {"file://", false},
    {"file://app.example.com", false},
    {"data:", false},
    {"about:blank", false},
    {"chrome-extension://app.example.com", false},
};

static void test_tricky(void **state)
{
    (void)state;
    struct gate g;
    gate_open(&g, "{" BUSES ",\"access\":{\"origins\":[\"https://app.example.com\","
                  "\"https://*.example.net:8443\",\"http://[::1]:3000\"]}}");
    for (size_t i = 0; i < sizeof tricky / sizeof *tricky; i++)
        if (enters(&g, tricky[i].origin, "app.example.com", false) != tricky[i].enters)
            fail_msg("\"%s\"", tricky[i].origin);
    const struct access_way way = {.loopback = false};
    assert_false(access_origin(g.access, SPAN("https://app.example.com\0"), SPAN("x"), way));
    gate_close(&g);
}

static void test_empty_origins(void **state)
{
    (void)state;
    struct gate g;
    gate_open(&g, "{" BUSES ",\"access\":{\"origins\":[],\"anonymous\":{}}}");
    assert_true(enters(&g, NULL, "localhost", true));
    assert_false(enters(&g, "http://localhost", "localhost", true));
    assert_false(may(&g, ACCESS_SUBSCRIBE, "a"));
    gate_close(&g);
}

static void test_wrong(void **state)
{
    (void)state;
    const char *const origins[] = {"example.com"}, *const patterns[] = {"a..b"};
    struct config c = {.access = {.given = true, .origins = {origins, 1}}};
    char err[256] = "";
    assert_null(access_new(&c, err, sizeof err));
    assert_non_null(strstr(err, "example.com"));
    c = (struct config){.access = {.given = true, .publish = {patterns, 1}}};
    assert_null(access_new(&c, err, sizeof err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without), cmocka_unit_test(test_no_origins),
        cmocka_unit_test(test_origins), cmocka_unit_test(test_empty_origins),
        cmocka_unit_test(test_tricky),  cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
