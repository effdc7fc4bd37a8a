/* What a right configuration becomes: defaults, file, environment, --set, URLs, printing. */
#include "config_fixture.h"

#include "base/json_scan.h"
#include "bus/registry.h"
#include "config/document.h"

#define M "\"buses\":{\"m\":{\"type\":\"memory\"}}"

static void test_defaults(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(&f, "{" M "}", NULL, NULL);
    const struct config *c = &f.config;
    assert_int_equal(f.action, CONFIG_RUN);
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listen[0].text, "127.0.0.1:8080");
    assert_string_equal(c->listen[0].host, "127.0.0.1");
    assert_int_equal(c->listen[0].port, 8080);
    assert_true(c->listen[0].loopback);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->limits.message_bytes, 65536);
    assert_int_equal(c->limits.frame_bytes, 132096);
    assert_int_equal(c->limits.connections, 100000);
    assert_int_equal(c->limits.inbox_bytes, 67108864);
    assert_int_equal(c->replay.ring_keys, 10000);
    assert_int_equal(c->bus_wait, 5000);
    assert_int_equal(c->drain, 10000);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->log_format, LOG_LOGFMT);
    assert_false(c->access.given);
    assert_null(c->access.origins.list);
    assert_int_equal(c->rule_count, 1);
    assert_string_equal(c->rules[0].match, "**");
    assert_null(c->rules[0].prefix);
    assert_true(c->rules[0].hide_internal);
    assert_true(c->rules[0].publish && c->rules[0].history);
    assert_int_equal(c->buses[0].values[0].number, 10000);
    assert_false(c->buses[0].values[0].set);
    fix_done(&f);
}

static void test_file(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(
        &f,
        "// a comment\n"
        "{\"$schema\":\"x\",\"listen\":[\"[::1]:0\",{\"address\":\"unix:/tmp/x\"},\"0.0.0.0:9\"],"
        "\"admin\":null,\"workers\":3,"
        "\"buses\":{\"m\":{\"type\":\"memory\",\"history\":5,\"tags\":[\"a\",\"b\"]},"
        "\"r\":{\"type\":\"redis\",\"url\":\"redis://"
        "u:p@h\",\"properties\":{\"a.b\":1,\"c\":true}}},"
        "\"channels\":[{\"match\":\"a.{x}.{y}\",\"bus\":\"m\",\"topic\":\"t-{y}\",\"key\":\"{x}\","
        "\"publish\":false},{\"match\":\"**\",\"bus\":\"r\",\"kind\":\"stream\",\"key\":\"k\","
        "\"history\":false},],"
        "\"access\":{\"origins\":[\"https://a.example\"],\"anonymous\":{\"publish\":[]}},"
        "\"log\":{\"level\":\"debug\",\"format\":\"json\"},\"web\":{\"demo\":false},/* x */}",
        NULL, NULL);
    const struct config *c = &f.config;
    assert_int_equal(c->listen_count, 3);
    assert_string_equal(c->listen[0].host, "::1");
    assert_true(c->listen[0].loopback);
    assert_null(c->listen[1].host);
    assert_string_equal(c->listen[1].path, "/tmp/x");
    assert_true(c->listen[1].loopback);
    assert_false(c->listen[2].loopback);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->buses[0].values[0].number, 5);
    assert_true(c->buses[0].values[0].set);
    assert_int_equal(c->buses[0].values[1].count, 2);
    assert_int_equal(c->buses[1].values[3].count, 4);
    assert_string_equal(c->buses[1].values[3].list[0], "a.b");
    assert_string_equal(c->buses[1].values[3].list[3], "true");
    assert_ptr_equal(c->buses[1].backend, &fix_redis);
    assert_string_equal(c->rules[0].topic, "t-{y}");
    assert_string_equal(c->rules[0].key, "{x}");
    assert_false(c->rules[0].publish);
    assert_null(c->rules[0].values);
    assert_int_equal(c->rules[1].bus, 1);
    assert_string_equal(c->rules[1].values[0].string, "stream");
    assert_false(c->rules[1].history);
    assert_true(c->access.given && c->access.anonymous_given);
    assert_null(c->access.subscribe.list);
    assert_non_null(c->access.publish.list);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->log_format, LOG_JSON);
    fix_done(&f);
}

static void test_order(void **state)
{
    (void)state;
    const char *file = "{\"buses\":{\"Main\":{\"type\":\"memory\",\"history\":1}},"
                       "\"limits\":{\"errors\":1,\"history\":1}}";
    const char *const *env = FIX_ARGS(
        "HOME=/", "WSBUS_LIMITS__ERRORS=2", "WSBUS_WORKERS=2", "WSBUS_BUSES__MAIN__HISTORY=2",
        "WSBUS_LISTEN=127.0.0.1:1, [::1]:2", "WSBUS_ACCESS__ORIGINS=[\"https://a.example\"]");
    struct fix f;
    fix_ok(&f, file, NULL, env);
    assert_int_equal(f.config.limits.errors, 2);
    assert_int_equal(f.config.limits.history, 1);
    assert_int_equal(f.config.workers, 2);
    assert_int_equal(f.config.bus_count, 1);
    assert_int_equal(f.config.buses[0].values[0].number, 2);
    assert_int_equal(f.config.listen_count, 2);
    assert_string_equal(f.config.listen[1].text, "[::1]:2");
    assert_string_equal(f.config.access.origins.list[0], "https://a.example");
    fix_done(&f);

    fix_ok(&f, file,
           FIX_ARGS("--set", "limits.errors=3", "--set=buses.Main.history=3", "--set",
                    "channels=[{\"match\":\"x\",\"bus\":\"Main\"}]", "--set", "channels.0.topic=y",
                    "--set", "channels.1={\"match\":\"z\",\"bus\":\"Main\"}", "--set",
                    "workers=null"),
           env);
    assert_int_equal(f.config.limits.errors, 3);
    assert_int_equal(f.config.buses[0].values[0].number, 3);
    assert_int_equal(f.config.rule_count, 2);
    assert_string_equal(f.config.rules[0].topic, "y");
    assert_int_equal(f.config.workers, 0);
    fix_done(&f);

    fix_ok(&f, "{}",
           FIX_ARGS("--set", "buses.r.type=redis", "--set", "buses.r.url=redis://x", "--set",
                    "buses.r.properties.security.protocol=ssl", "--set", "channels=[]"),
           FIX_ARGS("WSBUS_BUSES__R__PROPERTIES__A__B=1", "WSBUS_SERVICE_HOST=10.0.0.1",
                    "WSBUS_PORT=tcp://10.0.0.1:80", "WSBUS_PORT_8080_TCP_ADDR=10.0.0.1"));
    assert_int_equal(f.config.buses[0].values[3].count, 4);
    assert_string_equal(f.config.buses[0].values[3].list[0], "a.b");
    assert_string_equal(f.config.buses[0].values[3].list[2], "security.protocol");
    assert_int_equal(f.config.rule_count, 0);
    fix_done(&f);
}

static void test_exact(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(&f, "{" M ",\"limits\":{\"inbox_bytes\":1073741823}}", NULL, NULL);
    assert_int_equal(f.config.limits.inbox_bytes, 1073741823);
    fix_done(&f);
}

static void test_urls(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(&f, NULL, FIX_ARGS("memory:?history=7"), NULL);
    assert_int_equal(f.config.bus_count, 1);
    assert_string_equal(f.config.buses[0].name, "memory");
    assert_int_equal(f.config.buses[0].values[0].number, 7);
    assert_null(f.config.rules[0].prefix);
    assert_true(f.config.rules[0].hide_internal);
    fix_done(&f);

    fix_ok(&f, NULL,
           FIX_ARGS("redis://u:p@h:6379/0?kind=stream&pool=3&x=1", "rediss://other",
                    "memory:", "--set", "buses.redis.password=s"),
           FIX_ARGS("WSBUS_BUSES__REDIS__URL=redis://overridden"));
    const struct config *c = &f.config;
    assert_int_equal(c->bus_count, 3);
    assert_string_equal(c->buses[0].name, "redis");
    assert_string_equal(c->buses[0].values[0].string, "redis://u:p@h:6379/0?x=1");
    assert_string_equal(c->buses[0].values[1].string, "s");
    assert_int_equal(c->buses[0].values[2].number, 3);
    assert_string_equal(c->buses[1].name, "redis2");
    assert_string_equal(c->buses[1].values[0].string, "rediss://other");
    assert_int_equal(c->rule_count, 3);
    assert_string_equal(c->rules[0].prefix, "redis/");
    assert_int_equal(c->rules[0].values[0].number, 1);
    assert_string_equal(c->rules[1].prefix, "redis2/");
    assert_int_equal(c->rules[1].values[0].number, 0);
    assert_string_equal(c->rules[2].prefix, "memory/");
    fix_done(&f);
}

struct action_case {
    const char *args[4];
    enum config_action action;
};

static void test_actions(void **state)
{
    (void)state;
    static const struct action_case cases[] = {{{"run", "memory:"}, CONFIG_RUN},
                                               {{"memory:", "check"}, CONFIG_CHECK},
                                               {{"config", "memory:"}, CONFIG_PRINT},
                                               {{"schema"}, CONFIG_SCHEMA},
                                               {{"reference"}, CONFIG_REFERENCE},
                                               {{"--version"}, CONFIG_VERSION},
                                               {{"-V"}, CONFIG_VERSION},
                                               {{"--help"}, CONFIG_HELP},
                                               {{"check", "-h"}, CONFIG_HELP},
                                               {{"--help", "whatever"}, CONFIG_HELP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fix f;
        fix_ok(&f, NULL, cases[i].args, NULL);
        assert_int_equal(f.action, cases[i].action);
        fix_done(&f);
    }
}

static char *print(const struct config *c)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    config_print(c, &b);
    assert_true(json_valid(buf_view(&b)));
    return buf_steal(&b);
}

/* config -> print -> load -> print is the same text. */
static void expect_fixed_point(const struct config *c, const char *const *hidden)
{
    struct fix again;
    char *first = print(c);
    for (; hidden && *hidden; hidden++)
        if (strstr(first, *hidden)) fail_msg("%s is not blotted out: %s", *hidden, first);
    fix_ok(&again, first, NULL, NULL);
    char *second = print(&again.config);
    assert_string_equal(first, second);
    fix_done(&again);
    free(first);
    free(second);
}

static void test_print(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(&f, "{" M "}", NULL, NULL);
    expect_fixed_point(&f.config, NULL);
    fix_done(&f);

    fix_ok(&f, NULL, FIX_ARGS("redis://u:hunter2@h?kind=stream", "memory:"), NULL);
    expect_fixed_point(&f.config, FIX_ARGS("hunter2"));
    fix_done(&f);

    fix_ok(&f,
           "{\"listen\":[\"0.0.0.0:1\",\"unix:/x\"],\"buses\":{\"r\":{\"type\":\"redis\","
           "\"url\":\"redis://u:hunter2@h\",\"password\":\"hunter3\",\"properties\":"
           "{\"sasl.password\":\"hunter4\",\"b\":2}},\"m\":{\"type\":\"memory\",\"tags\":[]}},"
           "\"channels\":[{\"match\":\"a.{b}\",\"bus\":\"r\",\"topic\":\"{b}\"}],\"access\":"
           "{\"origins\":[],\"anonymous\":{\"subscribe\":[\"\xc3\xa4.**\"]}},\"limits\":"
           "{\"message_bytes\":100,\"frame_bytes\":100}}",
           NULL, NULL);
    expect_fixed_point(&f.config, FIX_ARGS("hunter2", "hunter3", "hunter4"));
    fix_done(&f);
}

static void test_tls(void **state)
{
    (void)state;
    struct fix f;
    fix_ok(&f,
           "{\"buses\":{\"m\":{\"type\":\"memory\"}},\"listen\":[\"127.0.0.1:1\","
           "{\"address\":\"127.0.0.1:2\",\"tls\":{\"cert\":\"c\",\"key\":\"k\"},"
           "\"client_ca\":\"ca\"},"
           "{\"address\":\"127.0.0.1:3\",\"client_ca\":\"ca\",\"client_cert\":\"optional\","
           "\"tls\":[{\"cert\":\"c\",\"key\":\"k\",\"names\":[\"a.example\",\"*.b.example\"]},"
           "{\"cert\":\"c2\",\"key\":\"k2\"}]},"
           "{\"address\":\"127.0.0.1:4\",\"tls\":null}]}",
           NULL, NULL);
    const struct config_listen *l = f.config.listen;
    assert_int_equal(f.config.listen_count, 4);
    assert_null(l[0].tls);
    assert_int_equal(l[1].tls_count, 1);
    assert_string_equal(l[1].tls[0].cert, "c");
    assert_string_equal(l[1].tls[0].key, "k");
    assert_null(l[1].tls[0].names.list);
    assert_string_equal(l[1].client_ca, "ca");
    assert_false(l[1].client_cert_optional);
    assert_int_equal(l[2].tls_count, 2);
    assert_int_equal(l[2].tls[0].names.count, 2);
    assert_string_equal(l[2].tls[0].names.list[1], "*.b.example");
    assert_string_equal(l[2].tls[1].key, "k2");
    assert_true(l[2].client_cert_optional);
    assert_null(l[3].tls);
    expect_fixed_point(&f.config, NULL);
    fix_done(&f);
    fix_ok(&f, "{" M "}",
           FIX_ARGS("--set", "listen.address=127.0.0.1:1", "--set", "listen.tls.cert=c", "--set",
                    "listen.tls.key=k"),
           NULL);
    assert_string_equal(f.config.listen[0].tls[0].key, "k");
    fix_done(&f);
}

static void test_document(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    cJSON *root = document_new();
    document_int(root, "a", INT64_MIN);
    document_int(root, "b", 9007199254740993);
    document_int(root, "c", 1234567890123450);
    document_object(root, "d\"");
    document_string(document_list(root, "e"), NULL, "\n\x01\xc3\xa4/");
    document_print(root, &b);
    char *text = buf_steal(&b);
    assert_string_equal(text, "{\n\t\"a\":\t-9223372036854775808,\n\t\"b\":\t9007199254740993,\n"
                              "\t\"c\":\t1234567890123450,\n\t\"d\\\"\":\t{\n\t},\n"
                              "\t\"e\":\t[\"\\n\\u0001\xc3\xa4/\"]\n}\n");
    free(text);
}

/* With the backends that are really there: the built-in default and the example. */
static void test_real(void **state)
{
    (void)state;
    char *const plain[] = {(char *)(size_t) "wsbus", NULL};
    char *const none[] = {NULL};
    struct config c;
    enum config_action action;
    struct buf errors;
    buf_init(&errors, BUF_UNLIMITED);
    struct config_input in = {1, plain, none, bus_registry};
    int result = config_load(&in, &c, &action, &errors);
    if (result < 0) fail_msg("%.*s", (int)errors.n, errors.p);
    assert_int_equal(c.bus_count, 1);
    assert_string_equal(c.buses[0].name, "demo");
    assert_int_equal(c.rule_count, 2);
    assert_string_equal(c.rules[0].key, "{symbol}");
    assert_false(c.rules[0].publish);
    config_free(&c);

    char *const example[] = {(char *)(size_t) "wsbus", (char *)(size_t) "check",
                             (char *)(size_t) "-c", (char *)(size_t) "examples/wsbus.jsonc", NULL};
    if (access("examples/wsbus.jsonc", R_OK) == 0) {
        in = (struct config_input){4, example, none, bus_registry};
        result = config_load(&in, &c, &action, &errors);
        if (result < 0) fail_msg("%.*s", (int)errors.n, errors.p);
        assert_int_equal(action, CONFIG_CHECK);
        assert_string_equal(c.rules[3].prefix, "lab/");
        config_free(&c);
    } else {
        skip(); /* not started in the project's directory */
    }
    buf_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_file),
        cmocka_unit_test(test_order),    cmocka_unit_test(test_exact),
        cmocka_unit_test(test_urls),     cmocka_unit_test(test_actions),
        cmocka_unit_test(test_print),    cmocka_unit_test(test_document),
        cmocka_unit_test(test_real),     cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
