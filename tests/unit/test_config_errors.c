/* Every mistake, with its place and what was meant. */
#include "config_fixture.h"

#define M "\"buses\":{\"m\":{\"type\":\"memory\"}}"
#define R "\"buses\":{\"r\":{\"type\":\"redis\",\"url\":\"redis://h\"}}"

/* The lines of the errors begin like these, and there are no others. */
static void expect_lines(const char *file, const char *const *lines)
{
    struct fix f;
    fix_load(&f, file, NULL, NULL);
    assert_int_equal(f.result, -1);
    const char *p = f.text;
    for (; *lines; lines++) {
        if (strncmp(p, *lines, strlen(*lines)) != 0) fail_msg("not \"%s\": %s", *lines, p);
        p = strchr(p, '\n') + 1;
    }
    assert_string_equal(p, "");
    fix_done(&f);
}

static void test_ten(void **state)
{
    (void)state;
    expect_lines("{\n"
                 "  \"listen\": \"0.0.0.0:8080\",\n"
                 "  \"worker\": 2,\n"
                 "  \"buses\": {\n"
                 "    \"a\": { \"type\": \"memry\" },\n"
                 "    \"bank\": { \"type\": \"memory\", \"histroy\": 5 }\n"
                 "  },\n"
                 "  \"channels\": [\n"
                 "    { \"match\": \"x.{y}\", \"bus\": \"bank\", \"topic\": \"{z}\" },\n"
                 "    { \"match\": \"**.x\", \"bus\": \"bnak\", \"publish\": \"no\" }\n"
                 "  ],\n"
                 "  \"limits\": {\n"
                 "    \"queue_byte\": 5,\n"
                 "    \"errors\": 0 // too few\n"
                 "  }\n"
                 "}\n",
                 FIX_ARGS("F:2:13: listen: 0.0.0.0:8080 can be reached by other machines",
                          "F:3:3: worker: unknown option; did you mean \"workers\"?\n",
                          "F:5:20: buses.a.type: \"memry\" is not built into this wsbus, which has "
                          "\"memory\", \"redis\"; did you mean \"memory\"?\n",
                          "F:6:33: buses.bank.histroy: unknown option; did you mean \"history\"?\n",
                          "F:9:49: channels.0.topic: ", "F:10:16: channels.1.match: ",
                          "F:10:31: channels.1.bus: there is no bus \"bnak\"; did you mean "
                          "\"bank\"?\n",
                          "F:10:50: channels.1.publish: must be true or false, not a string\n",
                          "F:13:5: limits.queue_byte: unknown option; did you mean "
                          "\"queue_bytes\"?\n",
                          "F:14:15: limits.errors: 0 is not in the range from 1 to 1000000\n"));
}

struct file_case {
    const char *file, *line; /* the only line begins like this */
};

static void expect_each(const struct file_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_lines(cases[i].file, FIX_ARGS(cases[i].line));
}

#define EXPECT_EACH(cases) expect_each(cases, sizeof(cases) / sizeof *(cases))

static void test_syntax(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {"", "F:1:1: the file is empty"},
        {" // nothing\n", "F:1:1: the file is empty"},
        {"[]", "F:1:1: must be an object, not a list\n"},
        {"\n  5", "F:2:3: must be an object, not a number\n"},
        {"{\n\"a\": }", "F:2:6: not JSON: "},
        {"{\"a\": 1,, }", "F:1:9: not JSON: "},
        {"{\n /* x", "F:2:2: this comment has no end\n"},
        {"\xef\xbb\xbf{}", "F:1:1: the file begins with a byte order mark"},
        {"\xff\xfe{", "F:1:1: the file is UTF-16"},
        {"{" M ",\n\"log\":{},\n\"log\":{}}", "F:3:1: log: given twice; the first is at line 2\n"},
        {"{" M ",\"limits\":{\"errors\":5,\"errors\":5}}", "F:1:55: limits.errors: given twice"},
        {"{" M ",\n\"listen\":\"\\u0000\"}", "F:2:10: listen: a string with a NUL character\n"},
        {"{" M ",\n\"l\\ud800\":1}", "F:2:1: a string with half of a surrogate pair\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fix f;
        fix_load(&f, cases[i].file, NULL, NULL);
        assert_int_equal(f.result, -1);
        if (strncmp(f.text, cases[i].line, strlen(cases[i].line)) != 0)
            fail_msg("not \"%s\": %s", cases[i].line, f.text);
        fix_done(&f);
    }
}

/* What the JSON library would refuse or cut short hides nothing of the rest. */
static void test_unfit(void **state)
{
    (void)state;
    expect_lines(
        "{" M ",\n\"worker\\u0000s\":1,\n\"limits\":{\"errors\":\"\\\"\\udc00\", \"history\":"
        "1000000000000000000000000000000000000000000000000000000000000000},\n"
        "\"listen\":[\"\\ud83d\\ude00\",\"\\ud83d\\u0041\"],\n\"drian\":1}",
        FIX_ARGS("F:2:1: a string with a NUL character\n", "F:2:1: unknown option\n",
                 "F:3:20: limits.errors: a string with half of a surrogate pair\n",
                 "F:3:20: limits.errors: must be a whole number",
                 "F:3:42: limits.history: 100000000000000000000000000000000000000000000000000000000"
                 "0000000 is no whole number of 64 bits\n",
                 "F:4:11: listen: \"\xf0\x9f\x98\x80\" has no port",
                 "F:4:26: listen.1: a string with half of a surrogate pair\n",
                 "F:4:26: listen: ", "F:5:1: drian: unknown option; did you mean \"drain\"?\n"));
    fix_wrong(NULL, FIX_ARGS("--set", "log.level=\"\\ud800\"", "memory:"), NULL,
              "--set log.level: a string with half of a surrogate pair\n"
              "--set log.level: log.level: must be \"error\", \"warn\", \"info\" or \"debug\", not "
              "\"\"\n");
}

/* As deep as json_check() lets it be, and one more. */
static void test_nesting(void **state)
{
    (void)state;
    for (size_t levels = 511; levels <= 512; levels++) {
        char file[1200] = "{\"x\":";
        memset(file + 5, '[', levels);
        memset(file + 5 + levels, ']', levels);
        strcpy(file + 5 + 2 * levels, "," M "}");
        expect_lines(file, FIX_ARGS(levels == 511 ? "F:1:2: x: unknown option\n"
                                                  : "F:1:517: not JSON: nested too deep\n"));
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {"{" M ",\n\"workers\":1.5}", "F:2:11: workers: 1.5 is no whole number of 64 bits\n"},
        {"{" M ",\n\"workers\":99999999999999999999}", "F:2:11: workers: 99999999999999999999 is"},
        {"{" M ",\n\"workers\":257}", "F:2:11: workers: 257 is not in the range from 0 to 256\n"},
        {"{" M ",\n\"workers\":-1}", "F:2:11: workers: -1 is not in the range"},
        {"{" M ",\n\"workers\":\"2\"}", "F:2:11: workers: must be a whole number from 0 to 256, "
                                        "not a string\n"},
        {"{" M ",\n\"limits\":5}", "F:2:10: limits: must be an object, not a number\n"},
        {"{" M ",\n\"log\":{\"level\":\"warning\"}}",
         "F:2:16: log.level: must be \"error\", "
         "\"warn\", \"info\" or \"debug\", not \"warning\"\n"},
        {"{" M ",\n\"log\":{\"level\":\"inf\"}}",
         "F:2:16: log.level: must be \"error\", \"warn\", "
         "\"info\" or \"debug\", not \"inf\"; did you mean \"info\"?\n"},
        {"{" M ",\n\"queue_bytes\":5}", "F:2:1: queue_bytes: unknown option; did you mean "
                                        "\"limits.queue_bytes\"?\n"},
        {"{" M ",\n\"zzzzzz\":5}", "F:2:1: zzzzzz: unknown option\n"},
        {"{" M ",\n\"limits\":{\"frame_bytes\":65535}}", "F:2:25: limits.frame_bytes: 65535 is "
                                                         "less than limits.message_bytes (65536)"},
        {"{" M ",\n\"access\":{\"origins\":[\"https://a\",\n\"b\"]}}", "F:3:1: access.origins: "
                                                                       "\"b\" is no origin"},
        {"{" M ",\n\"access\":{\"origins\":[1]}}", "F:2:22: access.origins: must be a list of"},
        {"{" M ",\n\"access\":{\"anonymous\":{\"publish\":\"a..b\"}}}",
         "F:2:34: access.anonymous.publish: "},
    };
    EXPECT_EACH(cases);
}

static void test_unsupported(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {"{" M ",\n\"admin\":\"127.0.0.1\"}", "F:2:9: admin: \"127.0.0.1\" has no port"},
        {"{" M ",\n\"access\":{\"jwt\":{}}}", "F:2:11: access.jwt: jwt is not supported by this"},
        {"{" M ",\"listen\":{\"address\":\"127.0.0.1:1\",\n\"proxy_protocol\":true}}",
         "F:2:18: listen.proxy_protocol: needs \"trusted_proxies\""},
        {"{" M ",\"channels\":[{\"match\":\"a\",\"bus\":\"m\",\n\"policy\":\"drop\"}]}",
         "F:2:1: channels.0.policy: policy is not supported by this version\n"},
    };
    EXPECT_EACH(cases);
    struct fix f;
    fix_ok(&f,
           "{" M ",\"admin\":null,\"listen\":{\"address\":\"127.0.0.1:1\",\"tls\":null,"
           "\"proxy_protocol\":false}}",
           NULL, NULL);
    fix_done(&f);
    fix_ok(&f, "{" M "}", FIX_ARGS("--set", "admin=null"), NULL);
    fix_done(&f);
    fix_wrong("{" M "}", FIX_ARGS("--set", "access.jwt={}"), NULL,
              "--set access.jwt: access.jwt: jwt is not supported by this version\n");
    fix_ok(&f, "{" M "}", FIX_ARGS("--set", "limits.memory_bytes=33554432"), NULL);
    fix_done(&f);
    fix_wrong("{" M "}", FIX_ARGS("--set", "limits.memory_bytes=33554431"), NULL,
              "--set limits.memory_bytes: limits.memory_bytes: 33554431 is less than the process "
              "needs by itself: 0 (no ceiling), or at least 33554432\n");
}

#define TLS(tls) "{" M ",\"listen\":{\"address\":\"127.0.0.1:1\",\n" tls "}}"
#define PAIR "\"cert\":\"c\",\"key\":\"k\""

static void test_tls(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {TLS("\"tls\":[]"), "F:2:7: listen.tls: needs at least one certificate\n"},
        {TLS("\"tls\":true"),
         "F:2:7: listen.tls: must be an object with \"cert\" and \"key\", or a "
         "list of these, not true"},
        {TLS("\"tls\":[\"c.pem\"]"), "F:2:8: listen.tls: must be an object with"},
        {TLS("\"tls\":{\"cert\":\"c\"}"), "F:2:7: listen.tls: \"key\" is missing\n"},
        {TLS("\"tls\":[{" PAIR "},{\"key\":\"k\"}]"), "F:2:31: listen.tls: \"cert\" is missing\n"},
        {TLS("\"tls\":{" PAIR ",\"name\":\"a\"}"),
         "F:2:29: listen.tls.name: unknown option; did you mean \"names\"?\n"},
        {TLS("\"tls\":{" PAIR ",\"names\":\"https://a.example\"}"),
         "F:2:37: listen.tls.names: \"https://a.example\" is no name of a host; write it like"},
        {TLS("\"tls\":{" PAIR ",\"names\":[\"a.*.example\"]}"), "F:2:37: listen.tls.names: "},
        {TLS("\"tls\":{" PAIR ",\"names\":[\"*\"]}"), "F:2:37: listen.tls.names: "},
        {TLS("\"tls\":{" PAIR ",\"names\":[\"a..example\"]}"), "F:2:37: listen.tls.names: "},
        {TLS("\"client_ca\":\"x\""), "F:2:13: listen.client_ca: only TLS has certificates of"},
        {TLS("\"tls\":{" PAIR "},\"client_cert\":\"optional\""),
         "F:2:44: listen.client_cert: needs \"client_ca\""},
        {TLS("\"tls\":{" PAIR "},\"client_ca\":\"a\",\"client_cert\":\"maybe\""),
         "F:2:60: listen.client_cert: must be \"required\" or \"optional\", not \"maybe\""},
    };
    EXPECT_EACH(cases);
}

static void test_listen(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        ":8080",
                                        "*:8080",
                                        "8080",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "127.0.0.1:x",
                                        "127.0.0.1:65536",
                                        "127.0.0.1:-1",
                                        "127.0.0.1:+1",
                                        "127.0.0.1: 1",
                                        "[::1]",
                                        "::1:x",
                                        "[::1:80",
                                        "[::x]:80",
                                        "example.com:80",
                                        "127.1:80",
                                        "unix:",
                                        "unix:relative",
                                        "http://127.0.0.1:80"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char file[256], line[128];
        snprintf(file, sizeof file, "{" M ",\n\"listen\":\"%s\"}", wrong[i]);
        snprintf(line, sizeof line, "F:2:10: listen: \"%s\" ", wrong[i]);
        expect_lines(file, FIX_ARGS(line));
    }
    static const struct file_case cases[] = {
        {"{" M ",\n\"listen\":[]}", "F:2:10: listen: needs at least one address\n"},
        {"{" M ",\n\"listen\":5}", "F:2:10: listen: must be an address, an object"},
        {"{" M ",\"listen\":[\"127.0.0.1:1\",\n\"localhost:1\"]}", "F:2:1: listen: \"localhost:1\" "
                                                                   "is given twice\n"},
        {"{" M ",\n\"listen\":{}}", "F:2:10: listen: \"address\" is missing\n"},
        {"{" M ",\"listen\":{\"address\":\"127.0.0.1:1\",\n\"adress\":1}}",
         "F:2:1: listen.adress: unknown option; did you mean \"address\"?\n"},
        {"{" M ",\n\"listen\":\"[::]:1\"}", "F:2:10: listen: [::]:1 can be reached"},
        {"{" M ",\n\"access\":null,\"listen\":\"10.0.0.1:1\"}", "F:2:24: listen: 10.0.0.1:1 can"},
    };
    EXPECT_EACH(cases);
}

static void test_buses(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {"{}", "F:1:1: buses: there is no bus; write for instance "},
        {"{\"buses\":{}}", "F:1:10: buses: there is no bus"},
        {"{\"buses\":[]}", "F:1:10: buses: must be an object of buses by name, not a list\n"},
        {"{\"buses\":{\"m\":5}}", "F:1:15: buses.m: must be an object with \"type\", not a number"},
        {"{\"buses\":{\"m\":{}}}", "F:1:15: buses.m: \"type\" is missing; this wsbus has \"mem"},
        {"{\"buses\":{\"m\":{\"type\":1}}}", "F:1:23: buses.m.type: must be a string, not a "},
        {"{\"buses\":{\"m\":{\"type\":\"kafka\"}}}", "F:1:23: buses.m.type: \"kafka\" is not built "
                                                     "into this wsbus, which has \"memory\", "
                                                     "\"redis\"\n"},
        {"{\"buses\":{\"a.b\":{\"type\":\"memory\"}},\"channels\":[]}", "F:1:11: buses.a.b: the "},
        {"{\"buses\":{\"r\":{\"type\":\"redis\"}}}", "F:1:15: buses.r: \"url\" is missing\n"},
        {"{\"buses\":{\"r\":{\"type\":\"redis\",\"url\":\"x\"}}}",
         "F:1:15: buses.r: the url must begin with redis:// or rediss://\n"},
        {"{\"buses\":{\"r\":{\"type\":\"redis\",\"url\":\"redis:x\",\n\"properties\":{\"a\":[]}}}}",
         "F:2:19: buses.r.properties: \"a\" must be a string, number or boolean, not a list\n"},
    };
    EXPECT_EACH(cases);
}

static void test_rules(void **state)
{
    (void)state;
    static const struct file_case cases[] = {
        {"{" M ",\n\"channels\":{}}", "F:2:12: channels: must be a list of rules, not an object\n"},
        {"{" M ",\n\"channels\":[5]}", "F:2:13: channels.0: must be an object with \"match\" and"},
        {"{" M ",\n\"channels\":[{\"bus\":\"m\"}]}", "F:2:13: channels.0: \"match\" is missing\n"},
        {"{" M ",\n\"channels\":[{\"match\":\"a\"}]}", "F:2:13: channels.0: \"bus\" is missing\n"},
        {"{" M ",\"channels\":[{\"match\":\"a\",\"bus\":\"m\",\n\"kind\":\"stream\"}]}",
         "F:2:1: channels.0.kind: unknown option\n"},
        {"{" M ",\"channels\":[{\"match\":\"a\",\"bus\":\"m\",\n\"key\":\"{x}\"}]}",
         "F:2:7: channels.0.key: "},
        {"{" R ",\"channels\":[{\"match\":\"a\",\"bus\":\"r\",\n\"key\":\"x\"}]}",
         "F:2:7: channels.0.key: a bus of type \"redis\" stores no keys with such a rule\n"},
        {"{" R ",\"channels\":[{\"match\":\"a\",\"bus\":\"r\",\n\"kind\":\"steam\"}]}",
         "F:2:8: channels.0.kind: must be \"pubsub\" or \"stream\", not \"steam\"; did you mean"},
        {"{" M ",\"channels\":[{\"match\":\"a\",\"bus\":\"m\",\n\"prefix\":\"a b\"}]}",
         "F:2:10: channels.0.prefix: no name of a channel can begin like this\n"},
    };
    EXPECT_EACH(cases);
}

static void test_environment(void **state)
{
    (void)state;
    fix_wrong("{" M "}", NULL,
              FIX_ARGS("WSBUS_LIMITS__QUEUE_BYTE=5", "WSBUS_WORKERS=many", "WSBUS_=1",
                       "WSBUS_LIMITS____X=1", "WSBUS_QUEUE_MS=5", "WSBUS_PORT=80",
                       "WSBUS_LOG__LEVEL=inf", "WSBUS_LISTEN=127.0.0.1:x"),
              "WSBUS_LIMITS__QUEUE_BYTE: limits.queue_byte: unknown option; did you mean "
              "\"WSBUS_LIMITS__QUEUE_BYTES\"?\n"
              "WSBUS_WORKERS: workers: must be a whole number from 0 to 256, not \"many\"\n"
              "WSBUS_: is no option; they are written like WSBUS_LIMITS__QUEUE_BYTES\n"
              "WSBUS_LIMITS____X: is no option; they are written like "
              "WSBUS_LIMITS__QUEUE_BYTES\n"
              "WSBUS_QUEUE_MS: queue_ms: unknown option; did you mean "
              "\"WSBUS_LIMITS__QUEUE_MS\"?\n"
              "WSBUS_PORT: port: unknown option\n"
              "WSBUS_LOG__LEVEL: log.level: must be \"error\", \"warn\", \"info\" or \"debug\", "
              "not \"inf\"; did you mean \"info\"?\n"
              "WSBUS_LISTEN: listen: \"127.0.0.1:x\" has no port from 0 to 65535 behind the last "
              "colon\n");
}

static void test_sets(void **state)
{
    (void)state;
    fix_wrong("{" M "}",
              FIX_ARGS("--set", "limits.error=5", "--set", "workers", "--set", "a..b=1", "--set",
                       "limits.errors={", "--set", "channels.x=1", "--set", "limits=1", "--set",
                       "buses.m.history=x"),
              NULL,
              "--set workers: must be written path.to.option=value\n"
              "--set a..b: must be written path.to.option=value\n"
              "--set channels.x: channels: must be a list of rules, not an object\n"
              "--set limits: limits: must be an object, not text\n"
              "--set buses.m.history: buses.m.history: must be a whole number from 0 to 1000000, "
              "not \"x\"\n");
}

static void test_command_line(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"unknown flag \"--confg\"; did you mean \"--config\"?\n", "--confg"},
        {"unknown flag \"-x\"; see wsbus --help\n", "-x"},
        {"unknown flag \"--something\"; see wsbus --help\n", "--something"},
        {"unknown command \"chekc\"; did you mean \"check\"?\n", "chekc"},
        {"unknown command \"help\"; did you mean \"--help\"?\n", "help"},
        {"unknown command \"memory\"; did you mean the URL \"memory:\"?\n", "memory"},
        {"unknown command \"my.json\"; did you mean \"-c my.json\"?\n", "my.json"},
        {"unknown command \"\"; see wsbus --help\n", ""},
        {"-c needs a value behind it\n", "-c"},
        {"--set needs a value behind it\n", "check", "--set"},
        {"\"check\" and \"config\" are two commands; one is possible\n", "check", "config"},
        {"/nonexistent/f: cannot be read: No such file or directory\n", "-c", "/nonexistent/f"},
        {"/: cannot be read: Is a directory\n", "--config=/"},
        {"one configuration file is possible; -c is given twice\n", "-c=a", "-c=b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fix_wrong(NULL, cases[i] + 1, NULL, cases[i][0]);
}

static void test_urls(void **state)
{
    (void)state;
    fix_wrong(NULL, FIX_ARGS("kafka://u:secret@b:9092", "memry:"), NULL,
              "kafka://***@b:9092: \"kafka\" is not built into this wsbus, which has \"memory\", "
              "\"redis\"\n"
              "memry:: \"memry\" is not built into this wsbus, which has \"memory\", \"redis\"; "
              "did you mean \"memory:\"?\n");
    fix_wrong(NULL, FIX_ARGS("memory://host"), NULL,
              "memory://host: a bus of type \"memory\" has no address, and no such parameters; "
              "write \"memory:\"\n");
    fix_wrong(NULL, FIX_ARGS("redis://h?kind=steam"), NULL,
              "redis://h?kind=steam: channels.0.kind: must be \"pubsub\" or \"stream\", not "
              "\"steam\"; did you mean \"stream\"?\n");
    fix_wrong("{" M "}", FIX_ARGS("memory:"), NULL,
              "a configuration file and URLs exclude each other; write the buses into F\n");
}

/* What a file holds cannot forge a line. */
static void test_clean(void **state)
{
    (void)state;
    fix_wrong("{" M ",\"a\\nF:1:1: b\":1}", NULL, NULL, "F:1:34: a?F:1:1: b: unknown option\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten),          cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_unfit),        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_values),       cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_listen),       cmocka_unit_test(test_tls),
        cmocka_unit_test(test_buses),        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_environment),  cmocka_unit_test(test_sets),
        cmocka_unit_test(test_command_line), cmocka_unit_test(test_urls),
        cmocka_unit_test(test_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
