#include "bus/kafka_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "bus/kafka_url.h"

/* Beyond publish_timeout, when kafka_publish.c gives up by itself. */
#define NEVER_MS 60000

enum option {
    URL,
    PROPERTIES,
    PUBLISH_TIMEOUT,
    REQUEST_TIMEOUT,
    REFRESH,
    QUEUE_BYTES,
};

const struct wsbus_option kafka_options[] = {
    [URL] = {.name = "url",
             .type = WSBUS_STRING,
             .fallback = "kafka://localhost:9092",
             .help =
                 "Brokers: kafka://user:password@host:port,host:port, kafkas:// for TLS; a user "
                 "means SASL."},
    [PROPERTIES] = {.name = "properties",
                    .type = WSBUS_MAP,
                    .help = "Properties of librdkafka, for instance ssl.ca.location or "
                            "sasl.mechanisms."},
    [PUBLISH_TIMEOUT] = {.name = "publish_timeout",
                         .type = WSBUS_INT,
                         .fallback = "10000",
                         .min = 100,
                         .max = 600000,
                         .help = "Milliseconds that a message may wait for the brokers' answer, "
                                 "also while they are down."},
    [REQUEST_TIMEOUT] = {.name = "request_timeout",
                         .type = WSBUS_INT,
                         .fallback = "5000",
                         .min = 100,
                         .max = 600000,
                         .help = "Milliseconds that the brokers may take to answer what they are "
                                 "asked about a topic."},
    [REFRESH] = {.name = "refresh",
                 .type = WSBUS_INT,
                 .fallback = "15000",
                 .min = 100,
                 .max = 3600000,
                 .help = "Milliseconds between two looks whether followed topics have new "
                         "partitions, or were deleted."},
    [QUEUE_BYTES] = {.name = "queue_bytes",
                     .type = WSBUS_INT,
                     .fallback = "16777216",
                     .min = 1 << 20,
                     .max = INT64_C(1) << 31,
                     .help = "Bytes of published messages that wait or are not answered yet, at "
                             "most."},
    {.name = NULL},
};

/* What may not be given, and why. */
static const struct refused {
    const char *property, *reason;
} refused[] = {
    {"bootstrap.servers", "the brokers are given by \"url\""},
    {"metadata.broker.list", "the brokers are given by \"url\""},
    {"enable.auto.commit", "nothing is committed: clients hold their places"},
    {"auto.commit.enable", "nothing is committed: clients hold their places"},
    {"enable.auto.offset.store", "nothing is committed: clients hold their places"},
    {"auto.offset.reset", "places are always given, and a lost one is told to clients"},
    {"enable.partition.eof", "it has to be on"},
    {"allow.auto.create.topics", "topics are not created by asking for them"},
    {"acks", "a publish is answered when all replicas in sync have the message"},
    {"request.required.acks", "a publish is answered when all replicas in sync have the message"},
    {"message.timeout.ms", "use \"publish_timeout\""},
    {"delivery.timeout.ms", "use \"publish_timeout\""},
    {"queue.buffering.max.kbytes", "use \"queue_bytes\""},
    {"transactional.id", "messages are published one by one"},
    {"group.instance.id", "there is no consumer group"},
    {"statistics.interval.ms", "nothing here takes these statistics"},
    {"log.queue", "it has to be on"},
    {"plugin.library.paths", "code is not loaded"},
};

struct setting {
    const char *name, *value;
};

static const struct setting for_all[] = {
    {"log.queue", "true"},
    {"client.id", "wsbus"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"log.connection.close", "true"}, /* to be told; see kafka_handle.h */
    {"enable.metrics.push", "false"},
    {"reconnect.backoff.ms", "100"},
    {"reconnect.backoff.max.ms", "2000"},
    {"allow.auto.create.topics", "false"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {"topic.metadata.refresh.fast.interval.ms", "50"},
};
/* librdkafka from 2.4.0 to 2.9 breaks its cache of metadata, and with it the process, when a topic that
 * is in there comes back with another id: it was deleted and created anew (its issue 4964, mended in
 * 2.10.0). What has left the cache before the next answer comes does no harm; half of the shortest
 * interval between two answers that the same handle asks for by itself is short enough, and long
 * enough for what librdkafka does with an answer. */
static const struct setting for_fragile = {"metadata.max.age.ms", "25"};
#define FRAGILE_FROM 0x02040000
#define FRAGILE_TO 0x020a0000
static const struct setting for_consumers[] = {
    {"group.id", "wsbus"}, /* asked for by librdkafka; no group is joined */
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
    {"fetch.error.backoff.ms", "50"},
    {"fetch.queue.backoff.ms", "20"},
};
static const struct setting for_live[] = {
    {"fetch.wait.max.ms", "25"},
    {"queued.max.messages.kbytes", "16384"},
};
/* A reader waits for nothing but to be told that a log ends; while it does, its next place waits. */
static const struct setting for_readers[] = {
    {"fetch.wait.max.ms", "5"},
    {"fetch.max.bytes", "1048576"},
    {"queued.max.messages.kbytes", "4096"},
    {"fetch.message.max.bytes", "262144"},
    {"log.connection.close", "false"},
};
static const struct setting for_producers[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"linger.ms", "0"},
    {"message.max.bytes", "100000000"}, /* the broker decides */
    {"partitioner", "murmur2_random"},
    {"queue.buffering.max.messages", "100000"},
    {"topic.metadata.propagation.max.ms", "5000"}, /* of a topic that was there and is gone */
};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* ---- properties ----------------------------------------------------------------------------- */

static bool was_given(const struct kafka_config *c, const char *name)
{
    for (size_t i = 0; i + 1 < c->given_count; i += 2)
        if (strcasecmp(c->given[i], name) == 0) return true;
    return false;
}

/* What an older librdkafka does not know is left out. */
static void apply(const struct kafka_config *c, rd_kafka_conf_t *conf, const struct setting *rows,
                  size_t count)
{
    char err[256];
    for (size_t i = 0; i < count; i++)
        if (!was_given(c, rows[i].name))
            rd_kafka_conf_set(conf, rows[i].name, rows[i].value, err, sizeof(err));
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, char *err,
               size_t err_size)
{
    char words[384];
    if (rd_kafka_conf_set(conf, name, value, words, sizeof(words)) == RD_KAFKA_CONF_OK) return 0;
    snprintf(err, err_size, "\"properties\": librdkafka says: %s", words);
    return -1;
}

static int take_properties(struct kafka_config *c, char *err, size_t err_size)
{
    for (size_t i = 0; i + 1 < c->given_count; i += 2) {
        for (size_t k = 0; k < COUNT(refused); k++) {
            if (strcasecmp(c->given[i], refused[k].property) != 0) continue;
            snprintf(err, err_size, "\"properties\": \"%s\" is not yours to set: %s", c->given[i],
                     refused[k].reason);
            return -1;
        }
        if (set(c->base, c->given[i], c->given[i + 1], err, err_size) < 0) return -1;
    }
    return 0;
}

static const char *given_value(const struct kafka_config *c, const char *name)
{
    for (size_t i = 0; i + 1 < c->given_count; i += 2)
        if (strcasecmp(c->given[i], name) == 0) return c->given[i + 1];
    return NULL;
}

static int take_security(struct kafka_config *c, const struct kafka_url *url, char *err,
                         size_t err_size)
{
    static const char *const names[2][2] = {{"plaintext", "ssl"}, {"sasl_plaintext", "sasl_ssl"}};
    const char *mechanism = given_value(c, "sasl.mechanisms");
    if (!mechanism) mechanism = given_value(c, "sasl.mechanism");
    const char *protocol = given_value(c, "security.protocol");
    bool sasl = url->user || mechanism || was_given(c, "sasl.username");
    if (protocol && url->tls && !strcasestr(protocol, "ssl")) {
        snprintf(err, err_size, "the URL asks for TLS, and \"security.protocol\" for none");
        return -1;
    }
    if (url->user && (was_given(c, "sasl.username") || was_given(c, "sasl.password"))) {
        snprintf(err, err_size, "the user is given twice, in the URL and in \"properties\"");
        return -1;
    }
    if (!protocol && set(c->base, "security.protocol", names[sasl][url->tls], err, err_size) < 0)
        return -1;
    if (url->user && (set(c->base, "sasl.username", url->user, err, err_size) < 0 ||
                      set(c->base, "sasl.password", url->password, err, err_size) < 0))
        return -1;
    if (sasl && !mechanism && set(c->base, "sasl.mechanisms", "PLAIN", err, err_size) < 0)
        return -1;
    c->scram = mechanism && strcasestr(mechanism, "SCRAM") != NULL;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct kafka_config *kafka_config_new(const struct wsbus_value *values, char *err, size_t err_size)
{
    struct kafka_url url;
    struct kafka_config *c = mem_zero(sizeof(*c));
    c->base = rd_kafka_conf_new();
    c->given = values[PROPERTIES].list;
    c->given_count = values[PROPERTIES].count;
    c->publish_timeout = (uint64_t)values[PUBLISH_TIMEOUT].number;
    c->request_timeout = (uint64_t)values[REQUEST_TIMEOUT].number;
    c->refresh = (uint64_t)values[REFRESH].number;
    c->queue_bytes = (size_t)values[QUEUE_BYTES].number;
    int rc = kafka_url_parse(values[URL].string, &url, err, err_size);
    if (rc == 0) rc = take_properties(c, err, err_size);
    if (rc == 0) rc = take_security(c, &url, err, err_size);
    if (rc == 0) rc = set(c->base, "bootstrap.servers", url.brokers, err, err_size);
    if (rc == 0) {
        c->where = url.brokers;
        url.brokers = NULL;
    }
    kafka_url_free(&url);
    if (rc == 0) return c;
    kafka_config_free(c);
    return NULL;
}

void kafka_config_free(struct kafka_config *c)
{
    if (!c) return;
    rd_kafka_conf_destroy(c->base);
    free(c->where);
    free(c);
}

static void for_producer(const struct kafka_config *c, rd_kafka_conf_t *conf)
{
    char text[32], err[256];
    const char *idempotence = given_value(c, "enable.idempotence");
    apply(c, conf, for_producers, COUNT(for_producers));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)c->publish_timeout + NEVER_MS);
    rd_kafka_conf_set(conf, "message.timeout.ms", text, err, sizeof(err));
    snprintf(text, sizeof(text), "%zu", c->queue_bytes >> 10);
    rd_kafka_conf_set(conf, "queue.buffering.max.kbytes", text, err, sizeof(err));
    /* Without it, only one request at a time keeps the order when one is repeated. */
    if (idempotence && strcasecmp(idempotence, "true") != 0)
        rd_kafka_conf_set(conf, "max.in.flight.requests.per.connection", "1", err, sizeof(err));
}

rd_kafka_conf_t *kafka_config_conf(const struct kafka_config *c, enum kafka_role role)
{
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(c->base);
    apply(c, conf, for_all, COUNT(for_all));
    if (role == KAFKA_PRODUCER)
        for_producer(c, conf);
    else
        apply(c, conf, for_consumers, COUNT(for_consumers));
    if (role == KAFKA_LIVE) apply(c, conf, for_live, COUNT(for_live));
    if (role == KAFKA_READER) apply(c, conf, for_readers, COUNT(for_readers));
    /* Whatever was given. */
    if (rd_kafka_version() >= FRAGILE_FROM && rd_kafka_version() < FRAGILE_TO)
        rd_kafka_conf_set(conf, for_fragile.name, for_fragile.value, err, sizeof(err));
    return conf;
}

/* ---- check ---------------------------------------------------------------------------------- */

static void say_nothing(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

/* What librdkafka finds only when a handle is made: files that cannot be read, properties that do not
 * go together. Without brokers nothing is connected. */
static int try_handle(const struct kafka_config *c, enum kafka_role role, char *err,
                      size_t err_size)
{
    char words[384];
    rd_kafka_conf_t *conf = kafka_config_conf(c, role);
    rd_kafka_conf_set(conf, "bootstrap.servers", "", words, sizeof(words));
    rd_kafka_conf_set(conf, "log.queue", "false", words, sizeof(words));
    rd_kafka_conf_set_log_cb(conf, say_nothing);
    rd_kafka_t *rk = rd_kafka_new(role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER,
                                  conf, words, sizeof(words));
    if (rk) {
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return 0;
    }
    rd_kafka_conf_destroy(conf);
    snprintf(err, err_size, "librdkafka says: %s", words);
    return -1;
}

int kafka_config_check(const struct wsbus_value *values, char *err, size_t err_size)
{
    struct kafka_config *c = kafka_config_new(values, err, err_size);
    int rc = c ? try_handle(c, KAFKA_LIVE, err, err_size) : -1;
    if (rc == 0) rc = try_handle(c, KAFKA_PRODUCER, err, err_size);
    kafka_config_free(c);
    return rc;
}
