#include "base/clock.h"
#include "session/inside.h"
#include "session/stall.h"

#define GATHER_MS 64u
#define OFTEN_MS (16u * GATHER_MS) /* pings that are no more than that apart keep their time */
#define RIDE_PART 16u              /* of the time between pings, by which one may be early */

static uint64_t silence_allowed(const struct session *s)
{
    return s->w->spec.config->limits.ping_ms + s->w->spec.config->limits.pong_ms;
}

/* One timer does for all: the state says what it is for. */
void heartbeat_arm(struct session *s)
{
    struct session_worker *w = s->w;
    uint64_t due = 0, silent = s->alive + silence_allowed(s);

    switch ((enum session_state)s->state) {
    case SESSION_OPEN:
    case SESSION_DRAINING:
        due = s->leave;
        if (w->spec.config->limits.ping_ms == 0) break;
        if (silent < due) due = silent;
        if (s->ping_due < due) due = s->ping_due;
        break;
    case SESSION_CLOSING:
        due = w->now + SESSION_CLOSE_MS;
        if (w->draining && due > w->drain_end) due = w->drain_end;
        break;
    case SESSION_FAILED:
    case SESSION_CLOSED:
    case SESSION_GONE: return;
    }
    if (due < UINT64_MAX) timer_set(w->spec.timers, &s->timer, due);
}

/* Where pings are rare, those of GATHER_MS go out together: to be woken costs the most of one. */
static void ping_at(struct session *s, uint64_t at)
{
    uint64_t every = s->w->spec.config->limits.ping_ms;

    if (every >= OFTEN_MS) at = (at + GATHER_MS - 1) / GATHER_MS * GATHER_MS;
    s->ping_due = at;
    s->ride_from = every < OFTEN_MS ? UINT64_MAX : s->ping_due - every / RIDE_PART;
}

/* By as much as a ping goes out late (the process stood still), the silence was ours. */
static void ping(struct session *s)
{
    struct session_worker *w = s->w;
    uint64_t every = w->spec.config->limits.ping_ms;

    if (every && w->now >= s->ping_due) {
        s->alive += w->now - (s->alive > s->ping_due ? s->alive : s->ping_due);
        session_push(s, w->ping, OUTQ_CAPPED, NULL);
        ping_at(s, w->now + every);
    }
    if (every && w->now - s->alive >= silence_allowed(s)) {
        counter_add(&w->counters, COUNTER_LIMIT_PONG_MS, 1);
        session_end(s, SESSION_FAILED, CLOSE_NO_PONG);
        return;
    }
    heartbeat_arm(s);
}

/* Never late: that is ping()'s, who knows whose the silence was. The timer stays as it is and finds
 * nothing to do. The next one is due a constant time after this one was: reckoned from now, those who
 * have ridden on one message would all be due at once. */
void heartbeat_ride(struct session *s)
{
    const struct session_worker *w = s->w;
    uint64_t every = w->spec.config->limits.ping_ms;

    if (w->now >= s->ping_due || !session_live(s) || outq_empty(&s->out) || stalls_some(s)) return;
    outq_push(&s->out, w->ping, OUTQ_CAPPED, w->now);
    ping_at(s, s->ping_due + every - every / RIDE_PART);
}

static void on_timer(struct timer *t)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);

    s->w->now = clock_ticks();
    switch ((enum session_state)s->state) {
    case SESSION_OPEN:
    case SESSION_DRAINING:
        if (s->w->now >= s->leave)
            session_end(s, SESSION_CLOSING, CLOSE_RESTART);
        else
            ping(s);
        return;
    case SESSION_CLOSING: session_cut(s, s->code); return;
    case SESSION_FAILED:
    case SESSION_CLOSED:
    case SESSION_GONE: return;
    }
}

void heartbeat_init(struct session *s)
{
    timer_init(&s->timer, on_timer);
}

void heartbeat_begin(struct session *s)
{
    const struct session_worker *w = s->w;
    uint64_t every = w->spec.config->limits.ping_ms, early = every / RIDE_PART;

    s->alive = w->now;
    s->ride_from = UINT64_MAX;
    /* Somewhere within the first interval, so that the pings of many do not come in waves; none has to
     * ride with the welcome. */
    if (every) ping_at(s, w->now + 1 + early + random_u64() % (every - early));
}

void session_alive(struct session *s)
{
    s->alive = clock_ticks();
}

void session_ponged(struct session *s)
{
    s->w->now = s->alive = clock_ticks();
    if (s->state > SESSION_DRAINING) return;
    if (!budget_take(&s->budget, &s->w->rates, BUDGET_FRAMES, 1, s->w->now))
        session_limit(s, "limits.frames_per_second", COUNTER_LIMIT_FRAMES);
}

void session_pong(struct session *s, struct span payload)
{
    session_ponged(s);
    if (!session_live(s)) return;
    struct slip *slip = slip_new(frame_new(FRAME_PONG, payload));
    session_push(s, slip, OUTQ_CAPPED, NULL);
    slip_unref(slip);
}
