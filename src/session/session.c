#include "session/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ceiling.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "session/errand.h"
#include "session/inside.h"
#include "session/lane.h"
#include "session/stall.h"
#include "session/subscription.h"

#define BURST_MS 100       /* nobody is too slow who has not been behind for so long, */
#define BURST_TIMES 4      /* unless so many times the limit waits */
#define PAST_LITTLE 16384u /* bytes of a queue that need not stand back */
#define FLUSH_GATHERS 2    /* writes to one socket in a row, before the next one has its turn */

/* ---- states ---------------------------------------------------------------------------------- */

static void end_later(struct session *s)
{
    list_del(&s->ending);
    list_append(&s->w->ending, &s->ending);
}

/* What has changed since the last time. */
static void count_queue(struct session *s)
{
    counter_add(&s->w->counters, COUNTER_QUEUE_BYTES, s->out.bytes - s->counted);
    s->counted = s->out.bytes;
}

static void empty_queue(struct session *s)
{
    stalls_forget(s);
    outq_clear(&s->out);
    laggard_drop(&s->laggard);
    count_queue(s);
}

static void let_go(struct session *s)
{
    empty_queue(s); /* first: what is not there need not be looked for */
    subscriptions_withdraw(s);
    errands_forget(s);
    flush_drop(&s->w->flush, &s->flush);
    timer_stop(s->w->spec.timers, &s->timer);
}

static const char *reason(const struct session *s)
{
    const char *why = s->limit ? s->limit : raw_reason(s);
    return why ? why : close_reason(s->code);
}

/* Nothing here frees what a caller may still hold: that waits for session_settle(). */
static void enter(struct session *s, enum session_state next)
{
    if (next <= s->state) return;
    s->state = (uint8_t)next;
    switch (next) {
    case SESSION_OPEN: return;
    case SESSION_DRAINING: heartbeat_arm(s); return;
    case SESSION_CLOSING:
        heartbeat_arm(s);
        end_later(s);
        return;
    case SESSION_FAILED:
        empty_queue(s);
        flush_drop(&s->w->flush, &s->flush);
        end_later(s);
        return;
    case SESSION_CLOSED:
        if (s->t) s->t->ops->close(s->t, s->code, reason(s));
        let_go(s);
        return;
    case SESSION_GONE:
        s->t = NULL;
        empty_queue(s);
        flush_drop(&s->w->flush, &s->flush);
        end_later(s);
        return;
    }
}

void session_end(struct session *s, enum session_state next, enum close_code code)
{
    if (s->state >= next) return;
    s->code = (uint16_t)code;
    log_debug(log_event("session_closing"), log_s("peer", s->peer), log_i("code", code),
              log_s("reason", reason(s)));
    enter(s, next);
}

bool session_live(const struct session *s)
{
    return s->state <= SESSION_CLOSING;
}

/* ---- the queue ------------------------------------------------------------------------------- */

size_t session_waiting(const struct session *s)
{
    return s->out.bytes + stalls_bytes(s);
}

bool session_room(const struct session *s)
{
    return session_live(s) && (outq_empty(&s->out) || session_waiting(s) < s->w->limits.bytes / 4);
}

/* What is below the queue is a part of it, but for half of the cap at most: a small queue is none
 * that the kernel's buffer alone can fill. */
struct outq_limits session_limits(const struct session *s)
{
    struct outq_limits limits = s->w->limits;

    limits.bytes -= s->below < limits.bytes / 2 ? s->below : limits.bytes / 2;
    return limits;
}

static void weigh(struct session *s)
{
    size_t n = s->behind ? session_waiting(s) : 0;

    if (ceiling_is_set()) laggard_weigh(&s->w->laggards, &s->laggard, n);
}

void session_weigh(struct session *s)
{
    weigh(s);
    count_queue(s);
}

void session_slow(struct session *s)
{
    counter_add(&s->w->counters, COUNTER_LIMIT_QUEUE, 1);
    session_end(s, SESSION_FAILED, CLOSE_SLOW);
}

/* The kernel takes little at a time (limits.unsent_bytes), so a burst fills the queue of a client
 * that reads as fast as it can too. */
static bool is_burst(const struct session *s, size_t n)
{
    const struct session_worker *w = s->w;

    return w->now - s->behind < BURST_MS && s->out.capped + n <= w->limits.bytes * BURST_TIMES;
}

/* The queue is too long for this frame. True: it is queued all the same. */
static bool squeeze(struct session *s, const struct frame *f, uint32_t tag)
{
    struct outq_limits limits = session_limits(s);

    if (s->flush.choked && is_burst(s, f->len)) return true;
    if (!s->flush.choked) {
        /* What was not offered to the socket yet says nothing about the client: it is the turn
         * that is long. The worker takes no more mail before it has written (worker.c). */
        s->w->congested = true;
        return true;
    }
    if (lanes_make_room(s, f->len)) return true;
    if (outq_kind(tag) != OUTQ_LOSSY) {
        session_slow(s);
        return false;
    }
    limits.ms = 0; /* the others are old: that is no reason to lose this one */
    if (outq_judge(&s->out, f->len, s->w->now, limits) == OUTQ_OK) return true;
    lane_refuse(s, outq_lane(tag), f);
    return false;
}

/* What has been queued behind much of the past waits with it: whoever has many live channels too must
 * not have more than the share of replays. */
static struct fan_group *list_for(const struct session *s, struct fan_group *group)
{
    return s->out.bytes > PAST_LITTLE && outq_paced(&s->out) ? &s->w->flush.replays : group;
}

void session_push(struct session *s, struct slip *slip, uint32_t tag, struct fan_group *group)
{
    struct session_worker *w = s->w;
    bool taken = true;

    if (!session_live(s)) return;
    if (stalls_some(s) && slip != w->ping) stalls_take(s, SIZE_MAX);
    if (tag != OUTQ_PACED && s->out.bytes > 0) {
        struct outq_limits limits = s->flush.choked ? session_limits(s) : w->limits;
        taken = outq_judge(&s->out, slip->frame->len, w->now, limits) == OUTQ_OK ||
                squeeze(s, slip->frame, tag);
    }
    if (taken) outq_push(&s->out, slip, tag, w->now);
    if (s->behind) session_weigh(s);
    if (stalls_some(s)) stalls_arm(s);
    if (taken) flush_mark(&w->flush, &s->flush, list_for(s, group));
}

void session_shed(struct session *s)
{
    size_t before = session_waiting(s);

    counter_add(&s->w->counters, COUNTER_LIMIT_MEMORY, 1);
    lanes_clear(s);
    stalls_drop(s);
    session_weigh(s);
    if (session_waiting(s) > before / 2)
        session_end(s, SESSION_FAILED, CLOSE_SLOW);
    else
        stalls_arm(s);
}

struct buf *session_writer(struct session *s)
{
    buf_clear(&s->w->out);
    return &s->w->out;
}

struct slip *session_slip(struct session *s)
{
    struct buf *out = &s->w->out;
    struct slip *slip = slip_new(frame_new(FRAME_TEXT, buf_view(out)));

    buf_shrink(out, SESSION_OUT_KEEP);
    return slip;
}

void session_tell(struct session *s, enum outq_kind kind, struct fan_group *group)
{
    struct slip *slip = session_slip(s);

    session_push(s, slip, kind, group);
    slip_unref(slip);
}

void session_reply(struct session *s, enum outq_kind kind)
{
    session_tell(s, kind, NULL);
}

void session_flush(struct session *s)
{
    struct session_worker *w = s->w;
    enum transport_result result = TRANSPORT_OK;

    if (w->now >= s->ride_from) heartbeat_ride(s);
    for (int i = 0; i < FLUSH_GATHERS && result == TRANSPORT_OK && !outq_empty(&s->out); i++) {
        if (stalls_some(s)) stalls_take(s, FLUSH_GATHER);
        if (s->out.gaps > 0) lanes_tell(s);
        result = flush_write(&w->flush, &s->out, s->t);
    }
    if (result == TRANSPORT_DEAD) {
        s->t = NULL;
        enter(s, SESSION_CLOSED);
        return;
    }
    s->flush.choked = result == TRANSPORT_CHOKED;
    if (s->flush.choked) {
        s->choked_at = w->now;
        s->choked_in = w->round;
        s->below = s->t->ops->waiting(s->t);
        if (s->behind == 0) s->behind = w->now;
    } else if (outq_empty(&s->out)) {
        s->behind = 0;
    }
    if (stalls_some(s)) stalls_written(s);
    count_queue(s);
    if (s->behind || s->laggard.weight) weigh(s);
    if (!outq_empty(&s->out)) flush_mark(&w->flush, &s->flush, list_for(s, NULL));
    session_progress(s);
}

void session_progress(struct session *s)
{
    /* With each write, and hardly ever is there anything. */
    if (!list_empty(&s->hungry)) subscriptions_pull(s);
    if (!list_empty(&s->histories)) errands_history(s);
    if (s->raw) raw_progress(s);
    if (s->state == SESSION_CLOSING) end_later(s);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static void welcome(struct session *s)
{
    const struct config *c = s->w->spec.config;
    char name[17];
    struct reply_welcome r = {
        .session = name,
        .ping_ms = c->limits.ping_ms,
        .auth = "anonymous",
        .message_bytes = c->limits.message_bytes,
        .frame_bytes = c->limits.frame_bytes,
        .subscriptions = c->limits.subscriptions,
        .history = c->limits.history,
    };

    snprintf(name, sizeof name, "%016llx", (unsigned long long)random_u64());
    reply_welcome(session_writer(s), &r);
    session_reply(s, OUTQ_CAPPED);
    log_debug(log_event("session_open"), log_s("peer", s->peer), log_s("session", name));
}

static struct session *session_new(struct session_worker *w, struct transport *t, const char *peer)
{
    struct span name = span_str(peer ? peer : "");
    struct session *s = mem_zero(sizeof *s + name.n + 1);

    s->w = w;
    s->t = t;
    memcpy(s->peer, name.p, name.n);
    outq_init(&s->out);
    flush_node_init(&s->flush);
    laggard_init(&s->laggard);
    heartbeat_init(s);
    list_init(&s->ending);
    list_init(&s->subscriptions);
    list_init(&s->hungry);
    list_init(&s->stalls);
    list_init(&s->errands);
    list_init(&s->histories);
    list_append(&w->sessions, &s->node);
    w->count++;
    counter_add(&w->counters, COUNTER_SESSIONS, 1);
    return s;
}

static void begin(struct session *s)
{
    struct session_worker *w = s->w;

    w->now = clock_ticks();
    s->leave = UINT64_MAX;
    heartbeat_begin(s);
    if (s->raw)
        raw_begin(s);
    else
        welcome(s);
    if (w->draining)
        session_goaway(s, worker_retry_after(w), w->now);
    else
        heartbeat_arm(s);
}

struct session *session_open(struct session_worker *w, struct transport *t, const char *peer)
{
    struct session *s = session_new(w, t, peer);

    begin(s);
    return s;
}

struct session *session_open_raw(struct session_worker *w, struct transport *t, const char *peer,
                                 struct raw *raw)
{
    struct session *s = session_new(w, t, peer);

    s->raw = raw;
    begin(s);
    return s;
}

bool session_listens(const struct session *s)
{
    return s->state <= SESSION_DRAINING;
}

void session_text(struct session *s, struct span text)
{
    struct session_worker *w = s->w;

    w->now = s->alive = clock_ticks();
    if (!session_listens(s)) return;
    counter_add(&w->counters, COUNTER_FRAMES_IN, 1);
    counter_add(&w->counters, COUNTER_BYTES_IN, text.n);
    if (!budget_take(&s->budget, &w->rates, BUDGET_FRAMES, 1, w->now))
        session_limit(s, "limits.frames_per_second", COUNTER_LIMIT_FRAMES);
    else if (!budget_take(&s->budget, &w->rates, BUDGET_BYTES, text.n, w->now))
        session_limit(s, "limits.bytes_per_second", COUNTER_LIMIT_BYTES);
    else if (s->raw)
        raw_message(s, text);
    else
        session_command(s, text);
}

void session_writable(struct session *s)
{
    struct session_worker *w = s->w;

    w->now = clock_ticks();
    stalls_woken(s);
    s->flush.choked = false;
    if (outq_empty(&s->out)) s->behind = 0;
    if (session_live(s) && !outq_empty(&s->out))
        flush_mark(&w->flush, &s->flush, list_for(s, NULL));
}

/* ---- end ------------------------------------------------------------------------------------- */

void session_goaway(struct session *s, uint64_t retry_after, uint64_t due)
{
    if (s->state != SESSION_OPEN) return;
    if (!s->raw) {
        reply_goaway(session_writer(s), "restart", retry_after);
        session_reply(s, OUTQ_CAPPED);
    }
    s->leave = due;
    enter(s, SESSION_DRAINING);
}

void session_fail(struct session *s, enum close_code code)
{
    s->w->now = clock_ticks();
    if (code == CLOSE_TOO_BIG) counter_add(&s->w->counters, COUNTER_LIMIT_FRAME_BYTES, 1);
    session_end(s, SESSION_CLOSING, code);
}

void session_exceeds(struct session *s, const char *option, enum counter which)
{
    s->w->now = clock_ticks();
    session_limit(s, option, which);
}

void session_gone(struct session *s)
{
    s->w->now = clock_ticks();
    log_debug(log_event("session_gone"), log_s("peer", s->peer), log_i("code", s->code));
    enter(s, SESSION_GONE);
}

/* An unsubscribe that is not confirmed is true all the same: the session gets nothing more. */
static void answer_subscriptions(struct session *s)
{
    while (!list_empty(&s->subscriptions)) {
        struct subscription *sub = LIST_ITEM(s->subscriptions.next, struct subscription, node);
        char *asked = subscription_take_asked(sub), *left = subscription_take_left(sub);
        struct span channel = subscription_channel(sub);
        struct reply_error e = {
            .id = span_str(asked), .channel = channel, .code = ERR_BUS_UNAVAILABLE};

        if (asked) session_error(s, &e);
        subscription_release(sub, false);
        if (left) {
            reply_unsubscribed(session_writer(s), span_str(left), channel, NULL);
            session_reply(s, OUTQ_CAPPED);
        }
        subscription_release(sub, true);
        free(asked);
        free(left);
        subscription_withdraw(sub);
    }
}

void session_cut(struct session *s, enum close_code code)
{
    session_end(s, SESSION_CLOSING, code);
    if (s->state != SESSION_CLOSING) return;
    answer_subscriptions(s);
    errands_fail(s);
    while (s->state == SESSION_CLOSING && !outq_empty(&s->out) && !s->flush.choked)
        session_flush(s);
    if (s->state == SESSION_CLOSING) enter(s, SESSION_CLOSED);
}

static bool is_done(const struct session *s)
{
    return outq_empty(&s->out) && list_empty(&s->subscriptions) && list_empty(&s->errands) &&
           list_empty(&s->histories);
}

static void session_free(struct session *s)
{
    let_go(s);
    list_del(&s->node);
    raw_free(s->raw);
    s->w->count--;
    counter_sub(&s->w->counters, COUNTER_SESSIONS, 1);
    free(s);
}

void session_settle(struct session *s)
{
    switch ((enum session_state)s->state) {
    case SESSION_CLOSING:
        subscriptions_close(s);
        if (is_done(s)) enter(s, SESSION_CLOSED);
        return;
    case SESSION_FAILED: enter(s, SESSION_CLOSED); return;
    case SESSION_GONE: session_free(s); return;
    case SESSION_OPEN:
    case SESSION_DRAINING:
    case SESSION_CLOSED: return;
    }
}
