#include <stdlib.h>

#include "base/bell.h"
#include "base/ceiling.h"
#include "base/clock.h"
#include "base/mem.h"
#include "session/inside.h"
#include "session/stall.h"

#define SLICE_LATE 256      /* sockets written to before the others are looked at */
#define WRITE_US 1000       /* of writing in one go; then what has come meanwhile is looked at */
#define WRITE_SOME 16       /* sockets, between two looks at the clock */
#define SHED_TURN 64        /* sessions that may go in one turn */
#define SHED_PATIENCE 500u  /* ms for other workers, whose sessions are further behind */
#define FAILED_AT_ONCE 16u  /* sessions that failed and are closed in one turn */
#define SETTLE_BYTES 65536u /* of the inbox, dealt with before the posters are told */

/* It is the turn that follows which was waited for. */
static void on_due(struct timer *t)
{
    (void)t;
}

static void on_interval(struct timer *t)
{
    flush_let_go(&CONTAINER_OF(t, struct session_worker, interval)->flush);
}

/* What waits now is written, and what comes next waits until the interval is over; unless queues are
 * full. Nothing waits after an interval in which nothing was written. */
static void hold(struct session_worker *w)
{
    uint64_t interval = w->spec.config->flush_interval;

    if (interval == 0) return;
    if (w->congested) flush_let_go(&w->flush);
    if (w->flush.holds || !w->flush.fresh) return;
    flush_hold(&w->flush);
    timer_set(w->spec.timers, &w->interval, w->now + interval);
}

struct session_worker *session_worker_new(const struct session_worker_spec *spec)
{
    struct session_worker *w = mem_zero(sizeof *w);

    w->spec = *spec;
    w->limits = (struct outq_limits){(size_t)spec->config->limits.queue_bytes,
                                     spec->config->limits.queue_ms};
    budget_rates_init(&w->rates, spec->config);
    w->now = clock_ticks();
    fanout_init(&w->fanout);
    flush_init(&w->flush, &w->fanout);
    if (spec->config->compression.enabled)
        w->flush.packer = packer_new((int)spec->config->compression.level,
                                     (size_t)spec->config->compression.min_bytes);
    map_init(&w->subscriptions);
    map_init(&w->names);
    map_init(&w->errands);
    map_init(&w->lanes);
    laggards_init(&w->laggards, spec->index);
    timer_init(&w->pause, on_due);
    timer_init(&w->interval, on_interval);
    w->late_end = &w->late;
    list_init(&w->stalling);
    heap_init(&w->order);
    list_init(&w->sessions);
    list_init(&w->ending);
    list_init(&w->failed);
    w->failed_at = w->now;
    w->failed_credit = FAILED_AT_ONCE;
    timer_init(&w->failed_due, on_due);
    request_parser_init(&w->parser);
    buf_init(&w->topic, BUF_UNLIMITED); /* bounded by the channel's name and the rule */
    buf_init(&w->out, BUF_UNLIMITED);   /* bounded by the answer of the bus */
    /* With a payload: libwebsockets 4.1 never tells of a pong that has none. */
    w->ping = slip_new(frame_new(FRAME_PING, SPAN(".")));
    return w;
}

void session_worker_buses(struct session_worker *w, struct inbox *const *buses, unsigned count)
{
    w->buses = mem_alloc((count + 1) * sizeof(struct inbox *));
    for (unsigned i = 0; i < count; i++)
        w->buses[i] = buses[i];
    w->bus_count = count;
}

void session_worker_free(struct session_worker *w)
{
    struct inbox_item *item;

    if (!w) return;
    while ((item = w->mail)) {
        w->mail = item->next;
        mail_free(item);
    }
    timer_stop(w->spec.timers, &w->pause);
    timer_stop(w->spec.timers, &w->failed_due);
    timer_stop(w->spec.timers, &w->interval);
    slip_unref(w->ping);
    buf_free(&w->out);
    buf_free(&w->topic);
    request_parser_free(&w->parser);
    heap_done(&w->order);
    map_done(&w->lanes);
    map_done(&w->errands);
    map_done(&w->names);
    map_done(&w->subscriptions);
    packer_free(w->flush.packer);
    flush_done(&w->flush);
    fanout_done(&w->fanout);
    free(w->buses);
    free(w);
}

uint64_t session_worker_count(const struct session_worker *w)
{
    return w->count;
}

struct counters *session_worker_counters(struct session_worker *w)
{
    return &w->counters;
}

uint64_t worker_number(struct session_worker *w)
{
    return ++w->last_number;
}

/* ---- mail ------------------------------------------------------------------------------------ */

bool worker_post(struct session_worker *w, unsigned bus, struct inbox_item *item)
{
    if (++w->posted % BELL_POSTS == 0) bells_ring();
    return inbox_post(w->buses[bus], item);
}

void worker_tell(struct session_worker *w, unsigned bus, struct mail_leave *mail)
{
    inbox_force(w->buses[bus], &mail->item);
}

static void settle(struct session_worker *w, size_t bytes)
{
    if (!inbox_settle(w->spec.inbox, bytes)) return;
    for (unsigned i = 0; i < w->bus_count; i++)
        worker_tell(w, i, mail_leave_new(MAIL_DRAINED, w->spec.index, 0, false));
}

/* At the memory ceiling, and there is something that can go: nothing is added before it has. */
static bool is_crammed(struct session_worker *w)
{
    return ceiling_is_set() && ceiling_over(w->now) && laggards_worst(&w->laggards);
}

static void shed(struct session_worker *w)
{
    struct laggard *n;

    if (!laggards_yield(&w->laggards)) {
        w->yielding = 0;
    } else {
        if (w->yielding == 0) w->yielding = w->now;
        if (w->now - w->yielding < SHED_PATIENCE) return;
    }
    for (int i = 0; i < SHED_TURN && (n = laggards_worst(&w->laggards)); i++) {
        if (!ceiling_over(w->now) || (i > 0 && laggards_yield(&w->laggards))) return;
        session_shed(CONTAINER_OF(n, struct session, laggard));
    }
}

/* Messages that wait to be queued for those whose sockets are choked. */
static void late(struct session_worker *w)
{
    struct inbox_item *item;

    while ((item = w->late)) {
        w->late = item->next;
        session_answer_late(w, item);
    }
    w->late_end = &w->late;
}

static void write_some(struct session_worker *w, unsigned slice)
{
    uint64_t until = clock_us() + WRITE_US;
    struct flush_node *n;

    for (unsigned i = 1; i <= slice && (n = flush_next(&w->flush)); i++) {
        session_flush(CONTAINER_OF(n, struct session, flush));
        flush_done_with(&w->flush);
        if (i % WRITE_SOME == 0 && clock_us() >= until) break;
    }
}

static void keep_late(struct session_worker *w, struct inbox_item *item)
{
    item->next = NULL;
    *w->late_end = item;
    w->late_end = &item->next;
}

static struct inbox_item *next_mail(struct session_worker *w, size_t *bytes)
{
    struct inbox_item *item = w->mail;

    w->mail = item->next;
    if (w->fetched > 0) w->fetched--;
    *bytes += item->bytes;
    return item;
}

/* The oldest, or several. Their bytes. */
static size_t deal_next(struct session_worker *w)
{
    bool live = w->mail->kind == MAIL_LIVE, others = false;
    unsigned row = live ? session_answer_row(w, w->mail, &others) : 0;
    struct inbox_item *item;
    size_t bytes = 0;

    if (!live) late(w);
    if (row == 0) {
        item = next_mail(w, &bytes);
        if (!session_answer(w, item)) keep_late(w, item);
    }
    for (; row > 0; row--) {
        item = next_mail(w, &bytes);
        if (others)
            keep_late(w, item);
        else
            mail_free(item);
    }
    return bytes;
}

/* Deals with what was taken, until it is done or the queues are full. */
static void deal(struct session_worker *w)
{
    size_t bytes = 0;

    while (w->mail && !w->congested) {
        if (is_crammed(w)) {
            w->congested = true;
            break;
        }
        if (w->fetched == 0) w->fetched = ahead_fetch(w, w->mail);
        bytes += deal_next(w);
        if (bytes < SETTLE_BYTES) continue;
        settle(w, bytes);
        bytes = 0;
    }
    if (bytes) settle(w, bytes);
}

void session_worker_inbox(struct session_worker *w)
{
    w->now = clock_ticks();
    w->round++;
    deal(w); /* what was held back while the queues were full */
    if (!w->mail) {
        w->mail = inbox_take(w->spec.inbox);
        deal(w);
    }
    /* Those who read do not wait until all is queued for those who do not. */
    if (w->late) write_some(w, SLICE_LATE);
    late(w);
    stalls_begin(w);
}

/* ---- turn ------------------------------------------------------------------------------------ */

static struct session *next_ending(struct list *from)
{
    return LIST_ITEM(list_pop(from), struct session, ending);
}

/* One in a millisecond, and a few at once after a rest. */
static void close_failed(struct session_worker *w)
{
    uint64_t credit = w->failed_credit + (w->now - w->failed_at);

    credit = credit < FAILED_AT_ONCE ? credit : FAILED_AT_ONCE;
    w->failed_at = w->now;
    for (; credit > 0 && !list_empty(&w->failed); credit--)
        session_settle(next_ending(&w->failed));
    w->failed_credit = (uint32_t)credit;
    if (list_empty(&w->failed))
        timer_stop(w->spec.timers, &w->failed_due);
    else
        timer_set(w->spec.timers, &w->failed_due, w->now + 1);
}

static void settle_sessions(struct session_worker *w)
{
    struct list now;

    /* What is listed anew while these are looked at is for the next turn, which comes with the
     * event that it waits for. */
    list_init(&now);
    list_move(&now, &w->ending);
    while (!list_empty(&now)) {
        struct session *s = next_ending(&now);
        if (s->state == SESSION_FAILED)
            list_append(&w->failed, &s->ending);
        else
            session_settle(s);
    }
    close_failed(w);
}

static void count_written(struct session_worker *w)
{
    struct flush *f = &w->flush;

    counter_add(&w->counters, COUNTER_BYTES_OUT, f->bytes);
    counter_add(&w->counters, COUNTER_FRAMES_OUT, f->frames);
    f->bytes = f->frames = 0;
    if (f->packed.frames == 0) return;
    counter_add(&w->counters, COUNTER_PACKED_FRAMES_OUT, f->packed.frames);
    counter_add(&w->counters, COUNTER_PACKED_BYTES_OUT, f->packed.bytes);
    counter_add(&w->counters, COUNTER_PACKED_PLAIN_OUT, f->packed.plain);
    f->packed = (struct flush_packed){0, 0, 0};
}

bool session_worker_turn(struct session_worker *w, unsigned slice)
{
    enum flush_state state;

    w->now = clock_ticks();
    w->posted = 0; /* bells have been rung */
    flush_begin(&w->flush, w->congested);
    hold(w);
    write_some(w, slice);
    if (is_crammed(w)) shed(w);
    if (ceiling_is_set()) laggards_tell(&w->laggards);
    count_written(w);
    if (w->congested && flush_state(&w->flush) == FLUSH_IDLE) {
        w->congested = false;
        session_worker_inbox(w);
    }
    settle_sessions(w);
    state = flush_state(&w->flush);
    if (state == FLUSH_PAUSED) timer_set(w->spec.timers, &w->pause, w->now + PACE_WAIT_MS);
    return state == FLUSH_READY || w->mail || is_crammed(w);
}

/* ---- going away ------------------------------------------------------------------------------ */

uint64_t worker_retry_after(const struct session_worker *w)
{
    return w->now < w->drain_end ? random_u64() % (w->drain_end - w->now + 1) : 0;
}

/* Each client has its own slice of the window, which one is chance: so that at no moment more go
 * than there must. */
static uint32_t *shuffled(uint32_t n)
{
    uint32_t *order = mem_alloc(n * sizeof *order);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = (uint32_t)(random_u64() % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

void session_worker_drain(struct session_worker *w, uint64_t window_ms)
{
    struct list *n;

    uint32_t *order = shuffled((uint32_t)w->count), i = 0;
    /* Who goes last has time for its answers too. */
    uint64_t spread = window_ms - (window_ms / 20 < 1000 ? window_ms / 20 : 1000);

    w->now = clock_ticks();
    w->draining = true;
    w->drain_end = w->now + window_ms;
    for (n = w->sessions.next; n != &w->sessions; n = n->next) {
        uint64_t from = spread * order[i] / w->count, to = spread * (order[i] + 1ULL) / w->count;
        uint64_t after = from + random_u64() % (to - from + 1);
        session_goaway(LIST_ITEM(n, struct session, node), after, w->now + after);
        i++;
    }
    free(order);
}

void session_worker_finish(struct session_worker *w)
{
    struct list *n;

    do { /* answers that are here already are better than those made up */
        w->congested = false;
        session_worker_inbox(w);
    } while (w->mail);
    for (n = w->sessions.next; n != &w->sessions; n = n->next)
        session_cut(LIST_ITEM(n, struct session, node), CLOSE_RESTART);
    settle_sessions(w);
    while (!list_empty(&w->failed))
        session_settle(next_ending(&w->failed));
    close_failed(w);
}
