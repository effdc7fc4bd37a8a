#include "bus/kafka_live.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/kafka_assign.h"
#include "bus/kafka_message.h"
#include "bus/kafka_pos.h"

#define AGAIN_MS 250
#define DOUBTS 3 /* so often a bad word about a topic must be heard until it is believed */

struct kafka_live {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_meta *meta;
    struct kafka_handle *handle;
    struct kafka_assign *assign;
    struct map topics, feeds; /* by name, by token */
    struct list later;        /* topics to ask about again */
    struct wsbus_timer *again, *refresh;
    size_t partitions;
};

enum topic_state {
    TOPIC_ASKED,   /* for its ends, where it will begin; no feed is confirmed */
    TOPIC_ON,      /* assigned; all feeds are confirmed */
    TOPIC_PARTING, /* it was on, and is being taken away; feeds that come wait to begin anew: what was
                    * fetched for the ones before must not be taken for theirs */
    TOPIC_OVER,    /* freed as soon as nothing holds it */
};

struct live_partition {
    int64_t next; /* offset: what is delivered next has at least this */
    bool lost;    /* `next` is not there; the extent is being asked for */
};

struct live_topic {
    struct map_node node;
    struct list later;
    struct kafka_live *live;
    enum topic_state state;
    unsigned holds;
    unsigned doubts;  /* bad answers in a row */
    unsigned removed; /* partitions that are being taken away */
    struct span name;
    struct list feeds;
    size_t feed_count;
    struct meta_call call;
    int32_t count;
    struct live_partition *parts;
};

struct live_feed {
    struct map_node node;
    struct list of_topic;
    struct live_topic *topic;
    uint64_t token;
};

static const struct wsbus_answer answer_ok = {WSBUS_OK, NULL};

/* ---- topics and their feeds ---------------------------------------------------------------- */

static struct live_topic *find_topic(const struct kafka_live *l, struct span name)
{
    for (struct map_node *n = map_find(&l->topics, hash_span(name)); n; n = map_again(n)) {
        struct live_topic *t = CONTAINER_OF(n, struct live_topic, node);
        if (span_eq(t->name, name)) return t;
    }
    return NULL;
}

static void topic_release(struct live_topic *t)
{
    if (--t->holds > 0 || t->state != TOPIC_OVER) return;
    free(t->parts);
    free((char *)t->name.p);
    free(t);
}

static void unfollow(struct live_topic *t, int32_t partition)
{
    kafka_assign_remove(t->live->assign, t->name, partition);
    t->live->partitions--;
    t->removed++;
}

static void follow(struct live_topic *t, int32_t partition)
{
    kafka_assign_add(t->live->assign, t->name, partition, t->parts[partition].next);
    t->live->partitions++;
}

static void topic_ask(struct live_topic *t);

/* The only place where a topic changes its state. */
static void topic_state(struct live_topic *t, enum topic_state state)
{
    struct kafka_live *l = t->live;
    if (t->state == TOPIC_OVER) return;
    t->state = state;
    if (state == TOPIC_ON) {
        for (int32_t i = 0; i < t->count; i++)
            follow(t, i);
        return;
    }
    kafka_meta_cancel(&t->call);
    list_del(&t->later);
    t->doubts = 0;
    if (state == TOPIC_PARTING)
        for (int32_t i = 0; i < t->count; i++)
            unfollow(t, i);
    if (state == TOPIC_ASKED) topic_ask(t);
    if (state == TOPIC_OVER) map_remove(&l->topics, &t->node);
}

/* Nobody follows it any more. */
static void topic_leave(struct live_topic *t)
{
    if (t->state == TOPIC_ASKED) topic_state(t, TOPIC_OVER);
    if (t->state == TOPIC_ON) topic_state(t, TOPIC_PARTING);
}

static void feed_free(struct live_feed *f)
{
    map_remove(&f->topic->live->feeds, &f->node);
    list_del(&f->of_topic);
    f->topic->feed_count--;
    free(f);
}

/* Ends all feeds with the words of Kafka, or ours. */
static void topic_end(struct live_topic *t, const struct wsbus_answer *a)
{
    const struct wsbus_host *host = t->live->host;
    bool confirmed = t->state == TOPIC_ON;
    struct list feeds;
    list_init(&feeds);
    list_move(&feeds, &t->feeds);
    t->holds++;
    topic_leave(t);
    while (!list_empty(&feeds)) {
        struct live_feed *f = LIST_ITEM(feeds.next, struct live_feed, of_topic);
        uint64_t token = f->token;
        feed_free(f);
        if (confirmed)
            host->ended(host, token, a);
        else
            host->subscribed(host, token, a, NULL);
    }
    topic_release(t);
}

/* Something happens to all feeds of a topic, which must be held. Whatever a feed's owner does
 * meanwhile: each that was there and still is hears it once. */
struct hearing {
    struct list feeds;
};

static void hear_begin(struct hearing *h, struct live_topic *t)
{
    list_init(&h->feeds);
    list_move(&h->feeds, &t->feeds);
}

static bool hear_next(struct hearing *h, struct live_topic *t, uint64_t *ret_token)
{
    struct list *n = list_pop(&h->feeds);
    if (!n) return false;
    list_append(&t->feeds, n);
    *ret_token = LIST_ITEM(n, struct live_feed, of_topic)->token;
    return true;
}

static void topic_message(struct live_topic *t, const rd_kafka_message_t *from)
{
    const struct wsbus_host *host = t->live->host;
    struct wsbus_message *m = kafka_message_new(from);
    struct hearing h;
    uint64_t feed;
    t->holds++;
    for (hear_begin(&h, t); hear_next(&h, t, &feed);)
        host->message(host, feed, wsbus_message_ref(m));
    topic_release(t);
    wsbus_message_unref(m);
}

static void topic_progress(struct live_topic *t, int32_t partition)
{
    const struct wsbus_host *host = t->live->host;
    const struct wsbus_pos pos = kafka_pos_before(partition, t->parts[partition].next);
    struct hearing h;
    uint64_t feed;
    t->holds++;
    for (hear_begin(&h, t); hear_next(&h, t, &feed);)
        host->progress(host, feed, &pos);
    topic_release(t);
}

static void topic_gap(struct live_topic *t, int32_t partition)
{
    const struct wsbus_host *host = t->live->host;
    struct wsbus_cursor *until = mem_zero(sizeof(*until) + sizeof(until->pos[0]));
    struct hearing h;
    uint64_t feed;
    until->count = 1;
    until->pos[0] = kafka_pos_before(partition, t->parts[partition].next);
    t->holds++;
    for (hear_begin(&h, t); hear_next(&h, t, &feed);)
        host->gap(host, feed, until);
    topic_release(t);
    free(until);
}

static struct wsbus_cursor *topic_cursor(const struct live_topic *t)
{
    struct wsbus_cursor *c = mem_zero(sizeof(*c) + (size_t)t->count * sizeof(c->pos[0]));
    c->count = (uint32_t)t->count;
    for (int32_t i = 0; i < t->count; i++)
        c->pos[i] = kafka_pos_before(i, t->parts[i].next);
    return c;
}

/* ---- what the brokers say of a topic ------------------------------------------------------- */

static void topic_ask(struct live_topic *t)
{
    if (!t->call.open) kafka_meta_ask(t->live->meta, &t->call, t->name, KAFKA_WANT_EXTENT, 0);
}

static void topic_ask_later(struct live_topic *t)
{
    struct kafka_live *l = t->live;
    if (!list_empty(&t->later)) return;
    if (list_empty(&l->later)) l->host->timer_set(l->again, AGAIN_MS);
    list_append(&l->later, &t->later);
}

static void on_again(void *arg)
{
    struct kafka_live *l = arg;
    for (struct list *n = list_pop(&l->later); n; n = list_pop(&l->later))
        topic_ask(LIST_ITEM(n, struct live_topic, later));
}

static void topic_begin(struct live_topic *t, const struct kafka_topic *found)
{
    const struct wsbus_host *host = t->live->host;
    struct hearing h;
    uint64_t feed;
    t->count = found->count;
    free(t->parts);
    t->parts = mem_zero((size_t)t->count * sizeof(*t->parts));
    for (int32_t i = 0; i < t->count; i++)
        t->parts[i].next = found->extent[i].end;
    struct wsbus_cursor *cursor = topic_cursor(t);
    t->holds++;
    topic_state(t, TOPIC_ON);
    for (hear_begin(&h, t); hear_next(&h, t, &feed);)
        host->subscribed(host, feed, &answer_ok, cursor);
    topic_release(t);
    free(cursor);
}

/* New partitions are followed from their beginning. */
static void topic_grow(struct live_topic *t, int32_t count)
{
    int32_t before = t->count;
    t->parts = mem_grow(t->parts, (size_t)count * sizeof(*t->parts));
    for (t->count = before; t->count < count; t->count++) {
        t->parts[t->count] = (struct live_partition){0};
        follow(t, t->count);
    }
    for (int32_t i = before; i < count && t->state == TOPIC_ON; i++)
        topic_progress(t, i);
}

/* A partition whose next offset was not there. */
static void partition_found(struct live_topic *t, int32_t i, const struct kafka_extent *e)
{
    struct live_partition *p = &t->parts[i];
    bool trimmed = p->next < e->first;
    p->lost = false;
    if (trimmed) p->next = e->first;
    unfollow(t, i);
    follow(t, i);
    if (trimmed) topic_gap(t, i);
}

/* Is it another log than the one that was followed? */
static bool is_other(const struct live_topic *t, const struct kafka_topic *found)
{
    if (found->count < t->count) return true;
    for (int32_t i = 0; i < t->count; i++)
        if (t->parts[i].lost && t->parts[i].next > found->extent[i].end) return true;
    return false;
}

static void topic_check(struct live_topic *t, const struct kafka_topic *found)
{
    static const struct wsbus_answer anew = {
        WSBUS_UNKNOWN_TOPIC, "the topic was created anew: it is shorter than it was"};
    if (found->answer.status == WSBUS_UNAVAILABLE) {
        topic_ask_later(t);
        return;
    }
    bool bad = found->answer.status != WSBUS_OK;
    if (bad || is_other(t, found)) {
        if (++t->doubts < DOUBTS)
            topic_ask_later(t);
        else
            topic_end(t, bad ? &found->answer : &anew);
        return;
    }
    t->doubts = 0;
    t->holds++;
    for (int32_t i = 0; i < t->count && t->state == TOPIC_ON; i++)
        if (t->parts[i].lost) partition_found(t, i, &found->extent[i]);
    if (t->state == TOPIC_ON && found->count > t->count) topic_grow(t, found->count);
    topic_release(t);
}

static void on_found(struct meta_call *c, const struct kafka_topic *found)
{
    struct live_topic *t = CONTAINER_OF(c, struct live_topic, call);
    if (t->state == TOPIC_ON)
        topic_check(t, found);
    else if (found->answer.status == WSBUS_OK)
        topic_begin(t, found);
    else if (found->answer.status == WSBUS_UNAVAILABLE)
        topic_ask_later(t);
    else
        topic_end(t, &found->answer);
}

/* ---- what the consumer brings -------------------------------------------------------------- */

static void partition_error(struct live_topic *t, int32_t partition, const rd_kafka_message_t *m)
{
    struct kafka_live *l = t->live;
    struct live_partition *p = &t->parts[partition];
    struct wsbus_answer a = {kafka_status(m->err), rd_kafka_err2str(m->err)};
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (p->lost || m->offset <= p->next) return;
        p->next = m->offset;
        topic_progress(t, partition);
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        p->lost = true;
        topic_ask(t);
        return;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED: topic_end(t, &a); return;
    default:
        l->host->log(l->host, WSBUS_LOG_DEBUG, "%s [%d]: %s", t->name.p, (int)partition, a.words);
        if (a.status != WSBUS_UNAVAILABLE) topic_ask(t);
        return;
    }
}

static bool on_message(void *owner, const rd_kafka_message_t *m)
{
    struct kafka_live *l = owner;
    struct live_topic *t = find_topic(l, span_str(rd_kafka_topic_name(m->rkt)));
    if (!t || t->state != TOPIC_ON || m->partition < 0 || m->partition >= t->count) return true;
    struct live_partition *p = &t->parts[m->partition];
    if (m->err) {
        partition_error(t, m->partition, m);
    } else if (!p->lost && m->offset >= p->next) {
        p->next = m->offset + 1;
        topic_message(t, m);
    }
    return true;
}

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    const struct kafka_live *l = owner;
    kafka_meta_trouble(l->meta, err, words);
}

static const struct kafka_handle_ops handle_ops = {.message = on_message, .error = on_error};

/* ---- looks ---------------------------------------------------------------------------------- */

static void on_refresh(void *arg)
{
    struct kafka_live *l = arg;
    struct map_walk walk = {0};
    struct map_node *n;
    l->host->timer_set(l->refresh, l->config->refresh);
    while ((n = map_next(&l->topics, &walk))) {
        const struct live_topic *t = CONTAINER_OF(n, struct live_topic, node);
        if (t->state != TOPIC_ON) continue;
        kafka_assign_look(l->assign, t->name, l->config->request_timeout);
        return;
    }
}

static void on_seen(void *owner, struct span name, rd_kafka_resp_err_t err, int32_t count)
{
    struct live_topic *t = find_topic(owner, name);
    if (t && t->state == TOPIC_ON && (err || count != t->count)) topic_ask(t);
}

static void on_failed(void *owner, struct span name, const char *words)
{
    const struct wsbus_answer a = {WSBUS_REFUSED, words};
    struct live_topic *t = find_topic(owner, name);
    if (t && t->state == TOPIC_ON) topic_end(t, &a);
}

static void on_removed(void *owner, struct span name)
{
    struct live_topic *t = find_topic(owner, name);
    if (!t || --t->removed > 0 || t->state != TOPIC_PARTING) return;
    t->holds++;
    topic_state(t, t->feed_count > 0 ? TOPIC_ASKED : TOPIC_OVER);
    topic_release(t);
}

static const struct kafka_assign_ops assign_ops = {
    .failed = on_failed, .removed = on_removed, .seen = on_seen};

/* ---- operations ---------------------------------------------------------------------------- */

static struct live_topic *topic_new(struct kafka_live *l, struct span name)
{
    struct live_topic *t = mem_zero(sizeof(*t));
    t->live = l;
    t->name = span_of(mem_dup(name.p, name.n), name.n);
    t->call.done = on_found;
    list_init(&t->feeds);
    list_init(&t->later);
    map_insert(&l->topics, &t->node, hash_span(name));
    topic_ask(t);
    return t;
}

void kafka_live_subscribe(struct kafka_live *l, uint64_t feed, const struct wsbus_topic *topic)
{
    struct span name = span_of(topic->name, topic->name_len);
    struct live_topic *t = find_topic(l, name);
    if (!t) t = topic_new(l, name);
    struct live_feed *f = mem_zero(sizeof(*f));
    f->topic = t;
    f->token = feed;
    list_append(&t->feeds, &f->of_topic);
    t->feed_count++;
    map_insert(&l->feeds, &f->node, hash_u64(feed));
    if (t->state != TOPIC_ON) return;
    struct wsbus_cursor *cursor = topic_cursor(t);
    l->host->subscribed(l->host, feed, &answer_ok, cursor);
    free(cursor);
}

static struct live_feed *find_feed(const struct kafka_live *l, uint64_t token)
{
    for (struct map_node *n = map_find(&l->feeds, hash_u64(token)); n; n = map_again(n)) {
        struct live_feed *f = CONTAINER_OF(n, struct live_feed, node);
        if (f->token == token) return f;
    }
    return NULL;
}

void kafka_live_unsubscribe(struct kafka_live *l, uint64_t feed)
{
    struct live_feed *f = find_feed(l, feed);
    if (f) {
        struct live_topic *t = f->topic;
        t->holds++;
        feed_free(f);
        if (t->feed_count == 0) topic_leave(t);
        topic_release(t);
    }
    l->host->unsubscribed(l->host, feed);
}

struct kafka_live_figures kafka_live_figures(const struct kafka_live *l)
{
    return (struct kafka_live_figures){
        .feeds = l->feeds.count, .topics = l->topics.count, .partitions = l->partitions};
}

/* ---- life ---------------------------------------------------------------------------------- */

struct kafka_live *kafka_live_new(const struct kafka_live_spec *from, char *err, size_t err_size)
{
    struct kafka_live *l = mem_zero(sizeof(*l));
    l->host = from->host;
    l->config = from->config;
    l->meta = from->meta;
    const struct kafka_handle_spec spec = {from->host, from->config, KAFKA_LIVE,
                                           from->crew, &handle_ops,  l};
    l->handle = kafka_handle_new(&spec, err, err_size);
    if (!l->handle) {
        free(l);
        return NULL;
    }
    l->assign = kafka_assign_new(l->handle, from->crew, &assign_ops, l);
    map_init(&l->topics);
    map_init(&l->feeds);
    list_init(&l->later);
    l->again = l->host->timer(l->host, on_again, l);
    l->refresh = l->host->timer(l->host, on_refresh, l);
    l->host->timer_set(l->refresh, l->config->refresh);
    return l;
}

void kafka_live_stop(struct kafka_live *l)
{
    const struct wsbus_answer a = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    struct map_walk walk = {0};
    struct map_node *n;
    kafka_assign_stop(l->assign);
    kafka_handle_free(l->handle);
    l->host->timer_stop(l->again);
    l->host->timer_stop(l->refresh);
    while ((n = map_next(&l->feeds, &walk))) {
        struct live_feed *f = CONTAINER_OF(n, struct live_feed, node);
        uint64_t token = f->topic->state != TOPIC_ON ? f->token : 0;
        feed_free(f);
        if (token) l->host->subscribed(l->host, token, &a, NULL);
    }
    walk = (struct map_walk){0};
    while ((n = map_next(&l->topics, &walk))) {
        struct live_topic *t = CONTAINER_OF(n, struct live_topic, node);
        t->holds++;
        topic_state(t, TOPIC_OVER);
        topic_release(t);
    }
}

void kafka_live_free(struct kafka_live *l)
{
    if (!l) return;
    l->host->timer_free(l->again);
    l->host->timer_free(l->refresh);
    kafka_assign_free(l->assign);
    map_done(&l->topics);
    map_done(&l->feeds);
    free(l);
}
