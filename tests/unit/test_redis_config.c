/* Addresses and options of a Redis bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus/redis_config.h"
#include "bus/redis_url.h"
#include "redis_stage.h"

static const char *text(const char *s)
{
    return s ? s : "-";
}

static void reads_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path, *user, *password;
        unsigned port, database;
        bool tls;
    } cases[] = {
        {"redis:", "localhost", "-", "-", "-", 6379, 0, false},
        {"redis://", "localhost", "-", "-", "-", 6379, 0, false},
        {"redis://h", "h", "-", "-", "-", 6379, 0, false},
        {"REDIS://h/", "h", "-", "-", "-", 6379, 0, false},
        {"redis://h:1/15", "h", "-", "-", "-", 1, 15, false},
        {"redis://h:/", "h", "-", "-", "-", 6379, 0, false},
        {"redis://:65535?db=3", "localhost", "-", "-", "-", 65535, 3, false},
        {"redis:///4", "localhost", "-", "-", "-", 6379, 4, false},
        {"rediss://h", "h", "-", "-", "-", 6379, 0, true},
        {"redis://[2001:db8::1]:7/2", "2001:db8::1", "-", "-", "-", 7, 2, false},
        {"redis://[::1]", "::1", "-", "-", "-", 6379, 0, false},
        {"redis://u:p@h", "h", "-", "u", "p", 6379, 0, false},
        {"redis://:p@h", "h", "-", "-", "p", 6379, 0, false},
        {"redis://:@h", "h", "-", "-", "-", 6379, 0, false},
        {"redis://u%40:p%2f%25@h", "h", "-", "u@", "p/%", 6379, 0, false},
        {"redis://u:p@q:r@h", "h", "-", "u", "p@q:r", 6379, 0, false},
        {"redis+unix:///run/r.sock", "-", "/run/r.sock", "-", "-", 0, 0, false},
        {"unix:///run/r%20s?db=2", "-", "/run/r s", "-", "-", 0, 2, false},
        {"redis+unix://u:p@/run/r", "-", "/run/r", "u", "p", 0, 0, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_url u;
        char err[256] = "";
        if (redis_url_parse(cases[i].url, &u, err, sizeof(err)) < 0)
            fail_msg("%s: %s", cases[i].url, err);
        assert_string_equal(text(u.host), cases[i].host);
        assert_string_equal(text(u.path), cases[i].path);
        assert_string_equal(text(u.user), cases[i].user);
        assert_string_equal(text(u.password), cases[i].password);
        if (u.host) assert_int_equal(u.port, cases[i].port);
        assert_int_equal(u.database, cases[i].database);
        assert_int_equal(u.tls, cases[i].tls);
        redis_url_free(&u);
    }
}

/* Each in one sentence, which has the word and never "hush". */
static void refuses_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *word;
    } cases[] = {
        {"", "begin with"},
        {"http://h", "begin with"},
        {"redis:h", "//"},
        {"redis://h:0", "port"},
        {"redis://h:65536", "port"},
        {"redis://h:6379x", "port"},
        {"redis://::1", "port"},
        {"redis://[::1", "]"},
        {"redis://[::1]x", "]"},
        {"redis://h/x", "database"},
        {"redis://h/-1", "database"},
        {"redis://h/99999999999", "database"},
        {"redis://h/1?db=2", "twice"},
        {"redis://h?foo=hush", "\"foo\""},
        {"redis://h?db=", "database"},
        {"redis://h#1", "#"},
        {"redis://h k", "host"},
        {"redis://hush@h", "password"},
        {"redis://u:@h", "empty"},
        {"redis://u:hush%@h", "%25"},
        {"redis://u:hush%zz@h", "%25"},
        {"redis://u:hush%00@h", "%25"},
        {"redis://u:hu/hush@h", "%2F"},
        {"redis://u:1/hush@h", "%2F"},
        {"redis://u:1?hush@h", "%3F"},
        {"redis+unix://h/x", "no host"},
        {"redis+unix://", "absolute"},
        {"redis+unix:///", "absolute"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct redis_url u;
        char err[256] = "";
        if (redis_url_parse(cases[i].url, &u, err, sizeof(err)) == 0)
            fail_msg("%s is accepted", cases[i].url);
        if (!strstr(err, cases[i].word)) fail_msg("%s: %s", cases[i].url, err);
        assert_null(strstr(err, "hush"));
        redis_url_free(&u);
    }
    char url[256] = "redis+unix:///";
    memset(url + strlen(url), 'x', 110);
    struct redis_url u;
    char err[256] = "";
    assert_int_equal(redis_url_parse(url, &u, err, sizeof(err)), -1);
    assert_non_null(strstr(err, "107"));
    redis_url_free(&u);
}

/* Option by option over the defaults; ends with NULL. */
static struct redis_config *config_with(char *err, size_t err_size, ...)
{
    struct stage s;
    stage_init(&s);
    va_list args;
    va_start(args, err_size);
    const char *name;
    while ((name = va_arg(args, const char *)))
        stage_set(&s, name, va_arg(args, const char *));
    va_end(args);
    err[0] = '\0';
    struct redis_config *c = redis_config_new(s.values, err, err_size);
    assert_int_equal(redis_config_check(s.values, err, err_size), c ? 0 : -1);
    stage_done(&s);
    return c;
}

static void joins_url_and_options(void **state)
{
    (void)state;
    char err[256];
    struct redis_config *c = config_with(err, sizeof(err), "url", "redis://[::1]:7", "user", "u",
                                         "password", "p", "timeout", "500", NULL);
    assert_non_null(c);
    assert_string_equal(c->user, "u");
    assert_string_equal(c->password, "p");
    assert_string_equal(c->where, "[::1]:7");
    assert_int_equal(c->timeout, 500);
    assert_int_equal(c->publish_timeout, 5000);
    assert_null(c->tls);
    redis_config_free(c);
    c = config_with(err, sizeof(err), "url", "redis://u:hush@h/3", NULL);
    assert_string_equal(c->where, "h:6379");
    redis_config_free(c);
    c = config_with(err, sizeof(err), "url", "rediss://h", "tls_verify", "false", NULL);
    assert_non_null(c->tls);
    assert_false(c->tls_verify);
    redis_config_free(c);
}

static void refuses_what_contradicts(void **state)
{
    (void)state;
    char err[256];
    assert_null(config_with(err, sizeof(err), "url", "redis://h", "user", "u", NULL));
    assert_non_null(strstr(err, "password"));
    assert_null(config_with(err, sizeof(err), "url", "redis://u:hush@h", "password", "hush", NULL));
    assert_non_null(strstr(err, "twice"));
    assert_null(strstr(err, "hush"));
    assert_null(config_with(err, sizeof(err), "url", "redis://h", "tls_verify", "false", NULL));
    assert_non_null(strstr(err, "rediss://"));
    assert_null(config_with(err, sizeof(err), "url", "rediss://h", "ca", "/nowhere", NULL));
    assert_non_null(strstr(err, "/nowhere"));
    assert_non_null(strstr(err, "No such file"));
    assert_null(config_with(err, sizeof(err), "url", "rediss://h", "cert", "/nowhere", NULL));
    assert_non_null(strstr(err, "need each other"));
    assert_null(
        config_with(err, sizeof(err), "url", "rediss://h", "cert", "/no", "key", "/no", NULL));
    assert_non_null(strstr(err, "certificate"));
}

static void a_rule_has_defaults(void **state)
{
    (void)state;
    struct redis_rule rule = redis_rule(NULL);
    assert_false(rule.stream);
    assert_string_equal(rule.payload, "data");
    assert_string_equal(rule.key, "key");
    struct wsbus_value values[4] = {{0}};
    values[REDIS_RULE_KIND].string = "stream";
    values[REDIS_RULE_MAXLEN].number = 10;
    values[REDIS_RULE_PAYLOAD].string = "p";
    values[REDIS_RULE_KEY].string = "k";
    rule = redis_rule(values);
    assert_true(rule.stream);
    assert_int_equal(rule.maxlen, 10);
    assert_string_equal(rule.payload, "p");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(refuses_urls),
        cmocka_unit_test(joins_url_and_options),
        cmocka_unit_test(refuses_what_contradicts),
        cmocka_unit_test(a_rule_has_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
