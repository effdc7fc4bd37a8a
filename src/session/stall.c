#include "session/stall.h"

#include <stdlib.h>

#include "base/ceiling.h"
#include "base/mem.h"
#include "session/lane.h"

#define BATCH 16u /* from so many messages on, */
#define SHARE 16u /* this part of the queue is made free at once */
/* Of those who came together many are too slow at once: with one message so many are looked at, one in
 * so many of all, and of all the part of half a share of the queue that the message is; the others with
 * the next. Each is a walk through memory that nobody has touched for long, and a burst of messages
 * waits for all of these. */
#define LOOKS 8u
#define LOOKS_OF 64u

static struct stall *stall_of(struct list *n)
{
    return LIST_ITEM(n, struct stall, node);
}

static uint64_t left(const struct stall *st)
{
    return st->log->end - st->place;
}

static size_t bytes(const struct stall *st)
{
    return (size_t)(st->log->bytes - st->before);
}

size_t stalls_bytes(const struct session *s)
{
    size_t n = 0;

    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next)
        n += bytes(stall_of(i));
    return n;
}

/* ---- set aside, and back --------------------------------------------------------------------- */

void stall_consider(struct subscription *sub)
{
    struct session *s = sub->session;
    struct session_worker *w = s->w;

    if (w->now - s->choked_at < STALL_MS || s->raw || !list_empty(&sub->hungry)) return;
    list_append(&w->stalling, &sub->hungry);
}

static void begin(struct subscription *sub)
{
    struct session *s = sub->session;
    struct fan_group *g = sub->member.group;
    struct stall *st = mem_zero(sizeof *st);

    if (!g->backlog) g->backlog = backlog_new();
    st->sub = sub;
    st->log = g->backlog;
    st->place = backlog_enter(st->log);
    st->before = st->log->bytes;
    sub->stall = st;
    list_append(&s->stalls, &st->node);
    fanout_aside(&sub->member);
    stalls_arm(s);
}

void stalls_begin(struct session_worker *w)
{
    struct list *n;

    while ((n = list_pop(&w->stalling))) {
        struct subscription *sub = LIST_ITEM(n, struct subscription, hungry);
        const struct session *s = sub->session;
        if (session_live(s) && s->flush.choked && !outq_empty(&s->out)) begin(sub);
    }
}

/* From here on to `place` nothing waits for it there any more. */
static void pass(struct stall *st, uint64_t place)
{
    uint64_t before = backlog_before(st->log, place);

    counter_sub(&st->sub->session->w->counters, COUNTER_QUEUE_BYTES, before - st->before);
    backlog_move(st->log, st->place, place);
    st->place = place;
    st->before = before;
}

static void stall_free(struct stall *st)
{
    struct backlog *log = st->log;

    counter_sub(&st->sub->session->w->counters, COUNTER_QUEUE_BYTES, bytes(st));
    heap_remove(&log->by_bytes, &st->by_bytes);
    heap_remove(&log->by_time, &st->by_time);
    backlog_leave(log, st->place);
    if (log->readers == 0) {
        st->sub->member.group->backlog = NULL;
        backlog_free(log);
    }
    list_del(&st->node);
    st->sub->stall = NULL;
    free(st);
}

void stalls_forget(struct session *s)
{
    while (stalls_some(s))
        stall_free(stall_of(s->stalls.next));
}

void stall_end(struct subscription *sub)
{
    struct session *s = sub->session;

    if (!sub->stall) return;
    stalls_take(s, SIZE_MAX);
    stall_free(sub->stall);
    session_weigh(s);
    stalls_arm(s);
}

/* ---- taking over ----------------------------------------------------------------------------- */

static void take(struct stall *st)
{
    struct subscription *sub = st->sub;
    const struct backlog_entry *e = backlog_at(st->log, st->place);

    if (sub->lane && sub->lane->many) lane_see(sub->lane, e->slip->frame);
    outq_push(&sub->session->out, e->slip, e->message ? sub->tag : OUTQ_CAPPED, e->at);
    pass(st, st->place + 1);
}

void stalls_take(struct session *s, size_t n)
{
    struct heap *order = &s->w->order;
    struct heap_node *first;

    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        if (left(st) > 0) heap_set(order, &st->turn, backlog_at(st->log, st->place)->turn);
    }
    while (s->out.bytes < n && (first = heap_first(order))) {
        struct stall *st = CONTAINER_OF(first, struct stall, turn);
        take(st);
        if (left(st) > 0)
            heap_set(order, first, backlog_at(st->log, st->place)->turn);
        else
            heap_remove(order, first);
    }
    heap_clear(order);
}

void stalls_written(struct session *s)
{
    bool choked = s->flush.choked;

    if (!stalls_some(s)) return;
    /* Something is in the queue as long as something waits. */
    stalls_take(s, choked ? 1 : FLUSH_GATHER);
    if (stalls_bytes(s) > 0 || (choked && !outq_empty(&s->out))) {
        stalls_arm(s);
        return;
    }
    while (stalls_some(s)) {
        struct subscription *sub = stall_of(s->stalls.next)->sub;
        stall_free(sub->stall);
        fanout_back(subscription_seat(sub));
    }
}

/* ---- losing ---------------------------------------------------------------------------------- */

/* The oldest frame, if it can be told: what is in the queue is older than what is in backlogs. */
static bool oldest(struct session *s, uint32_t *ret)
{
    const struct outq_entry *head = outq_first(&s->out);
    bool found = head && head->slip;

    if (found) *ret = head->at;
    if (found || s->out.bytes > 0) return found;
    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        uint32_t at;
        if (left(st) == 0) continue;
        at = backlog_at(st->log, st->place)->at;
        if (!found || (int32_t)(at - *ret) < 0) *ret = at;
        found = true;
    }
    return found;
}

/* More than one frame, or one beside what is in the queue: an empty queue takes any one. */
static bool is_crowd(const struct session *s)
{
    uint64_t n = s->out.bytes > 0;

    for (struct list *i = s->stalls.next; i != &s->stalls && n < 2; i = i->next)
        n += left(stall_of(i));
    return n > 1;
}

static bool fits(struct session *s)
{
    struct outq_limits limits = session_limits(s);
    size_t n = stalls_bytes(s);
    uint32_t at;

    if (n == 0) return true;
    if (s->out.capped + n > limits.bytes && is_crowd(s)) return false;
    if (outq_judge(&s->out, 0, s->w->now, limits) == OUTQ_SLOW) return false;
    return limits.ms == 0 || !oldest(s, &at) || (uint32_t)s->w->now - at <= limits.ms;
}

static void skip(struct stall *st, uint64_t to)
{
    if (to == st->place) return;
    lane_skip(st->sub->lane, st->log, st->place, to);
    pass(st, to);
}

struct lossy {
    uint64_t count;
    uint64_t first, last; /* turns of the oldest and of the newest */
    bool alone;           /* nothing else waits */
};

static struct lossy survey(const struct session *s)
{
    struct lossy r = {.first = UINT64_MAX, .alone = s->out.bytes == 0};

    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        uint64_t turn;
        if (left(st) == 0) continue;
        if (!st->sub->lane) {
            r.alone = false;
            continue;
        }
        r.count += left(st);
        turn = backlog_at(st->log, st->place)->turn;
        if (turn < r.first) r.first = turn;
        turn = backlog_at(st->log, st->log->end - 1)->turn;
        if (turn > r.last) r.last = turn;
    }
    return r;
}

/* What would go if all before this turn did. */
static size_t freed(struct session *s, uint64_t turn)
{
    size_t n = 0;

    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        if (!st->sub->lane) continue;
        n += (size_t)(backlog_before(st->log, backlog_find(st->log, st->place, turn)) - st->before);
    }
    return n;
}

/* The first turn that may stay if so many bytes are to go; the last is too early if all are not
 * enough. */
static uint64_t turn_for(struct session *s, size_t n, const struct lossy *lossy)
{
    uint64_t from = lossy->first, to = lossy->last + 1;

    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (freed(s, middle) < n)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Of a backlog, what is older than this. */
static uint64_t place_by_age(const struct stall *st, uint32_t now, uint64_t ms)
{
    uint64_t from = st->place, to = st->log->end;

    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (now - backlog_at(st->log, middle)->at > ms)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* Drops in backlogs, oldest first. False: there is nothing left to drop. */
static bool skip_some(struct session *s)
{
    struct outq_limits aim = session_limits(s);
    size_t all = s->out.capped + stalls_bytes(s);
    struct lossy lossy = survey(s);
    uint64_t turn;

    if (lossy.count == 0) return false;
    if (lossy.count >= BATCH) {
        aim.bytes -= aim.bytes / SHARE;
        aim.ms -= aim.ms / SHARE;
    }
    turn = all > aim.bytes ? turn_for(s, all - aim.bytes, &lossy) : 0;
    /* The newest has room where there is nothing else. */
    if (lossy.alone && turn > lossy.last) turn = lossy.last;
    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        uint64_t to = st->place, old;
        if (!st->sub->lane) continue;
        if (turn > 0) to = backlog_find(st->log, st->place, turn);
        old = aim.ms > 0 ? place_by_age(st, (uint32_t)s->w->now, aim.ms) : to;
        skip(st, old > to ? old : to);
    }
    return true;
}

static bool make_room(struct session *s)
{
    (void)lanes_make_room(s, stalls_bytes(s));
    while (!fits(s)) {
        uint64_t before = stalls_bytes(s);
        /* What is in the queue is older, and goes first. */
        if (s->out.lossy_count > 0 || !skip_some(s)) return false;
        if (stalls_bytes(s) == before) return false;
    }
    return true;
}

void stalls_drop(struct session *s)
{
    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        if (st->sub->lane) skip(st, st->log->end);
    }
}

void stalls_woken(struct session *s)
{
    if (!stalls_some(s) || !s->flush.choked || fits(s)) return;
    (void)make_room(s);
    session_weigh(s);
}

/* ---- judging --------------------------------------------------------------------------------- */

bool stalls_append(struct session_worker *w, struct fan_group *g, struct slip *slip, bool message)
{
    struct backlog *log = g->backlog;

    if (!log) return false;
    backlog_append(log, slip, message, ++w->last_turn, w->now);
    counter_add(&w->counters, COUNTER_QUEUE_BYTES, (uint64_t)log->readers * slip->frame->len);
    return true;
}

/* Bytes that may come before somebody looks: to the limit, or to where it weighs more. What may be
 * lost is looked at once for each share of the queue, also where others leave no room for it. */
static size_t spare(struct session *s, const struct outq_limits *limits, bool lossy)
{
    size_t waiting = session_waiting(s), all = s->out.capped + stalls_bytes(s);
    size_t room = limits->bytes > all ? limits->bytes - all : 0;
    size_t most = laggard_most(&s->laggard);

    if (lossy && room < limits->bytes / SHARE) room = limits->bytes / SHARE;
    if (!ceiling_is_set()) return room;
    most = most > waiting ? most - waiting : 0;
    return most < room ? most : room;
}

static void arm_by_time(struct stall *st, uint64_t due, uint64_t now, uint64_t ms)
{
    if (due <= now) due = st->sub->lane ? now + ms / SHARE : now;
    heap_set(&st->log->by_time, &st->by_time, due);
}

void stalls_arm(struct session *s)
{
    struct outq_limits limits;
    uint64_t now = s->w->now, count = 1;
    size_t keeps, loses;
    uint32_t at;
    bool dated;

    if (!stalls_some(s)) return;
    limits = session_limits(s);
    dated = limits.ms > 0 && oldest(s, &at);
    keeps = spare(s, &limits, false);
    loses = spare(s, &limits, true);
    for (struct list *i = s->stalls.next->next; i != &s->stalls; i = i->next)
        count++;
    for (struct list *i = s->stalls.next; i != &s->stalls; i = i->next) {
        struct stall *st = stall_of(i);
        size_t share = (st->sub->lane ? loses : keeps) / count;
        heap_set(&st->log->by_bytes, &st->by_bytes, st->log->bytes + share);
        if (dated)
            arm_by_time(st, now - ((uint32_t)now - at) + limits.ms, now, limits.ms);
        else
            heap_remove(&st->log->by_time, &st->by_time);
    }
}

static void judge(struct stall *st)
{
    struct session *s = st->sub->session;
    bool lossy = st->sub->lane;

    if (!fits(s)) {
        if (!s->flush.choked) {
            /* It waits for its turn to be written: that is no slowness of the client. */
            s->w->congested = true;
        } else if (!make_room(s) && !lossy) {
            session_slow(s);
            return;
        }
    }
    session_weigh(s);
    stalls_arm(s);
}

static uint64_t looks_for(const struct session_worker *w, uint64_t readers, uint64_t len)
{
    uint64_t part = w->limits.bytes / SHARE / 2;

    return LOOKS + readers / LOOKS_OF + (len < part ? readers * len / part : readers);
}

void stalls_judge(struct session_worker *w, struct fan_group *g, size_t len)
{
    uint64_t looks = g->backlog ? looks_for(w, g->backlog->readers, len) : 0;
    const struct heap_node *n;

    for (; g->backlog && looks > 0; looks--) {
        struct backlog *log = g->backlog;
        n = heap_first(&log->by_bytes);
        if (n && n->key < log->bytes) {
            judge(CONTAINER_OF(n, struct stall, by_bytes));
            continue;
        }
        n = heap_first(&log->by_time);
        if (!n || n->key >= w->now) return;
        judge(CONTAINER_OF(n, struct stall, by_time));
    }
}
