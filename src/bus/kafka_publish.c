#include "bus/kafka_publish.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/span.h"
#include "bus/kafka_handle.h"
#include "bus/kafka_message.h"
#include "bus/kafka_outcome.h"
#include "bus/kafka_pos.h"

#define OVERHEAD 256  /* bytes that a message costs besides its own */
#define ANSWER_MS 200 /* for the answers that are on their way before a producer is given up */
#define PURGE_MS 200  /* until what is purged has been reported */

/* The producer is given up when a message is due, and at the end. A message that librdkafka lets time
 * out would make it begin a new epoch, in which it repeats what it has sent before and had no answer to:
 * that may then be in the log twice, and is said to be there once. */
enum turn {
    TURN_NONE,
    TURN_WAITING, /* nothing is given to librdkafka any more; what it has sent may be answered */
    TURN_PURGED,  /* it reports what it still had */
    TURN_CLOSED,  /* for good */
};

struct kafka_publish {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_meta *meta;
    struct kafka_handle *handle; /* NULL: none yet, or it failed */
    struct map topics;
    struct list waiting; /* for their topics; the first is due first */
    struct list given;   /* to librdkafka; the first is due first */
    size_t count, bytes;
    unsigned generation;      /* of the handle */
    struct wsbus_timer *tick; /* looks at `due` */
    struct wsbus_timer *soon; /* the next step of a turn, never from inside librdkafka */
    struct wsbus_timer *end;  /* of a drain: nothing is left, or its time is over */
    uint64_t broke;           /* a connection, at last; 0: none of this handle */
    bool ticking, draining, overdue;
    enum turn turn;
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

static void turn_look(struct kafka_publish *p);

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

/* librdkafka has it no more, or never had it. */
static void settle(struct pending *m, const struct wsbus_answer *a, const struct wsbus_pos *pos)
{
    struct kafka_publish *p = m->topic->publish;
    uint64_t token = m->token;
    pending_free(m);
    p->host->published(p->host, token, a, pos, 0);
}

static bool on_report(void *owner, const rd_kafka_message_t *m)
{
    /* librdkafka says so of what the broker calls a duplicate. Mostly it is one; but a topic that was
     * unknown for a moment begins to count anew, and then it is not stored (librdkafka issue 3712; seen
     * with 2.16.1 and a topic just created). */
    static const struct wsbus_answer somewhere = {
        WSBUS_OUTCOME_UNKNOWN,
        "the broker took it for a message that it has, and did not tell where"};
    struct kafka_publish *p = owner;
    struct pending *pending = m->_private;
    if (m->err) {
        bool retried = pending->due <= p->broke + p->config->publish_timeout;
        struct wsbus_answer a = kafka_outcome(m->err, rd_kafka_message_status(m), retried);
        /* Perhaps it is gone, or has other partitions: the next message asks. */
        if (pending->topic->state == TOPIC_READY && a.status != WSBUS_TOO_LARGE)
            pending->topic->state = TOPIC_NEW;
        settle(pending, &a, NULL);
    } else if (m->offset < 0) {
        settle(pending, &somewhere, NULL);
    } else {
        struct wsbus_pos pos = kafka_pos_before(m->partition, m->offset + 1);
        settle(pending, &answer_ok, &pos);
    }
    turn_look(p);
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
        m->due = p->host->ticks(p->host) + p->config->publish_timeout;
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
    struct wsbus_answer a = kafka_outcome(err, RD_KAFKA_MSG_STATUS_NOT_PERSISTED, false);
    settle(m, &a, NULL);
}

static void refuse_partition(struct pending *m)
{
    static const struct wsbus_answer none = {WSBUS_BAD_REQUEST,
                                             "the topic does not have this partition"};
    settle(m, &none, NULL);
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
        settle(LIST_ITEM(n, struct pending, of_topic), a, NULL);
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
    if (p->turn != TURN_NONE) {
        t->state = TOPIC_NEW; /* asked anew of the next producer */
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
    turn_look(p);
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

static void turn_begin(struct kafka_publish *p, uint64_t patience_ms)
{
    if (p->turn != TURN_NONE) return;
    p->turn = TURN_WAITING;
    p->host->timer_set(p->soon, patience_ms);
}

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    struct kafka_publish *p = owner;
    if (kafka_outcome_breaks(err, words)) p->broke = p->host->ticks(p->host);
    if (err != RD_KAFKA_RESP_ERR__FATAL) kafka_meta_trouble(p->meta, err, words);
    if (err != RD_KAFKA_RESP_ERR__FATAL || p->turn != TURN_NONE) return;
    p->host->log(p->host, WSBUS_LOG_ERROR, "the producer failed and is made anew: %s", words);
    turn_begin(p, 0);
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
    p->broke = 0;
    while ((n = map_next(&p->topics, &walk))) {
        struct pub_topic *t = CONTAINER_OF(n, struct pub_topic, node);
        if (t->topic) rd_kafka_topic_destroy(t->topic);
        t->topic = NULL;
        if (t->state == TOPIC_READY) t->state = TOPIC_NEW;
    }
    struct list gone;
    list_init(&gone);
    list_move(&gone, &p->given);
    for (struct list *m = list_pop(&gone); m; m = list_pop(&gone))
        settle(LIST_ITEM(m, struct pending, node), &lost, NULL);
}

/* 0, or -1 with one sentence in `err`. */
static int need_handle(struct kafka_publish *p, char *err, size_t err_size)
{
    if (p->handle) return 0;
    const struct kafka_handle_spec spec = {p->host, p->config,   KAFKA_PRODUCER,
                                           p->crew, &handle_ops, p};
    p->handle = kafka_handle_new(&spec, err, err_size);
    return p->handle ? 0 : -1;
}

/* What waits is asked for at the next producer. */
static void ask_anew(struct kafka_publish *p)
{
    char err[512];
    struct wsbus_answer none = {WSBUS_UNAVAILABLE, err};
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&p->topics, &walk))) {
        struct pub_topic *t = CONTAINER_OF(n, struct pub_topic, node);
        if (list_empty(&t->waiting)) continue;
        if (need_handle(p, err, sizeof(err)) < 0)
            refuse_waiting(t, &none);
        else if (t->state != TOPIC_ASKED)
            topic_ask(t);
    }
}

static void turn_end(struct kafka_publish *p)
{
    drop_handle(p);
    p->turn = TURN_NONE;
    if (p->overdue)
        p->host->timer_set(p->end, 0);
    else
        ask_anew(p);
}

static void on_soon(void *arg)
{
    struct kafka_publish *p = arg;
    static const int what =
        RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING;
    if (p->turn == TURN_WAITING && !list_empty(&p->given)) {
        p->turn = TURN_PURGED;
        rd_kafka_purge(kafka_handle_rk(p->handle), what);
        p->host->timer_set(p->soon, PURGE_MS);
    } else if (p->turn == TURN_WAITING || p->turn == TURN_PURGED) {
        turn_end(p);
    }
}

/* After a message was answered. */
static void turn_look(struct kafka_publish *p)
{
    bool turning = p->turn == TURN_WAITING || p->turn == TURN_PURGED;
    if (turning && list_empty(&p->given)) p->host->timer_set(p->soon, 0);
    if (p->draining && p->count == 0) p->host->timer_set(p->end, 0);
}

/* ---- time ---------------------------------------------------------------------------------- */

static uint64_t due_of(const struct list *l)
{
    return list_empty(l) ? UINT64_MAX : CONTAINER_OF(l->next, const struct pending, node)->due;
}

/* What waits for its topic, or for the next producer, is answered after publish_timeout; for what
 * librdkafka has, the producer is given up then. */
static void on_tick(void *arg)
{
    static const struct wsbus_answer late = {WSBUS_UNAVAILABLE, "no broker answered in time"};
    struct kafka_publish *p = arg;
    uint64_t now = p->host->ticks(p->host);
    while (due_of(&p->waiting) <= now)
        settle(LIST_ITEM(p->waiting.next, struct pending, node), &late, NULL);
    if (due_of(&p->given) <= now) turn_begin(p, ANSWER_MS);
    uint64_t waiting = due_of(&p->waiting);
    uint64_t given = p->turn == TURN_NONE ? due_of(&p->given) : UINT64_MAX;
    uint64_t due = waiting < given ? waiting : given;
    p->ticking = due != UINT64_MAX;
    if (p->ticking) p->host->timer_set(p->tick, due - now);
    turn_look(p);
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
    if (t->state != TOPIC_ASKED && t->publish->turn == TURN_NONE) topic_ask(t);
}

void kafka_publish_send(struct kafka_publish *p, uint64_t token, const struct wsbus_publish *from)
{
    static const struct wsbus_answer full = {WSBUS_BUSY, "too many messages wait for the brokers"};
    static const struct wsbus_answer closing = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    char err[512];
    const struct wsbus_answer none = {WSBUS_UNAVAILABLE, err};
    size_t size = OVERHEAD + from->key_len + from->payload_len;
    for (uint32_t i = 0; i < from->header_count; i++)
        size += 64 + from->headers[i].name_len + from->headers[i].value_len;
    if (p->draining || p->bytes + size > p->config->queue_bytes) {
        p->host->published(p->host, token, p->draining ? &closing : &full, NULL, 0);
        return;
    }
    if (need_handle(p, err, sizeof(err)) < 0) {
        p->host->published(p->host, token, &none, NULL, 0);
        return;
    }
    struct pub_topic *t = topic_for(p, span_of(from->topic.name, from->topic.name_len));
    struct pending *m = pending_new(t, token, from, size);
    if (t->state == TOPIC_READY && m->partition < t->count && p->turn == TURN_NONE)
        give(m, from);
    else
        wait_for_topic(m, from);
}

size_t kafka_publish_pending(const struct kafka_publish *p)
{
    return p->count;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* A drain ends when nothing is left. What is left when its time is over takes a turn at once, or the
 * one that is under way. */
static void on_end(void *arg)
{
    static const struct wsbus_answer closing = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    struct kafka_publish *p = arg;
    if (p->turn == TURN_CLOSED) return;
    while (!list_empty(&p->waiting))
        settle(LIST_ITEM(p->waiting.next, struct pending, node), &closing, NULL);
    if (p->count > 0) {
        p->overdue = true;
        turn_begin(p, 0);
        if (p->turn == TURN_WAITING) p->host->timer_set(p->soon, 0);
        return;
    }
    drop_handle(p);
    p->turn = TURN_CLOSED;
    p->host->timer_stop(p->tick);
    p->host->timer_stop(p->soon);
    p->done(p->done_arg);
}

void kafka_publish_drain(struct kafka_publish *p, uint64_t deadline_ms, void (*done)(void *arg),
                         void *arg)
{
    p->draining = true;
    p->done = done;
    p->done_arg = arg;
    p->host->timer_set(p->end, deadline_ms > PURGE_MS ? deadline_ms - PURGE_MS : 0);
    turn_look(p);
}

struct kafka_publish *kafka_publish_new(const struct wsbus_host *host,
                                        const struct kafka_config *config, struct kafka_crew *crew,
                                        struct kafka_meta *meta)
{
    struct kafka_publish *p = mem_zero(sizeof(*p));
    p->host = host;
    p->config = config;
    p->crew = crew;
    p->meta = meta;
    map_init(&p->topics);
    list_init(&p->waiting);
    list_init(&p->given);
    p->tick = host->timer(host, on_tick, p);
    p->soon = host->timer(host, on_soon, p);
    p->end = host->timer(host, on_end, p);
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
    p->host->timer_free(p->end);
    map_done(&p->topics);
    free(p);
}
