#include "bus/kafka_meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/map.h"
#include "base/mem.h"
#include "bus/kafka_handle.h"
#include "bus/kafka_message.h"

#define RUNNING_MAX 3 /* look-ups at a time */
#define PROBE_MS 5000 /* without any answer, until a broker is asked for a sign of life */
#define PROBE_DOWN_MS 250
#define PROBE_TIMEOUT_MS 2000
/* Probes in a row that must fail, unless all brokers are known to be down: librdkafka gives one that
 * says nothing up within a second after the first of them, and then asks another. */
#define DOUBTS 3
#define LOST_MAX 16    /* brokers that are remembered to be lost */
#define QUIET_MS 60000 /* librdkafka repeats a complaint after half of it */
#define PAUSE_MS 50    /* before what a leader change spoiled is asked again */

struct lost_broker {
    uint64_t name; /* hash */
    uint64_t heard;
};

struct kafka_meta {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_handle *handle;
    struct list waiting, running; /* look-ups */
    size_t running_count, open;
    struct wsbus_timer *tick;
    bool up, told, probing;
    bool all_down;     /* says librdkafka */
    unsigned silent;   /* probes without an answer, since there was one */
    char *probe_topic; /* one that was asked for */
    char trouble[512]; /* what librdkafka said last about a broker, and no probe answered since */
    struct lost_broker lost[LOST_MAX];
};

/* One question to the brokers, for all calls that are alike. Its thread has it to itself while it is
 * on `running`, except `calls` and `meta`. */
struct look {
    struct crew_job job;
    struct list node;
    struct kafka_meta *meta;
    struct list calls;
    bool probe, begun;
    /* The question. */
    struct kafka_hold *hold;
    char *topic;
    enum kafka_want want;
    int64_t time;
    uint64_t timeout;
    /* The answer. */
    rd_kafka_resp_err_t err;
    int32_t count;
    struct kafka_extent *extent;
};

static void look_free(struct look *l)
{
    free(l->extent);
    free(l->topic);
    free(l);
}

/* ---- on a helper thread -------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* At least 1: librdkafka takes 0 for "at once" and less for "for ever". */
static int left_ms(uint64_t due)
{
    uint64_t now = now_ms();
    return now + 1 < due ? (int)(due - now) : 1;
}

static rd_kafka_resp_err_t ask_partitions(struct look *l, rd_kafka_t *rk, uint64_t due)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, l->topic, NULL);
    if (!topic) return rd_kafka_last_error();
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &md, left_ms(due));
    rd_kafka_topic_destroy(topic);
    if (err) return err;
    l->count = 0;
    err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (md->topic_cnt == 1) {
        err = md->topics[0].err;
        l->count = md->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(md);
    if (!err && l->count < 1) err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    if (!err && l->count > WSBUS_PARTITIONS_MAX) err = RD_KAFKA_RESP_ERR_INVALID_PARTITIONS;
    return err;
}

/* One of the three numbers for all partitions: by time, or for the special times of the protocol. */
static rd_kafka_resp_err_t ask_offsets(struct look *l, rd_kafka_t *rk, int64_t when, size_t member,
                                       uint64_t due)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(l->count);
    for (int32_t i = 0; i < l->count; i++)
        rd_kafka_topic_partition_list_add(list, l->topic, i)->offset = when;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, left_ms(due));
    for (int i = 0; i < list->cnt && !err; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        int64_t *to = (int64_t *)(void *)((char *)&l->extent[p->partition] + member);
        *to = p->offset;
        err = p->err;
        /* By time, none is END; otherwise a number that stayed as it was had no leader to ask. */
        if (!err && p->offset < 0 && !(when >= 0 && p->offset == RD_KAFKA_OFFSET_END))
            err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    }
    rd_kafka_topic_partition_list_destroy(list);
    /* It has just been listed: librdkafka means that nobody leads it. */
    return err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                                                       : err;
}

static rd_kafka_resp_err_t ask(struct look *l, rd_kafka_t *rk, uint64_t due)
{
    rd_kafka_resp_err_t err = ask_partitions(l, rk, due);
    if (err || l->want == KAFKA_WANT_PARTITIONS) return err;
    free(l->extent);
    l->extent = mem_zero((size_t)l->count * sizeof(*l->extent));
    err = ask_offsets(l, rk, RD_KAFKA_OFFSET_BEGINNING, offsetof(struct kafka_extent, first), due);
    if (!err)
        err = ask_offsets(l, rk, RD_KAFKA_OFFSET_END, offsetof(struct kafka_extent, end), due);
    /* Where there is none of that time it is the end: one from before, so that what is written
     * between the two answers lies behind it. */
    if (!err && l->want == KAFKA_WANT_TIME)
        err = ask_offsets(l, rk, l->time < 0 ? 0 : l->time, offsetof(struct kafka_extent, at), due);
    for (int32_t i = 0; i < l->count && !err; i++) {
        struct kafka_extent *e = &l->extent[i];
        if (e->end < e->first) e->end = e->first;
        if (e->at < 0 || e->at > e->end) e->at = e->end;
        if (e->at < e->first) e->at = e->first;
    }
    return err;
}

static void look_work(struct crew_job *j)
{
    struct look *l = CONTAINER_OF(j, struct look, job);
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    uint64_t due = now_ms() + l->timeout;
    rd_kafka_t *rk = kafka_hold_rk(l->hold);
    for (;;) {
        l->err = ask(l, rk, due);
        if (!kafka_passes(l->err) || l->probe || now_ms() + PAUSE_MS >= due) break;
        nanosleep(&pause, NULL);
    }
    kafka_hold_drop(l->hold);
    l->hold = NULL;
}

static void look_left(struct crew_job *j)
{
    struct look *l = CONTAINER_OF(j, struct look, job);
    if (l->hold) kafka_hold_drop(l->hold);
    look_free(l);
}

/* ---- is the bus up? ------------------------------------------------------------------------ */

/* Brokers are told apart by host and port, whatever stands around them. */
static uint64_t broker_name(const char *words)
{
    const char *scheme = strstr(words, "://");
    const char *name = scheme ? scheme + 3 : words;
    size_t n = strcspn(name, "/ ");
    if (n > 0 && name[n - 1] == ':') n--;
    return hash_span(span_of(name, n));
}

/* Others answer. What is known of the broker that was silent for longest gives way. */
static void tell_lost(struct kafka_meta *m)
{
    uint64_t name = broker_name(m->trouble), now = m->host->ticks(m->host);
    struct lost_broker *b = &m->lost[0];
    for (size_t i = 0; i < LOST_MAX && b->name != name; i++)
        if (m->lost[i].name == name || m->lost[i].heard < b->heard) b = &m->lost[i];
    if (b->name != name || now >= b->heard + QUIET_MS)
        m->host->log(m->host, WSBUS_LOG_WARN, "a broker is lost, the bus is not: %s", m->trouble);
    *b = (struct lost_broker){.name = name, .heard = now};
}

static void set_up(struct kafka_meta *m, bool up, const char *words)
{
    if (m->told && m->up == up) return;
    /* A bus that was never up is not told to be down by whoever hears of the state. */
    if (!up && !m->told)
        m->host->log(m->host, WSBUS_LOG_WARN, "no broker can be reached: %s", words);
    m->told = true;
    m->up = up;
    m->host->state(m->host, up, words);
}

static void silence(struct kafka_meta *m)
{
    char words[256];
    snprintf(words, sizeof(words), "no answer from %s", m->config->where);
    set_up(m, false, m->trouble[0] ? m->trouble : words);
}

static void heard(struct kafka_meta *m, rd_kafka_resp_err_t err, bool probe)
{
    if (!kafka_passes(err)) {
        if (probe && m->up && m->trouble[0]) tell_lost(m);
        if (probe || !m->up) m->trouble[0] = '\0';
        m->all_down = false;
        m->silent = 0;
        set_up(m, true, m->config->where);
        m->host->timer_set(m->tick, m->trouble[0] ? 0 : PROBE_MS);
        return;
    }
    if (err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) return;
    m->host->timer_set(m->tick, m->up ? 0 : PROBE_DOWN_MS);
}

void kafka_meta_trouble(struct kafka_meta *m, rd_kafka_resp_err_t err, const char *words)
{
    static const char alias[] =
        "GroupCoordinator: "; /* which is not used, and named all the same */
    if (strncmp(words, alias, sizeof(alias) - 1) == 0) words += sizeof(alias) - 1;
    if (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && kafka_passes(err))
        snprintf(m->trouble, sizeof(m->trouble), "%s", words);
    if (m->up) m->host->timer_set(m->tick, 0);
}

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    struct kafka_meta *m = owner;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) m->all_down = true;
    kafka_meta_trouble(m, err, words);
}

static bool on_message(void *owner, const rd_kafka_message_t *m)
{
    (void)owner;
    (void)m;
    return true;
}

static const struct kafka_handle_ops handle_ops = {.message = on_message, .error = on_error};

/* ---- look-ups ------------------------------------------------------------------------------ */

static void start_waiting(struct kafka_meta *m);

static void answer(struct look *l)
{
    struct kafka_topic topic = {
        .answer = {.status = kafka_status(l->err), .words = rd_kafka_err2str(l->err)},
        .count = l->count,
        .extent = l->want == KAFKA_WANT_PARTITIONS ? NULL : l->extent,
    };
    if (l->err == RD_KAFKA_RESP_ERR_INVALID_PARTITIONS)
        topic.answer.words = "the topic has more than 1024 partitions";
    if (!l->err) topic.answer.words = NULL;
    for (struct list *n = list_pop(&l->calls); n; n = list_pop(&l->calls)) {
        struct meta_call *c = LIST_ITEM(n, struct meta_call, node);
        c->open = false;
        c->meta->open--;
        c->done(c, &topic);
    }
}

static void look_done(struct crew_job *j)
{
    struct look *l = CONTAINER_OF(j, struct look, job);
    struct kafka_meta *m = l->meta;
    if (!m) {
        look_free(l);
        return;
    }
    list_del(&l->node);
    if (l->probe) {
        m->probing = false;
        if (kafka_passes(l->err) && (!m->up || m->all_down || ++m->silent >= DOUBTS)) silence(m);
    } else {
        m->running_count--;
    }
    heard(m, l->err, l->probe);
    start_waiting(m);
    answer(l); /* may ask again, and may not free this module: that happens from the loop */
    look_free(l);
}

static struct look *look_new(struct kafka_meta *m, struct span topic, enum kafka_want want,
                             int64_t time)
{
    struct look *l = mem_zero(sizeof(*l));
    list_init(&l->calls);
    list_init(&l->node);
    l->job.work = look_work;
    l->job.done = look_done;
    l->job.left = look_left;
    l->meta = m;
    l->topic = mem_dup(topic.p, topic.n);
    l->want = want;
    l->time = time;
    l->timeout = m->config->request_timeout;
    return l;
}

static void look_start(struct look *l)
{
    struct kafka_meta *m = l->meta;
    l->begun = true;
    l->hold = kafka_handle_hold(m->handle);
    list_append(&m->running, &l->node);
    kafka_crew_run(m->crew, &l->job);
}

static void start_waiting(struct kafka_meta *m)
{
    while (m->running_count < RUNNING_MAX && !list_empty(&m->waiting)) {
        m->running_count++;
        look_start(LIST_ITEM(list_pop(&m->waiting), struct look, node));
    }
}

/* A name that no topic can have does for a sign of life, as long as none was asked for. */
static void on_tick(void *arg)
{
    struct kafka_meta *m = arg;
    if (m->probing) return;
    m->probing = true;
    struct look *l =
        look_new(m, span_str(m->probe_topic ? m->probe_topic : "."), KAFKA_WANT_PARTITIONS, 0);
    l->probe = true;
    l->timeout = PROBE_TIMEOUT_MS;
    look_start(l);
}

static struct look *find_alike(struct kafka_meta *m, struct span topic, enum kafka_want want,
                               int64_t time)
{
    for (struct list *n = m->waiting.prev; n != &m->waiting; n = n->prev) {
        struct look *l = LIST_ITEM(n, struct look, node);
        if (!span_eq(span_str(l->topic), topic)) continue;
        if (want < l->want || (want == l->want && time == l->time)) return l;
    }
    return NULL;
}

/* ---- for the others ------------------------------------------------------------------------ */

void kafka_meta_ask(struct kafka_meta *m, struct meta_call *c, struct span topic,
                    enum kafka_want want, int64_t time)
{
    if (want != KAFKA_WANT_TIME) time = 0;
    struct look *l = find_alike(m, topic, want, time);
    if (!l) {
        l = look_new(m, topic, want, time);
        list_append(&m->waiting, &l->node);
    }
    c->meta = m;
    c->look = l;
    c->open = true;
    m->open++;
    list_append(&l->calls, &c->node);
    if (!m->probe_topic) m->probe_topic = mem_dup(topic.p, topic.n);
    start_waiting(m);
}

void kafka_meta_cancel(struct meta_call *c)
{
    struct look *l = c->look;
    if (!c->open) return;
    c->open = false;
    c->meta->open--;
    list_del(&c->node);
    if (l->begun || !list_empty(&l->calls)) return;
    list_del(&l->node);
    look_free(l);
}

size_t kafka_meta_open(const struct kafka_meta *m)
{
    return m->open;
}

bool kafka_meta_up(const struct kafka_meta *m)
{
    return m->up;
}

struct kafka_meta *kafka_meta_new(const struct wsbus_host *host, const struct kafka_config *config,
                                  struct kafka_crew *crew, char *err, size_t err_size)
{
    struct kafka_meta *m = mem_zero(sizeof(*m));
    m->host = host;
    m->config = config;
    m->crew = crew;
    list_init(&m->waiting);
    list_init(&m->running);
    const struct kafka_handle_spec spec = {host, config, KAFKA_QUERY, crew, &handle_ops, m};
    m->handle = kafka_handle_new(&spec, err, err_size);
    if (!m->handle) {
        free(m);
        return NULL;
    }
    m->tick = host->timer(host, on_tick, m);
    host->timer_set(m->tick, 0);
    return m;
}

static void forget(struct look *l)
{
    list_del(&l->node);
    for (struct list *n = list_pop(&l->calls); n; n = list_pop(&l->calls))
        LIST_ITEM(n, struct meta_call, node)->open = false;
    l->meta = NULL;
}

void kafka_meta_free(struct kafka_meta *m)
{
    if (!m) return;
    while (!list_empty(&m->waiting)) {
        struct look *l = LIST_ITEM(m->waiting.next, struct look, node);
        forget(l);
        look_free(l);
    }
    while (!list_empty(&m->running))
        forget(LIST_ITEM(m->running.next, struct look, node));
    m->host->timer_free(m->tick);
    kafka_handle_free(m->handle);
    free(m->probe_topic);
    free(m);
}
