#include "session/subscription.h"

#include <stdlib.h>

#include "base/mem.h"
#include "session/lane.h"
#include "session/stall.h"

#define HELD_MAX 64u /* for one subscription; more are sent at once */

struct held {
    struct held *next;
    struct slip *slip;
    bool left; /* waits for the answer to the unsubscribe */
};

static uint64_t name_hash(const struct session *s, struct span channel)
{
    return hash_span(channel) ^ hash_u64((uint64_t)(uintptr_t)s);
}

static char *id_copy(struct span id)
{
    return id.p ? mem_dup(id.p, id.n) : NULL;
}

static char *take(char **id)
{
    char *p = *id;

    *id = NULL;
    return p;
}

struct subscription *subscription_new(struct session *s, unsigned bus, struct span channel,
                                      struct span id)
{
    struct subscription *sub = mem_zero(sizeof *sub + channel.n);

    sub->session = s;
    sub->number = worker_number(s->w);
    sub->bus = (uint16_t)bus;
    sub->state = SUB_PENDING;
    sub->asked = id_copy(id);
    sub->channel_len = (uint8_t)channel.n;
    memcpy(sub->channel, channel.p, channel.n);
    list_init(&sub->hungry);
    list_append(&s->subscriptions, &sub->node);
    map_insert(&s->w->subscriptions, &sub->by_number, hash_u64(sub->number));
    map_insert(&s->w->names, &sub->by_name, name_hash(s, channel));
    s->subscribed++;
    counter_add(&s->w->counters, COUNTER_SUBSCRIPTIONS, 1);
    return sub;
}

struct subscription *subscription_find(struct session_worker *w, uint64_t number)
{
    struct map_node *n = map_find(&w->subscriptions, hash_u64(number));

    for (; n; n = map_again(n)) {
        struct subscription *sub = CONTAINER_OF(n, struct subscription, by_number);
        if (sub->number == number) return sub;
    }
    return NULL;
}

struct subscription *subscription_named(struct session *s, struct span channel)
{
    struct map_node *n = map_find(&s->w->names, name_hash(s, channel));

    for (; n; n = map_again(n)) {
        struct subscription *sub = CONTAINER_OF(n, struct subscription, by_name);
        if (sub->session == s && sub->state != SUB_LEAVING &&
            span_eq(subscription_channel(sub), channel))
            return sub;
    }
    return NULL;
}

struct span subscription_channel(const struct subscription *sub)
{
    return span_of(sub->channel, sub->channel_len);
}

struct fan_seat subscription_seat(struct subscription *sub)
{
    struct session *s = sub->session;
    struct fan_seat seat = {.member = &sub->member, .owner = s, .tag = sub->tag};

    if (s->raw) seat.flags |= SEAT_RAW;
    if (sub->lane && sub->lane->many) seat.flags |= SEAT_SEES;
    return seat;
}

/* ---- replies in order ------------------------------------------------------------------------ */

struct subscription *subscription_awaited(struct session *s, struct span channel)
{
    struct map_node *n = map_find(&s->w->names, name_hash(s, channel));
    struct subscription *newest = NULL;

    for (; n; n = map_again(n)) {
        struct subscription *sub = CONTAINER_OF(n, struct subscription, by_name);
        if (sub->session != s || !span_eq(subscription_channel(sub), channel)) continue;
        if (!newest || sub->number > newest->number) newest = sub;
    }
    if (newest && newest->state != SUB_PENDING && newest->state != SUB_LEAVING) return NULL;
    return newest;
}

void subscription_hold(struct subscription *sub, struct slip *slip)
{
    struct held **at = &sub->held;
    unsigned count = 0;

    for (; *at; at = &(*at)->next)
        count++;
    if (count >= HELD_MAX) {
        session_push(sub->session, slip, OUTQ_CAPPED, NULL);
        slip_unref(slip);
        return;
    }
    *at = mem_zero(sizeof **at);
    (*at)->slip = slip;
    (*at)->left = sub->state == SUB_LEAVING;
}

void subscription_release(struct subscription *sub, bool left)
{
    struct held *h;

    while ((h = sub->held) && (left || !h->left)) {
        sub->held = h->next;
        session_push(sub->session, h->slip, OUTQ_CAPPED, NULL);
        slip_unref(h->slip);
        free(h);
    }
}

static void held_free(struct subscription *sub)
{
    struct held *h;

    while ((h = sub->held)) {
        sub->held = h->next;
        slip_unref(h->slip);
        free(h);
    }
}

/* ---- states ---------------------------------------------------------------------------------- */

static void stop_pulling(struct subscription *sub)
{
    list_del(&sub->hungry);
    if (sub->pulling) sub->session->pulling--;
    sub->pulling = false;
}

void subscription_replays(struct subscription *sub)
{
    sub->past = true;
    sub->session->replays++;
}

static void end_replay(struct subscription *sub)
{
    if (sub->past) sub->session->replays--;
    sub->past = false;
}

static void enter(struct subscription *sub, enum subscription_state next, uint64_t channel)
{
    struct session *s = sub->session;

    sub->state = (uint8_t)next;
    switch (next) {
    case SUB_PENDING: return;
    case SUB_REPLAY:
        list_append(&s->hungry, &sub->hungry);
        subscriptions_pull(s);
        return;
    case SUB_LIVE:
        end_replay(sub);
        fanout_join(&s->w->fanout, channel, subscription_seat(sub));
        return;
    case SUB_LEAVING:
        end_replay(sub);
        s->subscribed--;
        s->leaving++;
        counter_sub(&s->w->counters, COUNTER_SUBSCRIPTIONS, 1);
        return;
    }
}

void subscription_confirm(struct subscription *sub, uint64_t channel)
{
    if (sub->state == SUB_PENDING) enter(sub, channel ? SUB_LIVE : SUB_REPLAY, channel);
}

void subscription_chunk(struct subscription *sub, uint64_t channel)
{
    if (sub->state != SUB_REPLAY || !sub->pulling) return;
    stop_pulling(sub);
    enter(sub, channel ? SUB_LIVE : SUB_REPLAY, channel);
    /* What this one no longer expects is room for another. */
    subscriptions_pull(sub->session);
}

void subscription_leave(struct subscription *sub, struct span id)
{
    struct session_worker *w = sub->session->w;

    sub->left = id_copy(id);
    enter(sub, SUB_LEAVING, 0);
    worker_tell(w, sub->bus, mail_leave_new(MAIL_UNSUBSCRIBE, w->spec.index, sub->number, true));
}

void subscription_free(struct subscription *sub)
{
    struct session *s = sub->session;

    stall_end(sub);
    stop_pulling(sub);
    lane_free(sub);
    end_replay(sub);
    fanout_leave(&s->w->fanout, &sub->member);
    map_remove(&s->w->subscriptions, &sub->by_number);
    map_remove(&s->w->names, &sub->by_name);
    list_del(&sub->node);
    if (sub->state == SUB_LEAVING) {
        s->leaving--;
    } else {
        s->subscribed--;
        counter_sub(&s->w->counters, COUNTER_SUBSCRIPTIONS, 1);
    }
    held_free(sub);
    free(sub->asked);
    free(sub->left);
    free(sub);
}

void subscription_withdraw(struct subscription *sub)
{
    struct session_worker *w = sub->session->w;

    if (sub->state != SUB_LEAVING)
        worker_tell(w, sub->bus,
                    mail_leave_new(MAIL_UNSUBSCRIBE, w->spec.index, sub->number, false));
    subscription_free(sub);
}

char *subscription_take_asked(struct subscription *sub)
{
    return take(&sub->asked);
}

char *subscription_take_left(struct subscription *sub)
{
    return take(&sub->left);
}

/* ---- all of a session ------------------------------------------------------------------------ */

/* What was asked for and is not here yet counts as if it were; the first may always be asked for,
 * so that a small queue is no dead end. */
static bool may_pull(const struct session *s)
{
    size_t cap = s->w->limits.bytes / 4;
    size_t coming = ((size_t)s->pulling + 1) * REPLAY_CHUNK_BYTES;

    return session_room(s) && (s->pulling == 0 || session_waiting(s) + coming <= cap);
}

void subscriptions_pull(struct session *s)
{
    struct session_worker *w = s->w;

    while (!list_empty(&s->hungry) && may_pull(s)) {
        struct subscription *sub = LIST_ITEM(list_pop(&s->hungry), struct subscription, hungry);
        sub->pulling = true;
        s->pulling++;
        worker_tell(w, sub->bus, mail_leave_new(MAIL_PULL, w->spec.index, sub->number, false));
    }
}

static bool is_awaited(const struct subscription *sub)
{
    return (sub->state == SUB_PENDING || sub->state == SUB_LEAVING) &&
           (sub->asked || sub->left || sub->held);
}

void subscriptions_close(struct session *s)
{
    struct list *n = s->subscriptions.next, *next;

    for (; n != &s->subscriptions; n = next) {
        struct subscription *sub = LIST_ITEM(n, struct subscription, node);
        next = n->next;
        if (!is_awaited(sub)) subscription_withdraw(sub);
    }
}

void subscriptions_withdraw(struct session *s)
{
    while (!list_empty(&s->subscriptions))
        subscription_withdraw(LIST_ITEM(s->subscriptions.next, struct subscription, node));
}
