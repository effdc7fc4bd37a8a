/* Kafka: topics are logs with partitions; nothing is kept on the brokers for us. */
#include <stdlib.h>

#include <wsbus/backend.h>

#include "base/mem.h"
#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_live.h"
#include "bus/kafka_meta.h"
#include "bus/kafka_past.h"
#include "bus/kafka_pos.h"
#include "bus/kafka_publish.h"
#include "bus/registry.h"

#define THREADS 6      /* that ask the brokers */
#define END_LOOK_MS 10 /* between two looks whether all handles are gone */
#define END_MS 500     /* of close()'s deadline, kept for the handles to end */
#define SCRAM_FIXED 0x02060100

struct kafka {
    const struct wsbus_host *host;
    struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_meta *meta;
    struct kafka_live *live;
    struct kafka_past *past;
    struct kafka_publish *publish;
    struct wsbus_timer *end;
    uint64_t end_due;
};

/* ---- operations --------------------------------------------------------------------------- */

static void kafka_subscribe(void *bus, uint64_t feed, const struct wsbus_topic *topic)
{
    struct kafka *b = bus;
    kafka_live_subscribe(b->live, feed, topic);
}

static void kafka_unsubscribe(void *bus, uint64_t feed)
{
    struct kafka *b = bus;
    kafka_live_unsubscribe(b->live, feed);
}

static void kafka_publish(void *bus, uint64_t token, const struct wsbus_publish *message)
{
    struct kafka *b = bus;
    kafka_publish_send(b->publish, token, message);
}

static void kafka_locate(void *bus, uint64_t token, const struct wsbus_locate *l)
{
    struct kafka *b = bus;
    kafka_past_locate(b->past, token, l);
}

static void kafka_read(void *bus, uint64_t token, const struct wsbus_read *r)
{
    struct kafka *b = bus;
    kafka_past_read(b->past, token, r);
}

static void kafka_stats(void *bus, void (*fn)(void *arg, const char *name, int64_t value),
                        void *arg)
{
    const struct kafka *b = bus;
    struct kafka_live_figures live = kafka_live_figures(b->live);
    struct kafka_past_figures past = kafka_past_figures(b->past);
    fn(arg, "kafka_feeds", (int64_t)live.feeds);
    fn(arg, "kafka_topics", (int64_t)live.topics);
    fn(arg, "kafka_partitions", (int64_t)live.partitions);
    fn(arg, "kafka_questions", (int64_t)kafka_meta_open(b->meta));
    fn(arg, "kafka_publishes_pending", (int64_t)kafka_publish_pending(b->publish));
    fn(arg, "kafka_reads", (int64_t)past.requests);
    fn(arg, "kafka_reads_waiting", (int64_t)past.waiting);
    fn(arg, "kafka_readers", (int64_t)past.readers);
}

/* ---- open and close ------------------------------------------------------------------------ */

static void release(struct kafka *b)
{
    if (b->end) b->host->timer_free(b->end);
    kafka_live_free(b->live);
    kafka_past_free(b->past);
    kafka_publish_free(b->publish);
    kafka_crew_free(b->crew);
    kafka_config_free(b->config);
    free(b);
}

/* When all helpers are done, or when there is no time left to wait for them: what blocks in librdkafka
 * then ends by itself, or with the process. */
static void on_end(void *arg)
{
    struct kafka *b = arg;
    const struct wsbus_host *host = b->host;
    size_t busy = kafka_crew_busy(b->crew);
    if (busy > 0 && host->ticks(host) < b->end_due) {
        host->timer_set(b->end, END_LOOK_MS);
        return;
    }
    if (busy > 0)
        host->log(host, WSBUS_LOG_WARN,
                  "%zu calls of librdkafka did not return in time and are left behind", busy);
    kafka_crew_stop(b->crew);
    release(b);
    host->closed(host);
}

static void on_drained(void *arg)
{
    struct kafka *b = arg;
    kafka_meta_free(b->meta);
    b->meta = NULL;
    b->host->timer_set(b->end, 0);
}

static void kafka_close(void *bus, uint64_t deadline_ms)
{
    struct kafka *b = bus;
    uint64_t keep = deadline_ms / 4 < END_MS ? deadline_ms / 4 : END_MS;
    b->end_due = b->host->ticks(b->host) + deadline_ms;
    kafka_live_stop(b->live);
    kafka_past_stop(b->past);
    kafka_publish_drain(b->publish, deadline_ms - keep, on_drained, b);
}

static int open_parts(struct kafka *b, char *err, size_t err_size)
{
    b->crew = kafka_crew_new(b->host, THREADS);
    if (!b->crew) return -1;
    b->meta = kafka_meta_new(b->host, b->config, b->crew, err, err_size);
    if (!b->meta) return -1;
    const struct kafka_live_spec live = {b->host, b->config, b->crew, b->meta};
    b->live = kafka_live_new(&live, err, err_size);
    if (!b->live) return -1;
    b->past = kafka_past_new(b->host, b->config, b->crew, b->meta);
    b->publish = kafka_publish_new(b->host, b->config, b->crew, b->meta);
    return 0;
}

static void *kafka_open(const struct wsbus_host *host, const struct wsbus_value *values, char *err,
                        size_t err_size)
{
    struct kafka *b = mem_zero(sizeof(*b));
    b->host = host;
    b->config = kafka_config_new(values, err, err_size);
    if (!b->config) {
        free(b);
        return NULL;
    }
    b->end = host->timer(host, on_end, b);
    if (open_parts(b, err, err_size) < 0) {
        kafka_meta_free(b->meta);
        if (b->crew) kafka_crew_stop(b->crew);
        release(b);
        return NULL;
    }
    if (b->config->scram && rd_kafka_version() < SCRAM_FIXED)
        host->log(
            host, WSBUS_LOG_WARN,
            "SCRAM of librdkafka %s is refused by Kafka 4; it takes librdkafka 2.6.1 or Kafka 3",
            rd_kafka_version_str());
    return b;
}

/* ---- the backend --------------------------------------------------------------------------- */

static unsigned kafka_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_TIME | WSBUS_CAP_KEY | WSBUS_CAP_HEADERS |
           WSBUS_CAP_TOMBSTONE | WSBUS_CAP_PARTITION | WSBUS_CAP_ACK;
}

const struct wsbus_backend backend_kafka = {
    .name = "kafka",
    .help = "Topics of an Apache Kafka cluster.",
    .options = kafka_options,
    .caps = kafka_caps,
    .pos_parse = kafka_pos_parse,
    .pos_format = kafka_pos_format,
    .check = kafka_config_check,
    .open = kafka_open,
    .subscribe = kafka_subscribe,
    .unsubscribe = kafka_unsubscribe,
    .publish = kafka_publish,
    .locate = kafka_locate,
    .read = kafka_read,
    .stats = kafka_stats,
    .close = kafka_close,
};
