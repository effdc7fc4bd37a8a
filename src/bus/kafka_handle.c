#include "bus/kafka_handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/map.h"
#include "base/span.h"

#define PORTION 256 /* events between two looks at the rest of the loop */
#define QUIET_MS 60000

/* Shared with helper threads; librdkafka's opaque. */
struct kafka_hold {
    pthread_mutex_t lock;
    pthread_cond_t dropped;
    unsigned refs;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int wake;                    /* eventfd, written by librdkafka's threads until the end */
    struct kafka_handle *handle; /* NULL: nobody listens any more; bus thread */
    pthread_t thread;            /* of the bus */
};

struct kafka_handle {
    struct kafka_handle_spec spec;
    struct kafka_hold *hold;
    struct wsbus_watch *watch;
    bool consumer, inside, stopped, freed;
    uint64_t quiet_hash, quiet_until; /* the last line of the log, not said again so soon */
};

/* ---- the end: on a thread of its own ------------------------------------------------------- */

struct destruction {
    struct crew_job job;
    struct kafka_hold *hold;
};

static void hold_free(struct kafka_hold *hold)
{
    if (hold->queue) rd_kafka_queue_destroy(hold->queue);
    if (hold->rk) rd_kafka_destroy_flags(hold->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (hold->wake >= 0) close(hold->wake);
    pthread_cond_destroy(&hold->dropped);
    pthread_mutex_destroy(&hold->lock);
    free(hold);
}

static void destroy_work(struct crew_job *j)
{
    struct destruction *d = CONTAINER_OF(j, struct destruction, job);
    pthread_mutex_lock(&d->hold->lock);
    while (d->hold->refs > 1)
        pthread_cond_wait(&d->hold->dropped, &d->hold->lock);
    pthread_mutex_unlock(&d->hold->lock);
    hold_free(d->hold);
}

static void destroy_done(struct crew_job *j)
{
    free(CONTAINER_OF(j, struct destruction, job));
}

static void destroy(struct kafka_crew *crew, struct kafka_hold *hold)
{
    struct destruction *d = mem_zero(sizeof(*d));
    d->job.work = destroy_work;
    d->job.done = d->job.left = destroy_done;
    d->hold = hold;
    kafka_crew_run_alone(crew, &d->job);
}

/* ---- what librdkafka says ------------------------------------------------------------------ */

/* The handle, if it is asked for on the bus thread and still there. */
static struct kafka_handle *listener(void *opaque)
{
    struct kafka_hold *hold = opaque;
    return hold && pthread_equal(pthread_self(), hold->thread) ? hold->handle : NULL;
}

/* Trouble with connections, and what is tried again because of it, is told by kafka_meta.h. That a
 * topic is known no more is what kafka_config.c asks of some versions. */
static bool about_connections(const char *facility)
{
    static const char *const names[] = {"FAIL",     "ERROR",  "CONFWARN",
                                        "REQTMOUT", "GETPID", "METADATAUPDATE"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(facility, names[i]) == 0) return true;
    return false;
}

/* Every handle connects in the same way, and one of them is always there: it speaks for all. */
static bool said_by_another(const struct kafka_handle *h, const char *facility)
{
    return strcmp(facility, "SSL") == 0 && h->spec.role != KAFKA_QUERY;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct kafka_handle *h = rk ? listener(rd_kafka_opaque(rk)) : NULL;
    if (!h) return;
    bool aside = level > LOG_WARNING || about_connections(facility) || said_by_another(h, facility);
    enum wsbus_log_level as = aside ? WSBUS_LOG_DEBUG : WSBUS_LOG_WARN;
    if (as != WSBUS_LOG_DEBUG) {
        uint64_t hash = hash_span(span_str(text)), now = h->spec.host->ticks(h->spec.host);
        if (hash == h->quiet_hash && now < h->quiet_until) return;
        h->quiet_hash = hash;
        h->quiet_until = now + QUIET_MS;
    }
    h->spec.host->log(h->spec.host, as, "librdkafka: %s: %s", facility, text);
}

static void on_error(rd_kafka_t *rk, int code, const char *words, void *opaque)
{
    struct kafka_handle *h = listener(opaque);
    char fatal[512];
    if (!h || !h->spec.ops->error) return;
    if (code == RD_KAFKA_RESP_ERR__FATAL &&
        rd_kafka_fatal_error(rk, fatal, sizeof(fatal)) != RD_KAFKA_RESP_ERR_NO_ERROR)
        words = fatal;
    h->spec.ops->error(h->spec.owner, (rd_kafka_resp_err_t)code, words);
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_handle *h = listener(opaque);
    (void)rk;
    if (h && h->spec.ops->message) h->spec.ops->message(h->spec.owner, m);
}

/* ---- the flow ------------------------------------------------------------------------------ */

static void wake(struct kafka_handle *h)
{
    static const uint64_t one = 1;
    ssize_t n = write(h->hold->wake, &one, sizeof(one));
    (void)n; /* fails only if it is readable already */
}

/* One event; false: there is none. A report of a producer comes by on_report(). */
static bool take(struct kafka_handle *h)
{
    if (!h->consumer) return rd_kafka_poll(h->hold->rk, 0) > 0;
    rd_kafka_message_t *m = rd_kafka_consumer_poll(h->hold->rk, 0);
    if (!m) return false;
    if (!h->freed && m->rkt && !h->spec.ops->message(h->spec.owner, m)) h->stopped = true;
    rd_kafka_message_destroy(m);
    return true;
}

static void release(struct kafka_handle *h)
{
    destroy(h->spec.crew, h->hold);
    free(h);
}

static void on_wake(void *arg, unsigned events)
{
    struct kafka_handle *h = arg;
    uint64_t count;
    unsigned taken = 0;
    (void)events;
    ssize_t n = read(h->hold->wake, &count, sizeof(count));
    if (n < 0) return;
    h->inside = true;
    while (taken < PORTION && !h->freed && !h->stopped && take(h))
        taken++;
    h->inside = false;
    if (h->freed)
        release(h);
    else if (taken == PORTION)
        wake(h);
}

void kafka_handle_pause(struct kafka_handle *h)
{
    h->stopped = true;
}

void kafka_handle_resume(struct kafka_handle *h)
{
    h->stopped = false;
    wake(h);
}

/* ---- life ---------------------------------------------------------------------------------- */

static struct kafka_hold *hold_new(void)
{
    struct kafka_hold *hold = mem_zero(sizeof(*hold));
    pthread_mutex_init(&hold->lock, NULL);
    pthread_cond_init(&hold->dropped, NULL);
    hold->refs = 1;
    hold->thread = pthread_self();
    hold->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return hold;
}

/* 0, or -1 with words. */
static int start(struct kafka_hold *hold, rd_kafka_conf_t *conf, bool consumer, char *err,
                 size_t err_size)
{
    static const uint64_t one = 1;
    rd_kafka_conf_set_opaque(conf, hold);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (!consumer) rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    hold->rk = rd_kafka_new(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, err, err_size);
    if (!hold->rk) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    if (consumer) rd_kafka_poll_set_consumer(hold->rk);
    rd_kafka_set_log_queue(hold->rk, NULL);
    hold->queue =
        consumer ? rd_kafka_queue_get_consumer(hold->rk) : rd_kafka_queue_get_main(hold->rk);
    rd_kafka_queue_io_event_enable(hold->queue, hold->wake, &one, sizeof(one));
    return 0;
}

struct kafka_handle *kafka_handle_new(const struct kafka_handle_spec *spec, char *err,
                                      size_t err_size)
{
    struct kafka_hold *hold = hold_new();
    bool consumer = spec->role != KAFKA_PRODUCER;
    if (hold->wake < 0) {
        snprintf(err, err_size, "no descriptor for a connection to Kafka can be had");
        hold_free(hold);
        return NULL;
    }
    if (start(hold, kafka_config_conf(spec->config, spec->role), consumer, err, err_size) < 0) {
        hold_free(hold);
        return NULL;
    }
    struct kafka_handle *h = mem_zero(sizeof(*h));
    *h = (struct kafka_handle){.spec = *spec, .hold = hold, .consumer = consumer};
    hold->handle = h;
    h->watch = spec->host->watch(spec->host, hold->wake, WSBUS_READABLE, on_wake, h);
    if (h->watch) {
        wake(h);
        return h;
    }
    snprintf(err, err_size, "a connection to Kafka cannot be watched");
    hold->handle = NULL;
    release(h);
    return NULL;
}

void kafka_handle_free(struct kafka_handle *h)
{
    if (!h || h->freed) return;
    h->freed = true;
    h->hold->handle = NULL;
    h->spec.host->unwatch(h->watch);
    if (!h->inside) release(h);
}

rd_kafka_t *kafka_handle_rk(struct kafka_handle *h)
{
    return h->hold->rk;
}

struct kafka_hold *kafka_handle_hold(struct kafka_handle *h)
{
    pthread_mutex_lock(&h->hold->lock);
    h->hold->refs++;
    pthread_mutex_unlock(&h->hold->lock);
    return h->hold;
}

rd_kafka_t *kafka_hold_rk(struct kafka_hold *hold)
{
    return hold->rk;
}

void kafka_hold_drop(struct kafka_hold *hold)
{
    pthread_mutex_lock(&hold->lock);
    hold->refs--;
    pthread_cond_signal(&hold->dropped);
    pthread_mutex_unlock(&hold->lock);
}

/* librdkafka's main thread takes questions and its own steps in turn: the first question is answered
 * behind the stops that the last change asked for, the second behind what these stops left to do. */
void kafka_hold_settle(struct kafka_hold *hold)
{
    for (int i = 0; i < 2; i++) {
        rd_kafka_topic_partition_list_t *list = NULL;
        if (rd_kafka_assignment(hold->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR)
            rd_kafka_topic_partition_list_destroy(list);
    }
}
