/* Mail of the buses -> frames to the client. What belongs to nobody any more is dropped. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/message.h"
#include "session/errand.h"
#include "session/inside.h"
#include "session/lane.h"
#include "session/stall.h"
#include "session/subscription.h"

static struct span optional(const char *s)
{
    return s ? span_str(s) : span_of(NULL, 0);
}

static void unsubscribed(struct session *s, struct span id, struct span channel, const char *reason)
{
    reply_unsubscribed(session_writer(s), id, channel, reason);
    session_reply(s, OUTQ_CAPPED);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void on_subscribed(struct session_worker *w, const struct mail_subscribed *m)
{
    struct subscription *sub = subscription_find(w, m->id);
    struct session *s;
    char *id;

    if (!sub) return;
    s = sub->session;
    id = subscription_take_asked(sub);
    if (id) {
        struct reply_subscribed r = {
            .id = span_str(id),
            .channel = subscription_channel(sub),
            .cursor = m->cursor,
            .recovered = m->recovered,
            .reason = m->reason,
        };
        reply_subscribed(session_writer(s), &r);
        /* Who begins in the past stands back with this too: thousands may come at once. */
        session_tell(s, OUTQ_CAPPED, m->channel ? NULL : &w->flush.replays);
        free(id);
    }
    if (s->raw) raw_subscribed(s, m->recovered, m->reason);
    subscription_release(sub, false);
    if (sub->lane) lane_serve(sub->lane, m->cursor);
    if (s->state < SESSION_CLOSING) subscription_confirm(sub, m->channel);
    session_progress(s);
}

static void on_refused(struct session_worker *w, const struct mail_done *m)
{
    struct subscription *sub = subscription_find(w, m->id);
    struct reply_error e = {.code = m->error, .message = m->text};
    struct session *s;
    char *id;

    if (!sub) return;
    s = sub->session;
    id = subscription_take_asked(sub);
    e.id = optional(id);
    e.channel = subscription_channel(sub);
    session_error(s, &e);
    free(id);
    subscription_release(sub, false);
    /* One that is leaving has its second answer to wait for. */
    if (sub->state != SUB_LEAVING) subscription_free(sub);
    session_progress(s);
}

static void on_chunk(struct session_worker *w, const struct mail_chunk *m)
{
    struct subscription *sub = subscription_find(w, m->id);

    if (sub) subscription_chunk(sub, m->channel);
}

static void on_left(struct session_worker *w, const struct mail_left *m)
{
    struct subscription *sub = subscription_find(w, m->id);
    struct session *s;
    char *id;

    if (!sub) return;
    s = sub->session;
    if (sub->state == SUB_LEAVING) {
        /* The answer to the unsubscribe comes by itself; the bus's own end overtook it. */
        if (!m->answer) return;
        id = subscription_take_left(sub);
        if (id) unsubscribed(s, span_str(id), subscription_channel(sub), NULL);
        free(id);
        subscription_release(sub, true);
    } else if (s->raw) {
        raw_left(s, m->reason);
    } else {
        /* It ends with a NUL, as all texts of mail do. */
        unsubscribed(s, span_of(NULL, 0), subscription_channel(sub),
                     m->reason.n ? m->reason.p : NULL);
    }
    subscription_free(sub);
    session_progress(s);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Many sessions are not in the processor's cache, those who do not read above all. */
static void fetch_ahead(const struct fan_group *g, uint32_t i)
{
    if (i + 8 < g->count) mem_fetch(g->list[i + 8].owner, SESSION_OFTEN);
    if (i + 4 < g->count) {
        const struct session *s = g->list[i + 4].owner;
        struct outq_place tail = s->out.tail;
        if (tail.block) __builtin_prefetch(&tail.block->entries[tail.i], 1);
        if (tail.block) __builtin_prefetch(tail.block, 1);
    }
}

static struct subscription *member_of(const struct fan_seat *seat)
{
    return CONTAINER_OF(seat->member, struct subscription, member);
}

/* For those members whose sockets take data, or for the others. A socket that chokes while the mail
 * of one round is dealt with is among the former to its end. True: there are others. */
static bool fan_out(struct session_worker *w, struct mail_frame *m, bool to_choked)
{
    struct fan_group *g = fanout_group(&w->fanout, m->id);
    struct raw_form form = {.kind = RAW_UNREAD};
    bool message, others = false;

    if (!g) return false;
    g->busy = true;
    message = message_is(frame_payload(m->slip.frame));
    if (to_choked) {
        stalls_judge(w, g, m->slip.frame->len);
    } else {
        if (message) counter_add(&w->counters, COUNTER_MESSAGES_OUT, g->count + g->aside);
        others = stalls_append(w, g, &m->slip, message);
    }
    for (uint32_t i = 0; i < g->count; i++) {
        struct fan_seat seat = g->list[i];
        struct session *s = seat.owner;
        fetch_ahead(g, i);
        if ((s->flush.choked && s->choked_in != w->round) != to_choked) {
            others = true;
            continue;
        }
        if (seat.flags & SEAT_RAW) {
            raw_push(s, &form, &m->slip, &(struct raw_way){OUTQ_CAPPED, g});
            continue;
        }
        if (seat.flags & SEAT_SEES) lane_see(member_of(&seat)->lane, m->slip.frame);
        session_push(s, &m->slip, message ? seat.tag : OUTQ_CAPPED, g);
        if (to_choked) stall_consider(member_of(&seat));
    }
    raw_form_done(&form);
    g->busy = false;
    fanout_release(&w->fanout, g);
    return others;
}

void session_answer_late(struct session_worker *w, struct inbox_item *item)
{
    (void)fan_out(w, CONTAINER_OF(item, struct mail_frame, item), true);
    mail_free(item);
}

/* ---- messages in a row ------------------------------------------------------------------------ */

#define RUN_MOST 256u  /* messages */
#define RUN_MEMBERS 4u /* for fewer it is not worth the copy */
#define RUN_SHARE 4u   /* of a queue, at most: what may be dropped is dropped as a whole */

/* Messages of one channel that came one behind the other. */
struct row {
    struct mail_frame *list[RUN_MOST];
    struct raw_form forms[RUN_MOST];
    unsigned count;
    bool raw; /* somebody needed the forms */
};

static void row_find(const struct session_worker *w, struct inbox_item *item, struct row *ret)
{
    size_t most = w->limits.bytes / RUN_SHARE, bytes = 0;
    uint64_t channel = CONTAINER_OF(item, struct mail_frame, item)->id;

    if (most > FLUSH_GATHER) most = FLUSH_GATHER;
    ret->count = 0;
    ret->raw = false;
    for (; item && item->kind == MAIL_LIVE && ret->count < RUN_MOST; item = item->next) {
        struct mail_frame *m = CONTAINER_OF(item, struct mail_frame, item);
        bytes += m->slip.frame->len;
        if (m->id != channel || bytes > most || !message_is(frame_payload(m->slip.frame))) return;
        ret->list[ret->count++] = m;
    }
}

static struct slip *row_run(const struct row *r)
{
    struct frame *frames[RUN_MOST];

    for (unsigned i = 0; i < r->count; i++)
        frames[i] = r->list[i]->slip.frame;
    return slip_new(frame_join(frames, r->count));
}

/* One by one, for whom the run is not: /raw, or one whose every message is looked at. */
static void row_push(struct row *r, const struct fan_seat *seat, struct fan_group *g)
{
    struct session *s = seat->owner;
    bool raw = seat->flags & SEAT_RAW;

    for (unsigned i = 0; i < r->count; i++) {
        struct slip *slip = &r->list[i]->slip;
        if (raw) {
            if (!r->raw) r->forms[i] = (struct raw_form){.kind = RAW_UNREAD};
            raw_push(s, &r->forms[i], slip, &(struct raw_way){OUTQ_CAPPED, g});
            continue;
        }
        if (seat->flags & SEAT_SEES) lane_see(member_of(seat)->lane, slip->frame);
        session_push(s, slip, seat->tag, g);
    }
    if (raw) r->raw = true;
}

static void row_done(struct row *r)
{
    for (unsigned i = 0; r->raw && i < r->count; i++)
        raw_form_done(&r->forms[i]);
}

unsigned session_answer_row(struct session_worker *w, struct inbox_item *item, bool *ret_others)
{
    struct fan_group *g;
    struct slip *run;
    struct row row;

    row_find(w, item, &row);
    if (row.count < 2) return 0;
    g = fanout_group(&w->fanout, row.list[0]->id);
    if (!g || g->count < RUN_MEMBERS) return 0;
    pace_live(&w->flush.pace, clock_about_us());
    *ret_others = false;
    run = row_run(&row);
    g->busy = true;
    counter_add(&w->counters, COUNTER_MESSAGES_OUT, (uint64_t)row.count * (g->count + g->aside));
    for (unsigned i = 0; i < row.count; i++)
        *ret_others |= stalls_append(w, g, &row.list[i]->slip, true);
    for (uint32_t i = 0; i < g->count; i++) {
        struct fan_seat seat = g->list[i];
        struct session *s = seat.owner;
        fetch_ahead(g, i);
        if (s->flush.choked && s->choked_in != w->round)
            *ret_others = true;
        else if (seat.flags || s->flush.choked)
            row_push(&row, &seat, g);
        else
            session_push(s, run, seat.tag, g);
    }
    row_done(&row);
    slip_unref(run);
    g->busy = false;
    fanout_release(&w->fanout, g);
    return row.count;
}

/* Without an envelope each frame of a run is a payload of its own. */
static void push_raw(struct session *s, const struct frame *frame, const struct raw_way *way)
{
    struct span payload;
    size_t at = 0;

    while (frame_next(frame, &at, &payload)) {
        struct raw_form form = {.kind = RAW_UNREAD};
        struct slip *slip = slip_new(frame_new(FRAME_TEXT, payload));
        raw_push(s, &form, slip, way);
        raw_form_done(&form);
        slip_unref(slip);
    }
}

/* A run is all messages. */
static uint32_t count_messages(const struct frame *frame)
{
    struct span payload;
    size_t at = 0;

    return frame_next(frame, &at, &payload) && message_is(payload) ? frame->count : 0;
}

static void on_frame(struct session_worker *w, struct mail_frame *m)
{
    struct subscription *sub = subscription_find(w, m->id);

    struct raw_way way = {OUTQ_CAPPED, NULL};

    if (!sub || (sub->state != SUB_REPLAY && sub->state != SUB_LIVE)) return;
    counter_add(&w->counters, COUNTER_MESSAGES_OUT, count_messages(m->slip.frame));
    if (sub->state == SUB_REPLAY) way = (struct raw_way){OUTQ_PACED, &w->flush.replays};
    if (sub->session->raw) {
        push_raw(sub->session, m->slip.frame, &way);
    } else {
        session_push(sub->session, &m->slip, way.kind, way.group);
    }
}

/* ---- publish, history ------------------------------------------------------------------------ */

static void on_done(struct session_worker *w, const struct mail_done *m)
{
    struct errand *e = errand_find(w, m->id);
    struct session *s;
    struct span id;

    if (!e) return;
    s = e->session;
    id = errand_id(e);
    if (m->error != ERR_NONE) {
        struct reply_error r = {
            .id = id, .channel = errand_channel(e), .code = m->error, .message = m->text};
        session_error(s, &r);
    } else if (id.p && e->kind == ERRAND_PUBLISH) {
        reply_published(session_writer(s), id, m->text, m->receivers);
        session_reply(s, OUTQ_CAPPED);
    } else if (id.p) {
        reply_history(session_writer(s), id, errand_channel(e), m->text);
        session_reply(s, OUTQ_PACED);
    }
    errand_free(e);
    session_progress(s);
}

bool session_answer(struct session_worker *w, struct inbox_item *item)
{
    switch ((enum mail_kind)item->kind) {
    case MAIL_LIVE:
        pace_live(&w->flush.pace, clock_about_us());
        if (fan_out(w, CONTAINER_OF(item, struct mail_frame, item), false)) return false;
        break;
    case MAIL_FRAME: on_frame(w, CONTAINER_OF(item, struct mail_frame, item)); break;
    case MAIL_SUBSCRIBED: on_subscribed(w, CONTAINER_OF(item, struct mail_subscribed, item)); break;
    case MAIL_REFUSED: on_refused(w, CONTAINER_OF(item, struct mail_done, item)); break;
    case MAIL_CHUNK: on_chunk(w, CONTAINER_OF(item, struct mail_chunk, item)); break;
    case MAIL_LEFT: on_left(w, CONTAINER_OF(item, struct mail_left, item)); break;
    case MAIL_HISTORY_DONE:
    case MAIL_PUBLISHED: on_done(w, CONTAINER_OF(item, struct mail_done, item)); break;
    default: break; /* none of the others is for a worker */
    }
    mail_free(item);
    return true;
}
