#include "bus/kafka_publish.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/span.h"
#include "bus/kafka_handle.h"
#include "bus/kafka_message.h"
#include "bus/kafka_pos.h"

#define OVERHEAD 256  /* bytes that a message costs besides its own */
#define GRACE_MS 3000 /* beyond publish_timeout until librdkafka is not waited for any longer */
#define PURGE_MS 200  /* until what is purged has been reported */

enum drain_state { DRAIN_NOT, DRAIN_WAITING, DRAIN_PURGED, DRAIN_DONE };

struct kafka_publish {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_handle *handle; /* NULL: none yet, or it failed */
    struct map topics;
    struct list waiting; /* for their topics; the first is due first */
    struct list given;   /* to librdkafka; the first is due first */
    struct list zombies; /* answered, but librdkafka still points to them */
    size_t count, bytes;
    unsigned generation;      /* of the handle */
    struct wsbus_timer *tick; /* looks at `due` */
    struct wsbus_timer *soon; /* what cannot be done from inside: a new handle, the end */
    bool ticking, broken;
    enum drain_state drain;
    void (*done)(void *arg);
    void *done_arg;
};

enum topic_state {
    TOPIC_NEW,   /* nothing is known; freed when no message is of it */
    TOPIC_ASKED, /* messages wait */
    TOPIC_READY, /* it has `count` partitions */
};

struct pub_topic {
    struct map_node node;
    struct kafka_publish *publish;
    enum topic_state state;
    struct span name;
    rd_kafka_topic_t *topic; /* of the present handle, or NULL */
    int32_t count;
    size_t users;        /* messages, and a question */
    struct list waiting; /* messages, in order */
};

struct pending {
    struct list node, of_topic;
    struct pub_topic *topic;
    uint64_t token, due;
    size_t size;
    int32_t partition;
    struct wsbus_message *copy; /* while it waits; NULL: librdkafka has it */
};

/* What the producer's handle is asked about a topic before it gets its first message: it knows the
 * partitions then, and the message leaves at once. */
struct question {
    struct crew_job job;
    struct pub_topic *topic;
    struct kafka_hold *hold;
    rd_kafka_topic_t *asked;
    unsigned generation;
    int timeout_ms;
    rd_kafka_resp_err_t err;
    int32_t count;
};

static const struct wsbus_answer answer_ok = {WSBUS_OK, NULL};

/* ---- topics -------------------------------------------------------------------------------- */

static struct pub_topic *topic_for(struct kafka_publish *p, struct span name)
{
    uint64_t hash = hash_span(name);
    for (struct map_node *n = map_find(&p->topics, hash); n; n = map_again(n)) {
        struct pub_topic *t = CONTAINER_OF(n, struct pub_topic, node);
        if (span_eq(t->name, name)) return t;
    }
    struct pub_topic *t = mem_zero(sizeof(*t));
    t->publish = p;
    t->name = span_of(mem_dup(name.p, name.n), name.n);
    list_init(&t->waiting);
    map_insert(&p->topics, &t->node, hash);
    return t;
}

static void topic_unuse(struct pub_topic *t)
{
    if (--t->users > 0 || t->state != TOPIC_NEW) return;
    map_remove(&t->publish->topics, &t->node);
    if (t->topic) rd_kafka_topic_destroy(t->topic);
    free((char *)t->name.p);
    free(t);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void drain_look(struct kafka_publish *p);

static void pending_free(struct pending *m)
{
    struct kafka_publish *p = m->topic->publish;
    list_del(&m->node);
    list_del(&m->of_topic);
    if (m->copy) wsbus_message_unref(m->copy);
    p->count--;
    p->bytes -= m->size;
    topic_unuse(m->topic);
    free(m);
}

/* Answers once; what librdkafka points to is kept until it reports. */
static void settle(struct pending *m, const struct wsbus_answer *a, const struct wsbus_pos *pos,
                   bool reported)
{
    struct kafka_publish *p = m->topic->publish;
    uint64_t token = m->token;
    m->token = 0;
    if (m->copy || reported) {
        pending_free(m);
    } else {
        list_del(&m->node);
        list_append(&p->zombies, &m->node);
    }
    if (token) p->host->published(p->host, token, a, pos, 0);
}

static struct wsbus_answer failure(rd_kafka_resp_err_t err, rd_kafka_msg_status_t status)
{
    struct wsbus_answer a = {kafka_status(err), rd_kafka_err2str(err)};
    if (status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED) a.status = WSBUS_OUTCOME_UNKNOWN;
    /* The partition was there before: the topic is another one now, or none. */
    if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
        a.status = WSBUS_UNKNOWN_TOPIC;
        a.words = rd_kafka_err2str(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    }
    if (err == RD_KAFKA_RESP_ERR__PURGE_QUEUE) a.status = WSBUS_UNAVAILABLE;
    if (err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) a.status = WSBUS_OUTCOME_UNKNOWN;
    return a;
}

static bool on_report(void *owner, const rd_kafka_message_t *m)
{
    static const struct wsbus_answer somewhere = {
        WSBUS_OUTCOME_UNKNOWN, "the message is stored, at a place that the broker did not tell"};
    struct kafka_publish *p = owner;
    struct pending *pending = m->_private;
    if (m->err) {
        struct wsbus_answer a = failure(m->err, rd_kafka_message_status(m));
        /* Perhaps it is gone, or has other partitions: the next message asks. */
        if (pending->topic->state == TOPIC_READY && a.status != WSBUS_TOO_LARGE)
            pending->topic->state = TOPIC_NEW;
        settle(pending, &a, NULL, true);
    } else if (m->offset < 0) {
        settle(pending, &somewhere, NULL, true);
    } else {
        struct wsbus_pos pos = kafka_pos_before(m->partition, m->offset + 1);
        settle(pending, &answer_ok, &pos, true);
    }
    drain_look(p);
    return true;
}

/* ---- to librdkafka ------------------------------------------------------------------------- */

static rd_kafka_headers_t *make_headers(const struct wsbus_header *from, uint32_t count)
{
    if (count == 0) return NULL;
    rd_kafka_headers_t *to = rd_kafka_headers_new(count);
    for (uint32_t i = 0; i < count; i++)
        rd_kafka_header_add(to, from[i].name, (ssize_t)from[i].name_len,
                            from[i].value ? from[i].value : "", (ssize_t)from[i].value_len);
    return to;
}

static void wait_for_topic(struct pending *m, const struct wsbus_publish *from);

/* Has librdkafka learned meanwhile that the topic is gone, or is not what it was? */
static bool is_news(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
}

/* librdkafka takes a copy. Settles the message if it is not taken. */
static void give(struct pending *m, const struct wsbus_publish *from)
{
    struct pub_topic *t = m->topic;
    struct kafka_publish *p = t->publish;
    struct wsbus_message *copy = m->copy;
    rd_kafka_headers_t *headers = make_headers(from->headers, from->header_count);
    rd_kafka_resp_err_t err = rd_kafka_producev(
        kafka_handle_rk(p->handle), RD_KAFKA_V_RKT(t->topic),
        RD_KAFKA_V_PARTITION(m->partition < 0 ? RD_KAFKA_PARTITION_UA : m->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)from->payload, from->payload_len),
        RD_KAFKA_V_KEY(from->key, from->key_len), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(m),
        RD_KAFKA_V_END);
    if (!err) {
        m->copy = NULL;
        if (copy) wsbus_message_unref(copy);
        m->due = p->host->ticks(p->host) + p->config->publish_timeout + GRACE_MS;
        list_del(&m->node);
        list_append(&p->given, &m->node);
        return;
    }
    if (headers) rd_kafka_headers_destroy(headers);
    if (!copy && is_news(err)) {
        t->state = TOPIC_NEW;
        wait_for_topic(m, from);
        return;
    }
    struct wsbus_answer a = failure(err, RD_KAFKA_MSG_STATUS_NOT_PERSISTED);
    settle(m, &a, NULL, true);
}

static void refuse_partition(struct pending *m)
{
    static const struct wsbus_answer none = {WSBUS_BAD_REQUEST,
                                             "the topic does not have this partition"};
    settle(m, &none, NULL, true);
}

/* ---- what a topic is asked first ----------------------------------------------------------- */

static void question_work(struct crew_job *j)
{
    struct question *q = CONTAINER_OF(j, struct question, job);
    const struct rd_kafka_metadata *md = NULL;
    q->err = rd_kafka_metadata(kafka_hold_rk(q->hold), 0, q->asked, &md, q->timeout_ms);
    if (!q->err) {
        q->err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (md->topic_cnt == 1) q->err = md->topics[0].err;
        if (md->topic_cnt == 1) q->count = md->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(md);
    }
    if (!q->err && q->count < 1) q->err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
}

static void question_left(struct crew_job *j)
{
    struct question *q = CONTAINER_OF(j, struct question, job);
    rd_kafka_topic_destroy(q->asked);
    kafka_hold_drop(q->hold);
    free(q);
}

static void topic_ask(struct pub_topic *t);

/* In order; what cannot be given is answered. */
static void give_waiting(struct pub_topic *t)
{
    for (struct list *n = list_pop(&t->waiting); n; n = list_pop(&t->waiting)) {
        struct pending *m = LIST_ITEM(n, struct pending, of_topic);
        const struct wsbus_message *c = m->copy;
        const struct wsbus_publish from = {
            .key = c->key,
            .payload = c->payload,
            .key_len = c->key_len,
            .payload_len = c->payload_len,
            .headers = c->headers,
            .header_count = c->header_count,
        };
        if (m->partition >= t->count)
            refuse_partition(m);
        else
            give(m, &from);
    }
}

static void refuse_waiting(struct pub_topic *t, const struct wsbus_answer *a)
{
    struct list waiting;
    list_init(&waiting);
    list_move(&waiting, &t->waiting);
    for (struct list *n = list_pop(&waiting); n; n = list_pop(&waiting))
        settle(LIST_ITEM(n, struct pending, of_topic), a, NULL, true);
}

static void question_done(struct crew_job *j)
{
    struct question *q = CONTAINER_OF(j, struct question, job);
    struct pub_topic *t = q->topic;
    struct kafka_publish *p = t->publish;
    rd_kafka_resp_err_t err = q->err;
    bool stale = q->generation != p->generation;
    if (!err) t->count = q->count;
    question_left(j);
    if (p->drain == DRAIN_DONE) {
        t->state = TOPIC_NEW;
    } else if (list_empty(&t->waiting)) {
        t->state = err || stale ? TOPIC_NEW : TOPIC_READY;
    } else if (stale || kafka_passes(err)) {
        topic_ask(t);
    } else if (err) {
        struct wsbus_answer a = {kafka_status(err), rd_kafka_err2str(err)};
        t->state = TOPIC_NEW;
        refuse_waiting(t, &a);
    } else {
        t->state = TOPIC_READY;
        give_waiting(t);
    }
    topic_unuse(t);
    drain_look(p);
}

static void topic_ask(struct pub_topic *t)
{
    struct kafka_publish *p = t->publish;
    struct question *q = mem_zero(sizeof(*q));
    if (!t->topic) t->topic = rd_kafka_topic_new(kafka_handle_rk(p->handle), t->name.p, NULL);
    t->state = TOPIC_ASKED;
    t->users++;
    q->job.work = question_work;
    q->job.done = question_done;
    q->job.left = question_left;
    q->topic = t;
    q->hold = kafka_handle_hold(p->handle);
    q->asked = rd_kafka_topic_new(kafka_handle_rk(p->handle), t->name.p, NULL);
    q->generation = p->generation;
    q->timeout_ms = (int)p->config->request_timeout;
    kafka_crew_run(p->crew, &q->job);
}

/* ---- the producer -------------------------------------------------------------------------- */

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    struct kafka_publish *p = owner;
    if (err != RD_KAFKA_RESP_ERR__FATAL || p->broken) return;
    p->host->log(p->host, WSBUS_LOG_ERROR, "the producer failed and is made anew: %s", words);
    p->broken = true;
    p->host->timer_set(p->soon, 0);
}

static const struct kafka_handle_ops handle_ops = {.message = on_report, .error = on_error};

/* Nothing of librdkafka's points to anything here any more. */
static void drop_handle(struct kafka_publish *p)
{
    static const struct wsbus_answer lost = {WSBUS_OUTCOME_UNKNOWN,
                                             "the producer ended before an answer came"};
    struct map_walk walk = {0};
    struct map_node *n;
    kafka_handle_free(p->handle);
    p->handle = NULL;
    p->generation++;
    p->broken = false;
    while ((n = map_next(&p->topics, &walk))) {
        struct pub_topic *t = CONTAINER_OF(n, struct pub_topic, node);
        if (t->topic) rd_kafka_topic_destroy(t->topic);
        t->topic = NULL;
        if (t->state == TOPIC_READY) t->state = TOPIC_NEW;
    }
    for (struct list *z = list_pop(&p->zombies); z; z = list_pop(&p->zombies))
        pending_free(LIST_ITEM(z, struct pending, node));
    struct list gone;
    list_init(&gone);
    list_move(&gone, &p->given);
    for (struct list *m = list_pop(&gone); m; m = list_pop(&gone))
        settle(LIST_ITEM(m, struct pending, node), &lost, NULL, true);
}

/* 0, or -1: the message is answered. */
static int need_handle(struct kafka_publish *p, uint64_t token)
{
    char err[512];
    if (p->handle) return 0;
    const struct kafka_handle_spec spec = {p->host, p->config,   KAFKA_PRODUCER,
                                           p->crew, &handle_ops, p};
    p->handle = kafka_handle_new(&spec, err, sizeof(err));
    if (p->handle) return 0;
    struct wsbus_answer a = {WSBUS_UNAVAILABLE, err};
    p->host->published(p->host, token, &a, NULL, 0);
    return -1;
}

/* ---- time ---------------------------------------------------------------------------------- */

static uint64_t due_of(const struct list *l)
{
    return list_empty(l) ? UINT64_MAX : CONTAINER_OF(l->next, const struct pending, node)->due;
}

static void settle_due(struct list *l, uint64_t now, const struct wsbus_answer *a)
{
    while (due_of(l) <= now)
        settle(LIST_ITEM(l->next, struct pending, node), a, NULL, false);
}

/* What waits for its topic is answered after publish_timeout; for what librdkafka has, that is its own
 * task, and this only the last resort. */
static void on_tick(void *arg)
{
    static const struct wsbus_answer late = {WSBUS_UNAVAILABLE, "no broker answered in time"};
    static const struct wsbus_answer silent = {WSBUS_OUTCOME_UNKNOWN, "no broker answered in time"};
    struct kafka_publish *p = arg;
    uint64_t now = p->host->ticks(p->host);
    settle_due(&p->waiting, now, &late);
    settle_due(&p->given, now, &silent);
    uint64_t waiting = due_of(&p->waiting), given = due_of(&p->given);
    uint64_t due = waiting < given ? waiting : given;
    p->ticking = due != UINT64_MAX;
    if (p->ticking) p->host->timer_set(p->tick, due - now);
    drain_look(p);
}

/* ---- publish ------------------------------------------------------------------------------- */

static struct pending *pending_new(struct pub_topic *t, uint64_t token,
                                   const struct wsbus_publish *from, size_t size)
{
    struct kafka_publish *p = t->publish;
    struct pending *m = mem_zero(sizeof(*m));
    list_init(&m->of_topic);
    m->topic = t;
    m->token = token;
    m->size = size;
    m->partition = from->partition;
    m->due = p->host->ticks(p->host) + p->config->publish_timeout;
    t->users++;
    p->count++;
    p->bytes += size;
    list_append(&p->waiting, &m->node);
    if (!p->ticking) p->host->timer_set(p->tick, p->config->publish_timeout);
    p->ticking = true;
    return m;
}

static void wait_for_topic(struct pending *m, const struct wsbus_publish *from)
{
    struct pub_topic *t = m->topic;
    const struct wsbus_message lent = {
        .header_count = from->header_count,
        .key = from->key,
        .payload = from->payload,
        .key_len = from->key_len,
        .payload_len = from->payload_len,
        .headers = from->headers,
    };
    m->copy = wsbus_message_new(&lent);
    list_append(&t->waiting, &m->of_topic);
    if (t->state != TOPIC_ASKED) topic_ask(t);
}

void kafka_publish_send(struct kafka_publish *p, uint64_t token, const struct wsbus_publish *from)
{
    static const struct wsbus_answer full = {WSBUS_BUSY, "too many messages wait for the brokers"};
    static const struct wsbus_answer closing = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    size_t size = OVERHEAD + from->key_len + from->payload_len;
    for (uint32_t i = 0; i < from->header_count; i++)
        size += 64 + from->headers[i].name_len + from->headers[i].value_len;
    if (p->drain != DRAIN_NOT || p->bytes + size > p->config->queue_bytes) {
        p->host->published(p->host, token, p->drain != DRAIN_NOT ? &closing : &full, NULL, 0);
        return;
    }
    if (need_handle(p, token) < 0) return;
    struct pub_topic *t = topic_for(p, span_of(from->topic.name, from->topic.name_len));
    struct pending *m = pending_new(t, token, from, size);
    if (t->state == TOPIC_READY && m->partition < t->count)
        give(m, from);
    else
        wait_for_topic(m, from);
}

size_t kafka_publish_pending(const struct kafka_publish *p)
{
    return p->count;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void drain_finish(struct kafka_publish *p)
{
    static const struct wsbus_answer closing = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    p->drain = DRAIN_DONE;
    for (struct list *m = list_pop(&p->waiting); m; m = list_pop(&p->waiting))
        settle(LIST_ITEM(m, struct pending, node), &closing, NULL, true);
    drop_handle(p);
    p->host->timer_stop(p->tick);
    p->done(p->done_arg);
}

/* Outside of whatever found out that it is time. */
static void on_soon(void *arg)
{
    struct kafka_publish *p = arg;
    static const int what =
        RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING;
    if (p->broken && p->drain == DRAIN_NOT) {
        drop_handle(p);
        return;
    }
    if (p->drain == DRAIN_DONE) return;
    if (p->count == 0 || p->drain == DRAIN_PURGED || !p->handle) {
        drain_finish(p);
        return;
    }
    p->drain = DRAIN_PURGED;
    rd_kafka_purge(kafka_handle_rk(p->handle), what);
    p->host->timer_set(p->soon, PURGE_MS);
}

static void drain_look(struct kafka_publish *p)
{
    if ((p->drain == DRAIN_WAITING || p->drain == DRAIN_PURGED) && p->count == 0)
        p->host->timer_set(p->soon, 0);
}

void kafka_publish_drain(struct kafka_publish *p, uint64_t deadline_ms, void (*done)(void *arg),
                         void *arg)
{
    p->drain = DRAIN_WAITING;
    p->done = done;
    p->done_arg = arg;
    p->host->timer_set(p->soon, deadline_ms > PURGE_MS ? deadline_ms - PURGE_MS : 0);
    drain_look(p);
}

struct kafka_publish *kafka_publish_new(const struct wsbus_host *host,
                                        const struct kafka_config *config, struct kafka_crew *crew)
{
    struct kafka_publish *p = mem_zero(sizeof(*p));
    p->host = host;
    p->config = config;
    p->crew = crew;
    map_init(&p->topics);
    list_init(&p->waiting);
    list_init(&p->given);
    list_init(&p->zombies);
    p->tick = host->timer(host, on_tick, p);
    p->soon = host->timer(host, on_soon, p);
    return p;
}

void kafka_publish_free(struct kafka_publish *p)
{
    struct map_walk walk = {0};
    struct map_node *n;
    if (!p) return;
    while ((n = map_next(&p->topics, &walk))) {
        struct pub_topic *t = CONTAINER_OF(n, struct pub_topic, node);
        map_remove(&p->topics, n);
        free((char *)t->name.p);
        free(t);
    }
    p->host->timer_free(p->tick);
    p->host->timer_free(p->soon);
    map_done(&p->topics);
    free(p);
}
