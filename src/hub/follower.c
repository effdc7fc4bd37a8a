#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/feed.h"
#include "protocol/cursor.h"
#include "protocol/reply.h"

#define TOO_MANY "Too many replays are under way; ask again later."

static bool is_replay(enum follower_state state)
{
    return state == FOLLOWER_LOCATING || state == FOLLOWER_REPLAY;
}

/* The one place where a follower's state changes. */
static void follower_state(struct follower *s, enum follower_state next)
{
    uint32_t more = (uint32_t)is_replay(next) - (uint32_t)is_replay(s->state);

    s->state = next;
    s->bus->replays += more;
    s->feed->replays += more;
    s->channel->replays += more;
}

static uint64_t id_hash(unsigned worker, uint64_t id)
{
    return hash_u64(id ^ ((uint64_t)worker << 48));
}

struct follower *follower_find(struct hub_bus *b, unsigned worker, uint64_t id)
{
    struct map_node *n = map_find(&b->followers, id_hash(worker, id));

    for (; n; n = map_again(n)) {
        struct follower *s = CONTAINER_OF(n, struct follower, by_id);
        if (s->id == id && s->worker == worker) return s;
    }
    return NULL;
}

static void follower_answer(struct follower *s);

static void on_deadline(struct timer *t)
{
    struct follower *s = CONTAINER_OF(t, struct follower, deadline);

    if (s->answer)
        follower_answer(s);
    else if (s->ask)
        follower_refuse(s, ERR_BUS_UNAVAILABLE, NULL);
    else
        replay_pull(s);
}

void follower_new(struct hub_bus *b, struct mail_ask *ask)
{
    struct follower *s = mem_zero(sizeof *s);
    struct feed *f = feed_get(b, ask);

    s->bus = b;
    s->feed = f;
    s->ask = ask;
    s->worker = ask->worker;
    s->id = ask->id;
    list_init(&s->link);
    list_init(&s->pull);
    timer_init(&s->deadline, on_deadline);
    map_insert(&b->followers, &s->by_id, id_hash(s->worker, s->id));
    counter_add(&b->counters, COUNTER_FOLLOWERS, 1);
    list_append(&f->followers, &s->of_feed);
    f->users++;
    if (ask->before) s->before = follower_find(b, s->worker, ask->before);
    if (s->before) s->before->behind = s;
    s->channel = channel_get(f, ask);
    bus_timer(b, &s->deadline, b->config->bus_wait);
    if (f->state == FEED_LIVE) {
        timer_stop(bus_timers(b), &f->linger);
        follower_admit(s);
    } else {
        list_append(&f->waiting, &s->link);
        feed_wake(f);
    }
}

void follower_free(struct follower *s)
{
    struct feed *f = s->feed;
    struct piece *piece = s->pending ? s->pending->piece : s->awaits;

    if (s->state == FOLLOWER_LIVE) channel_leave(s->channel, s->worker);
    follower_state(s, FOLLOWER_WAITING);
    if (s->pending) s->pending->follower = NULL;
    if (s->before) s->before->behind = NULL;
    if (s->behind) s->behind->before = NULL;
    if (s->behind && s->behind->answer) bus_timer(s->bus, &s->behind->deadline, 0);
    timer_stop(bus_timers(s->bus), &s->deadline);
    list_del(&s->link);
    list_del(&s->of_feed);
    list_del(&s->pull);
    if (piece) replay_unwanted(piece);
    map_remove(&s->bus->followers, &s->by_id);
    counter_sub(&s->bus->counters, COUNTER_FOLLOWERS, 1);
    channel_release(s->channel);
    if (s->ask) mail_free(&s->ask->item);
    if (s->answer) mail_free(s->answer);
    wsbus_message_unref(s->first);
    cursor_free(s->at);
    free(s);
    feed_release(f);
}

static void post_left(struct follower *s, bool answer, struct span reason)
{
    struct mail_left *left = mail_left_new(s->id, answer, reason);

    bus_mail(s->bus, s->worker, &left->item);
}

void follower_refuse(struct follower *s, enum error_code code, const char *words)
{
    struct mail_done *d =
        mail_done_new(MAIL_REFUSED, s->id, code, words ? span_str(words) : span_of(NULL, 0));

    if (s->answer) mail_free(s->answer);
    s->answer = &d->item;
    s->refused = true;
    if (s->pending) s->pending->follower = NULL;
    s->pending = NULL;
    if (s->before)
        timer_stop(bus_timers(s->bus), &s->deadline);
    else
        follower_answer(s);
}

void follower_end(struct follower *s, const char *reason)
{
    if (s->ask) {
        follower_refuse(s, ERR_BUS_ERROR, reason);
        return;
    }
    post_left(s, false, span_str(reason));
    follower_free(s);
}

void follower_leave(struct follower *s, bool answer)
{
    if (s->ask && answer) {
        s->leaving = true; /* `subscribed` or its error comes first */
        return;
    }
    if (answer) post_left(s, true, span_of(NULL, 0));
    follower_free(s);
}

/* ---- the answer ------------------------------------------------------------------------------- */

struct verdict {
    const struct wsbus_cursor *cursor;
    enum recovered recovered;
    const char *reason;
    uint64_t channel; /* a member from here on */
    bool limited;     /* older ones are left out */
};

static void tell_limit(struct follower *s)
{
    struct wsbus_cursor *all = cursor_new(0); /* where it would have begun: the beginning */

    replay_gap(s, "limit", all, s->at);
    cursor_free(all);
}

/* Posts the answer that is ready; the follower may be gone then. */
static void follower_answer(struct follower *s)
{
    bus_mail(s->bus, s->worker, s->answer);
    s->answer = NULL;
    timer_stop(bus_timers(s->bus), &s->deadline);
    mail_free(&s->ask->item);
    s->ask = NULL;
    if (s->leaving) post_left(s, true, span_of(NULL, 0));
    if (s->leaving || s->refused)
        follower_free(s);
    else if (s->limited)
        tell_limit(s);
}

/* A client that has left and asked again before the first answer gets its answers in that order,
 * though the place of the second was found first. */
static void follower_confirm(struct follower *s, const struct verdict *v)
{
    struct hub_bus *b = s->bus;
    struct mail_subscribed *m;

    buf_clear(&b->scratch);
    cursor_write(&b->scratch, s->channel->history ? v->cursor : NULL, b->backend);
    m = mail_subscribed_new(s->id, buf_view(&b->scratch));
    m->channel = v->channel;
    m->recovered = v->recovered;
    m->reason = v->reason;
    s->answer = &m->item;
    s->limited = v->limited;
    if (s->before)
        timer_stop(bus_timers(b), &s->deadline);
    else
        follower_answer(s);
}

void follower_live(struct follower *s)
{
    follower_state(s, FOLLOWER_LIVE);
    channel_join(s->channel, s->worker);
    cursor_free(s->at);
    s->at = NULL;
}

static void admit_now(struct follower *s)
{
    struct verdict v = {.cursor = feed_front(s->feed, s->worker), .channel = s->channel->number};

    follower_live(s);
    follower_confirm(s, &v);
}

/* Begins a replay at `at` (taken over); `cursor` is what the client is told. */
static void admit_replay(struct follower *s, struct wsbus_cursor *at, const struct verdict *v)
{
    follower_state(s, FOLLOWER_REPLAY);
    s->at = at;
    follower_confirm(s, v);
}

/* From now on, but its answer has to wait: so what comes meanwhile is a replay. */
static void admit_now_later(struct follower *s)
{
    struct verdict v = {.cursor = feed_front(s->feed, s->worker)};

    s->silent = true;
    admit_replay(s, cursor_copy(v.cursor), &v);
}

void follower_locate(struct follower *s)
{
    struct mail_ask *ask = s->ask;
    struct wsbus_locate l = {
        .topic = feed_topic(s->feed),
        .key = ask->key.p,
        .key_len = ask->key.n,
        .cursor = ask->cursor,
        .time = ask->number,
        .count = (uint64_t)ask->number,
        .max_messages = s->bus->config->replay.max_messages,
    };

    switch (ask->from) {
    case FROM_AFTER: l.place = WSBUS_AFTER; break;
    case FROM_TIME: l.place = WSBUS_AT_TIME; break;
    case FROM_AGO:
        l.place = WSBUS_AT_TIME;
        l.time = clock_wall() - ask->number;
        break;
    case FROM_LAST:
        l.place = WSBUS_LAST;
        l.until = feed_front(s->feed, s->worker);
        break;
    default: l.place = WSBUS_EARLIEST; break;
    }
    if (s->answer) return; /* it was refused, and that waits for another one's answer */
    if (!bus_instance(s->bus)) {
        follower_refuse(s, ERR_BUS_UNAVAILABLE, NULL);
        return;
    }
    bus_timer(s->bus, &s->deadline, s->bus->config->bus_wait);
    s->pending = pending_new(s->bus, PENDING_FOLLOWER);
    s->pending->follower = s;
    bus_locate(s->bus, s->pending->token, l);
}

void follower_on_located(struct follower *s, const struct wsbus_answer *a,
                         const struct wsbus_located *l)
{
    bool after = s->ask->from == FROM_AFTER;
    struct verdict v = {0};

    if (a->status != WSBUS_OK) {
        follower_refuse(s, error_of_status(a->status), a->words);
        return;
    }
    v.cursor = l->cursor;
    if (after) {
        v.recovered = l->lost || l->limited ? RECOVERED_NO : RECOVERED_YES;
        v.reason = l->lost ? lost_reason(l->lost) : l->limited ? "limit" : NULL;
    }
    v.limited = l->limited && !after;
    admit_replay(s, cursor_copy(l->cursor), &v);
}

/* ---- from the ring, without asking the backend ------------------------------------------------ */

/* The client's cursor, when the ring holds all that came after it. */
static bool admit_after(struct follower *s)
{
    const struct feed *f = s->feed;
    const struct wsbus_cursor *cursor = s->ask->cursor;
    struct verdict v = {.recovered = RECOVERED_YES};
    struct wsbus_cursor *at;

    if (!ring_covers(&f->ring, cursor)) return false;
    if (ring_count_after(&f->ring, cursor) > s->bus->config->replay.max_messages) return false;
    for (uint32_t i = 0; i < cursor->count; i++) {
        const struct wsbus_pos *end = cursor_get(f->position, cursor->pos[i].partition);
        if (!end || pos_compare(&cursor->pos[i], end) > 0) return false;
    }
    at = cursor_copy(cursor);
    v.cursor = at;
    admit_replay(s, at, &v);
    return true;
}

/* The n newest of one partition (or of one key), when the ring can tell. */
static bool admit_last(struct follower *s)
{
    const struct feed *f = s->feed;
    struct wsbus_message *m;
    struct verdict v = {0};
    struct wsbus_cursor *told;
    struct wsbus_pos before;

    if (f->position->count != 1 || f->workers[s->worker].behind) return false;
    if (s->ask->number == 0 || (uint64_t)s->ask->number > s->bus->config->replay.max_messages)
        return false;
    m = ring_newest(&f->ring, s->channel->key, (uint64_t)s->ask->number);
    if (!m) return false;
    told = cursor_copy(f->position);
    before = pos_before(m->pos);
    cursor_put(&told, &before);
    v.cursor = told;
    if (ring_covers(&f->ring, told)) {
        admit_replay(s, told, &v);
        return true;
    }
    s->first = wsbus_message_ref(m); /* the newest of its key, beyond the ring */
    admit_replay(s, cursor_copy(f->position), &v);
    cursor_free(told);
    return true;
}

void follower_admit(struct follower *s)
{
    enum from_kind from = s->ask->from;

    if (from == FROM_ABSENT || from == FROM_NOW || !s->feed->position) {
        if (s->before && s->feed->position)
            admit_now_later(s);
        else
            admit_now(s);
        return;
    }
    if (s->bus->replays >= s->bus->config->replay.at_once) {
        follower_refuse(s, ERR_BUSY, TOO_MANY);
        return;
    }
    if (from == FROM_AFTER && admit_after(s)) return;
    if (from == FROM_LAST && admit_last(s)) return;
    /* Its place is looked for when it is its turn; the bus's time begins then. */
    follower_state(s, FOLLOWER_LOCATING);
    timer_stop(bus_timers(s->bus), &s->deadline);
    list_append(&s->bus->pulls, &s->pull);
    bus_turn(s->bus);
}
