#include "hub/feed.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/pass.h"
#include "protocol/cursor.h"

static void on_linger(struct timer *t);
static void on_tick(struct timer *t);
static void on_retry(struct timer *t);

/* The one place where a feed's state changes. */
static void feed_state(struct feed *f, enum feed_state state)
{
    f->state = state;
    f->round = 0;
    if (state == FEED_LIVE) {
        bus_timer(f->bus, &f->tick, POSITION_INTERVAL);
        return;
    }
    timer_stop(bus_timers(f->bus), &f->tick);
    timer_stop(bus_timers(f->bus), &f->retry);
    if (state != FEED_STOPPED) return;
    map_remove(&f->bus->tokens_of_feeds, &f->by_token);
    pass_forget(f);
    pass_detach(f);
    ring_clear(&f->ring);
    cursor_free(f->position);
    f->position = NULL;
    list_del(&f->late);
    for (unsigned w = 0; w < f->bus->worker_count; w++) {
        cursor_free(f->workers[w].behind);
        f->workers[w] = (struct feed_worker){0};
    }
}

static uint64_t topic_hash(struct span topic, unsigned caps)
{
    return hash_span(topic) ^ caps;
}

static struct feed *feed_new(struct hub_bus *b, const struct mail_ask *ask)
{
    struct feed *f = mem_zero(sizeof *f + b->worker_count * sizeof f->workers[0]);
    const struct config *c = b->config;

    f->bus = b;
    f->topic = mem_dup(ask->topic.p, ask->topic.n);
    f->topic_len = ask->topic.n;
    f->caps = ask->caps;
    f->rule = ask->rule;
    list_init(&f->followers);
    list_init(&f->late);
    list_init(&f->waiting);
    list_init(&f->parked);
    list_init(&f->reading);
    list_init(&f->pieces);
    list_init(&f->whole);
    list_init(&f->order);
    map_init(&f->keyed);
    map_init(&f->named);
    ring_init(&f->ring, (size_t)c->replay.ring_messages, (size_t)c->replay.ring_bytes,
              (size_t)c->replay.ring_keys);
    timer_init(&f->linger, on_linger);
    timer_init(&f->tick, on_tick);
    timer_init(&f->retry, on_retry);
    map_insert(&b->feeds, &f->by_topic, topic_hash(ask->topic, ask->caps));
    counter_add(&b->counters, COUNTER_FEEDS, 1);
    return f;
}

static void feed_free(struct feed *f)
{
    timer_stop(bus_timers(f->bus), &f->linger);
    map_remove(&f->bus->feeds, &f->by_topic);
    counter_sub(&f->bus->counters, COUNTER_FEEDS, 1);
    map_done(&f->keyed);
    map_done(&f->named);
    ring_done(&f->ring);
    free(f->topic);
    free(f);
}

struct feed *feed_get(struct hub_bus *b, const struct mail_ask *ask)
{
    struct map_node *n = map_find(&b->feeds, topic_hash(ask->topic, ask->caps));

    for (; n; n = map_again(n)) {
        struct feed *f = CONTAINER_OF(n, struct feed, by_topic);
        if (f->caps == ask->caps && span_eq(span_of(f->topic, f->topic_len), ask->topic)) return f;
    }
    return feed_new(b, ask);
}

struct feed *feed_by_token(struct hub_bus *b, uint64_t token)
{
    struct map_node *n = map_find(&b->tokens_of_feeds, hash_u64(token));

    for (; n; n = map_again(n)) {
        struct feed *f = CONTAINER_OF(n, struct feed, by_token);
        if (f->token == token) return f;
    }
    return NULL;
}

struct wsbus_topic feed_topic(const struct feed *f)
{
    return (struct wsbus_topic){f->topic, f->topic_len, f->rule->values};
}

void feed_wake(struct feed *f)
{
    timer_stop(bus_timers(f->bus), &f->linger);
    if (f->state != FEED_STOPPED || !bus_instance(f->bus)) return;
    f->token = bus_number(f->bus);
    map_insert(&f->bus->tokens_of_feeds, &f->by_token, hash_u64(f->token));
    feed_state(f, FEED_STARTING);
    bus_subscribe(f->bus, f->token, feed_topic(f));
}

static void on_linger(struct timer *t)
{
    struct feed *f = CONTAINER_OF(t, struct feed, linger);

    if (f->state != FEED_STARTING && f->state != FEED_LIVE) return;
    if (!bus_instance(f->bus)) return;
    feed_state(f, FEED_STOPPING);
    f->bus->backend->unsubscribe(bus_instance(f->bus), f->token);
}

static void on_tick(struct timer *t)
{
    struct feed *f = CONTAINER_OF(t, struct feed, tick);

    bus_timer(f->bus, &f->tick, channel_positions(f) ? 1 : POSITION_INTERVAL);
}

/* A read to bring a worker forward found no bus. */
static void on_retry(struct timer *t)
{
    struct feed *f = CONTAINER_OF(t, struct feed, retry);

    for (unsigned w = 0; w < f->bus->worker_count; w++)
        feed_catch_up(f, w);
}

void feed_release(struct feed *f)
{
    if (--f->users > 0) return;
    if (f->state == FEED_STOPPED)
        feed_free(f);
    else
        bus_timer(f->bus, &f->linger, f->bus->config->linger);
}

/* Those who wait, now that it is decided; each may be gone when the next is looked at. */
static void feed_settle_waiting(struct feed *f, const struct wsbus_answer *refusal)
{
    struct list waiting, *n;

    list_init(&waiting);
    list_move(&waiting, &f->waiting);
    f->users++; /* held while we walk */
    while ((n = list_pop(&waiting))) {
        struct follower *s = LIST_ITEM(n, struct follower, link);
        if (refusal)
            follower_refuse(s, error_of_status(refusal->status), refusal->words);
        else
            follower_admit(s);
    }
    feed_release(f);
}

void feed_on_subscribed(struct feed *f, const struct wsbus_answer *a,
                        const struct wsbus_cursor *cursor)
{
    if (a->status != WSBUS_OK) {
        feed_state(f, FEED_STOPPED);
        feed_settle_waiting(f, a);
        return;
    }
    f->position = cursor_copy(cursor);
    if (cursor) ring_begin(&f->ring, cursor);
    feed_state(f, FEED_LIVE);
    feed_settle_waiting(f, NULL);
}

void feed_on_unsubscribed(struct feed *f)
{
    feed_state(f, FEED_STOPPED);
    if (f->users > 0)
        feed_wake(f);
    else
        feed_free(f);
}

/* Without a reason nobody is told, because nobody is there to hear it. */
static void feed_end_followers(struct feed *f, const char *reason)
{
    while (!list_empty(&f->followers)) {
        struct follower *s = LIST_ITEM(f->followers.next, struct follower, of_feed);
        if (reason)
            follower_end(s, reason);
        else
            follower_free(s);
    }
}

void feed_on_ended(struct feed *f, const struct wsbus_answer *a)
{
    f->users++;
    feed_state(f, FEED_STOPPED);
    feed_end_followers(f, a->words ? a->words : error_default(error_of_status(a->status)));
    feed_release(f);
}

void feed_abandon(struct feed *f)
{
    struct wsbus_answer gone = {WSBUS_UNAVAILABLE, "the bridge is stopping"};

    f->users++;
    if (f->state != FEED_STOPPED) feed_state(f, FEED_STOPPED);
    feed_settle_waiting(f, &gone);
    feed_end_followers(f, NULL);
    feed_release(f);
}
