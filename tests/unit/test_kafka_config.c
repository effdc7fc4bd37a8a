/* Addresses and options of a Kafka bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus/kafka_config.h"
#include "bus/kafka_url.h"

static const char *text(const char *s)
{
    return s ? s : "-";
}

static void reads_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *brokers, *user, *password;
        bool tls;
    } cases[] = {
        {"kafka:", "localhost:9092", "-", "-", false},
        {"kafka://", "localhost:9092", "-", "-", false},
        {"kafkas://h", "h:9092", "-", "-", true},
        {"KAFKA://h:1/", "h:1", "-", "-", false},
        {"kafka://a,b:2,c", "a:9092,b:2,c:9092", "-", "-", false},
        {"kafka://[::1]:7,[2001:db8::1]", "[::1]:7,[2001:db8::1]:9092", "-", "-", false},
        {"kafka://u:p@h:1,i", "h:1,i:9092", "u", "p", false},
        {"kafkas://$ConnectionString:Endpoint=sb:x;y=@h", "h:9092", "$ConnectionString",
         "Endpoint=sb:x;y=", true},
        {"kafka://u%40:p%2F%3f@q@h", "h:9092", "u@", "p/?@q", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kafka_url u;
        char err[256] = "";
        if (kafka_url_parse(cases[i].url, &u, err, sizeof(err)) < 0)
            fail_msg("%s: %s", cases[i].url, err);
        assert_string_equal(u.brokers, cases[i].brokers);
        assert_string_equal(text(u.user), cases[i].user);
        assert_string_equal(text(u.password), cases[i].password);
        assert_int_equal(u.tls, cases[i].tls);
        kafka_url_free(&u);
    }
}

/* Without ever repeating what may be a password. */
static void refuses_other_urls(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "",
        "kafka",
        "h:9092",
        "redis://h",
        "kafkax://h",
        "kafka:h",
        "kafka:/h",
        "kafka://h,",
        "kafka://,h",
        "kafka://h:0",
        "kafka://h:65536",
        "kafka://h:",
        "kafka://h:1x",
        "kafka://h i",
        "kafka://h/topic",
        "kafka://h?x=1",
        "kafka://secret@h",
        "kafka://:secret@h",
        "kafka://secret:@h",
        "kafka://u:secret%@h",
        "kafka://u:secret%00@h",
        "kafka://u:secret/x@h/y",
        "kafka://u:secret",
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct kafka_url u;
        char err[256] = "";
        if (kafka_url_parse(urls[i], &u, err, sizeof(err)) == 0) fail_msg("%s is taken", urls[i]);
        assert_true(strlen(err) > 20);
        assert_null(strstr(err, "secret"));
        kafka_url_free(&u);
    }
}

/* ---- options -------------------------------------------------------------------------------- */

enum { URL, PROPERTIES, PUBLISH_TIMEOUT, REQUEST_TIMEOUT, REFRESH, QUEUE_BYTES, OPTIONS };

/* The defaults, with this URL (NULL: the default too) and these properties. */
static void set_values(struct wsbus_value *values, const char *url, const char *const *properties,
                       size_t count)
{
    for (int i = 0; i < OPTIONS; i++) {
        const struct wsbus_option *o = &kafka_options[i];
        values[i] = (struct wsbus_value){.string = o->fallback};
        if (o->type == WSBUS_INT) values[i].number = strtoll(o->fallback, NULL, 10);
    }
    if (url) values[URL].string = url;
    values[PROPERTIES].list = properties;
    values[PROPERTIES].count = count;
}

static void expect(const rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char found[512] = "";
    size_t size = sizeof(found);
    assert_int_equal(rd_kafka_conf_get(conf, name, found, &size), RD_KAFKA_CONF_OK);
    if (strcmp(found, value) != 0) fail_msg("%s is %s, not %s", name, found, value);
}

static void sets_what_exactness_rests_on(void **state)
{
    (void)state;
    struct wsbus_value values[OPTIONS];
    char err[256];
    set_values(values, NULL, NULL, 0);
    struct kafka_config *c = kafka_config_new(values, err, sizeof(err));
    assert_non_null(c);
    assert_string_equal(c->where, "localhost:9092");
    for (int role = KAFKA_QUERY; role <= KAFKA_READER; role++) {
        rd_kafka_conf_t *conf = kafka_config_conf(c, (enum kafka_role)role);
        expect(conf, "auto.offset.reset", "error");
        expect(conf, "enable.auto.commit", "false");
        expect(conf, "enable.auto.offset.store", "false");
        expect(conf, "enable.partition.eof", "true");
        expect(conf, "allow.auto.create.topics", "false");
        expect(conf, "isolation.level", "read_committed");
        expect(conf, "security.protocol", "plaintext");
        rd_kafka_conf_destroy(conf);
    }
    rd_kafka_conf_t *conf = kafka_config_conf(c, KAFKA_PRODUCER);
    expect(conf, "acks", "-1");
    expect(conf, "enable.idempotence", "true");
    expect(conf, "allow.auto.create.topics", "false");
    expect(conf, "partitioner", "murmur2_random");
    expect(conf, "message.timeout.ms", "70000");
    expect(conf, "queue.buffering.max.kbytes", "16384");
    rd_kafka_conf_destroy(conf);
    kafka_config_free(c);
}

static void a_user_means_sasl(void **state)
{
    (void)state;
    static const char *const scram[] = {"sasl.mechanism", "SCRAM-SHA-512", "fetch.wait.max.ms",
                                        "7"};
    struct wsbus_value values[OPTIONS];
    char err[256];
    set_values(values, "kafka://u:p@h", NULL, 0);
    struct kafka_config *c = kafka_config_new(values, err, sizeof(err));
    assert_non_null(c);
    assert_false(c->scram);
    expect(c->base, "security.protocol", "sasl_plaintext");
    expect(c->base, "sasl.mechanisms", "PLAIN");
    expect(c->base, "sasl.username", "u");
    expect(c->base, "sasl.password", "p");
    kafka_config_free(c);

    set_values(values, "kafkas://u:p@h", scram, 4);
    c = kafka_config_new(values, err, sizeof(err));
    assert_non_null(c);
    assert_true(c->scram);
    expect(c->base, "security.protocol", "sasl_ssl");
    expect(c->base, "sasl.mechanisms", "SCRAM-SHA-512");
    rd_kafka_conf_t *conf = kafka_config_conf(c, KAFKA_LIVE);
    expect(conf, "fetch.wait.max.ms", "7");
    rd_kafka_conf_destroy(conf);
    kafka_config_free(c);
}

/* What docs/kafka.md says of them. */
static void defaults_may_be_changed(void **state)
{
    (void)state;
    static const struct {
        enum kafka_role role;
        const char *name, *value;
    } cases[] = {
        {KAFKA_LIVE, "fetch.wait.max.ms", "25"},
        {KAFKA_READER, "fetch.wait.max.ms", "5"},
        {KAFKA_LIVE, "queued.max.messages.kbytes", "16384"},
        {KAFKA_READER, "queued.max.messages.kbytes", "4096"},
        {KAFKA_LIVE, "socket.nagle.disable", "true"},
        {KAFKA_PRODUCER, "socket.nagle.disable", "true"},
        {KAFKA_LIVE, "reconnect.backoff.max.ms", "2000"},
        {KAFKA_PRODUCER, "linger.ms", "0"},
        {KAFKA_PRODUCER, "message.max.bytes", "100000000"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool flag = strcmp(cases[i].value, "true") == 0;
        const char *const given[] = {cases[i].name, flag ? "false" : "1234"};
        for (size_t count = 0; count <= 2; count += 2) {
            struct wsbus_value values[OPTIONS];
            char err[256];
            set_values(values, NULL, given, count);
            struct kafka_config *c = kafka_config_new(values, err, sizeof(err));
            assert_non_null(c);
            rd_kafka_conf_t *conf = kafka_config_conf(c, cases[i].role);
            expect(conf, cases[i].name, count ? given[1] : cases[i].value);
            rd_kafka_conf_destroy(conf);
            kafka_config_free(c);
        }
    }
}

/* librdkafka from 2.4.0 to 2.9 must forget the topics that it knows, whatever is given. */
static void forgets_topics_where_it_must(void **state)
{
    (void)state;
    static const char *const given[] = {"metadata.max.age.ms", "180000"};
    bool fragile = rd_kafka_version() >= 0x02040000 && rd_kafka_version() < 0x020a0000;
    struct wsbus_value values[OPTIONS];
    char err[256];
    set_values(values, NULL, given, 2);
    struct kafka_config *c = kafka_config_new(values, err, sizeof(err));
    assert_non_null(c);
    for (int role = KAFKA_QUERY; role <= KAFKA_PRODUCER; role++) {
        rd_kafka_conf_t *conf = kafka_config_conf(c, (enum kafka_role)role);
        expect(conf, "metadata.max.age.ms", fragile ? "25" : "180000");
        rd_kafka_conf_destroy(conf);
    }
    kafka_config_free(c);
}

static void refuses_properties(void **state)
{
    (void)state;
    static const struct {
        const char *url, *name, *value, *words;
    } cases[] = {
        {NULL, "nonsense", "1", "librdkafka says"},
        {NULL, "fetch.wait.max.ms", "many", "librdkafka says"},
        {NULL, "acks", "1", "not yours"},
        {NULL, "Auto.Offset.Reset", "latest", "not yours"},
        {NULL, "bootstrap.servers", "h", "\"url\""},
        {NULL, "delivery.timeout.ms", "1", "\"publish_timeout\""},
        {"kafkas://h", "security.protocol", "plaintext", "TLS"},
        {"kafka://u:p@h", "sasl.password", "secret", "twice"},
        {"kafkas://h", "ssl.ca.location", "/nowhere/secret.pem", "librdkafka says"},
        {"kafka://h", "sasl.mechanisms", "SCRAM-SHA-512", "librdkafka says"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const properties[] = {cases[i].name, cases[i].value};
        struct wsbus_value values[OPTIONS];
        char err[512] = "";
        set_values(values, cases[i].url, properties, 2);
        if (kafka_config_check(values, err, sizeof(err)) == 0)
            fail_msg("%s=%s is taken", cases[i].name, cases[i].value);
        if (!strstr(err, cases[i].words)) fail_msg("%s: %s", cases[i].name, err);
        assert_null(strstr(err, "secret"));
    }
}

static void takes_the_defaults(void **state)
{
    (void)state;
    struct wsbus_value values[OPTIONS];
    char err[512] = "";
    set_values(values, NULL, NULL, 0);
    if (kafka_config_check(values, err, sizeof(err)) < 0) fail_msg("%s", err);
    assert_null(kafka_options[OPTIONS].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(refuses_other_urls),
        cmocka_unit_test(sets_what_exactness_rests_on),
        cmocka_unit_test(a_user_means_sasl),
        cmocka_unit_test(defaults_may_be_changed),
        cmocka_unit_test(forgets_topics_where_it_must),
        cmocka_unit_test(refuses_properties),
        cmocka_unit_test(takes_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
