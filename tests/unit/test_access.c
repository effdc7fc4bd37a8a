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
    return access_origin(g->access, span_str(origin), span_str(host), loopback);
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
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
