#include "session/lane.h"

#include <stdlib.h>

#include "base/mem.h"
#include "protocol/cursor.h"
#include "protocol/message.h"

#define BATCH 64u /* from so many messages on, */
#define SHARE 16u /* this part of the queue is made free at once: it is cheaper than one by one */

static struct lane *lane_find(struct session_worker *w, uint32_t number)
{
    struct map_node *n = map_find(&w->lanes, hash_u64(number));

    for (; n; n = map_again(n)) {
        struct lane *l = CONTAINER_OF(n, struct lane, node);
        if (l->number == number) return l;
    }
    return NULL;
}

void lane_new(struct subscription *sub, const struct wsbus_backend *backend, bool many)
{
    struct session_worker *w = sub->session->w;
    struct lane *l = mem_zero(sizeof *l);

    do
        w->last_lane = (w->last_lane + 1) % OUTQ_LANES;
    while (lane_find(w, w->last_lane));
    l->number = w->last_lane;
    l->sub = sub;
    l->backend = backend;
    l->many = many;
    buf_clear(&w->out);
    message_open(&w->out, subscription_channel(sub));
    l->skip = (uint32_t)w->out.n;
    map_insert(&w->lanes, &l->node, hash_u64(l->number));
    sub->lane = l;
    sub->tag = outq_tag(OUTQ_LOSSY, l->number);
}

/* ---- places ---------------------------------------------------------------------------------- */

void lane_serve(struct lane *l, struct span cursor)
{
    struct wsbus_cursor *served;
    const char *why;

    if (!l->many || cursor_parse(cursor, l->backend, &served, &why) != 0) return;
    cursor_free(l->served);
    l->served = served;
}

/* Where this message is; false: it has no place, or does not say. */
static bool place_of(const struct lane *l, struct span text, struct wsbus_pos *ret)
{
    const struct span mark = SPAN(",\"pos\":\"");
    size_t skip = l->skip + mark.n;
    const char *end;

    if (!l->backend || text.n <= skip || memcmp(text.p + l->skip, mark.p, mark.n) != 0)
        return false;
    text = span_of(text.p + skip, text.n - skip);
    end = memchr(text.p, '"', text.n);
    return end && pos_read(span_of(text.p, (size_t)(end - text.p)), l->backend, ret) == 0;
}

void lane_see(struct lane *l, const struct frame *f)
{
    struct span text = frame_payload(f), cursor;
    struct wsbus_pos pos;

    if (message_is(text)) {
        if (place_of(l, text, &pos)) cursor_put(&l->served, &pos);
        return;
    }
    cursor = reply_position_cursor(text, subscription_channel(l->sub));
    if (cursor.p) lane_serve(l, cursor);
}

/* Of each message that is in it. */
static void lose_place(struct lane *l, const struct frame *f)
{
    struct wsbus_pos pos, before;
    struct span text;
    size_t at = 0;

    while (frame_next(f, &at, &text)) {
        if (!place_of(l, text, &pos)) continue;
        if (!cursor_get(l->after, pos.partition)) {
            before = pos_before(pos);
            cursor_put(&l->after, &before);
        }
        cursor_put(&l->until, &pos);
    }
}

/* ---- losing ---------------------------------------------------------------------------------- */

static void lose(struct lane *l, uint64_t n)
{
    l->lost += n;
    counter_add(&l->sub->session->w->counters, COUNTER_DROPPED_SLOW, n);
}

/* At the end of the queue, if there is none yet. */
static void mark(struct lane *l)
{
    struct session *s = l->sub->session;

    if (!l->marked) l->mark = outq_push_gap(&s->out, l->number, s->w->now);
    l->marked = true;
}

static void unmark(struct lane *l)
{
    struct outq *q = &l->sub->session->out;

    if (!l->marked || outq_is_last(q, l->mark)) return;
    outq_erase(q, l->mark);
    l->marked = false;
}

/* Of many that go in a row only the first and the last place of their lane are read. */
struct batch {
    struct lane *lane;
    struct slip *last; /* its place has not been read */
};

static void batch_read(struct batch *b)
{
    if (!b->last) return;
    lose_place(b->lane, b->last->frame);
    slip_unref(b->last);
    b->last = NULL;
}

static void drop(struct session *s, struct batch *b, struct outq_place p,
                 const struct outq_entry *e)
{
    struct lane *l = b->lane;
    struct slip *slip;

    if (!l || l->number != outq_lane(e->tag)) {
        batch_read(b);
        l = b->lane = lane_find(s->w, outq_lane(e->tag));
    }
    slip = outq_drop(&s->out, p);
    if (l->marked) outq_erase(&s->out, l->mark);
    l->marked = true;
    l->mark = p;
    lose(l, slip->frame->count);
    if (!l->after || l->many) {
        lose_place(l, slip->frame);
        slip_unref(slip);
        return;
    }
    if (b->last) slip_unref(b->last);
    b->last = slip;
}

bool lanes_make_room(struct session *s, size_t n)
{
    struct session_worker *w = s->w;
    struct outq_limits limits = session_limits(s), aim = limits;
    struct batch batch = {NULL, NULL};
    struct outq_entry *e;
    struct outq_place p;

    if (s->out.lossy_count >= BATCH) {
        aim.bytes -= limits.bytes / SHARE;
        aim.ms -= limits.ms / SHARE;
    }
    while ((e = outq_oldest_lossy(&s->out, &p)) &&
           (s->out.capped + n > aim.bytes || (aim.ms > 0 && (uint32_t)w->now - e->at > aim.ms)))
        drop(s, &batch, p, e);
    batch_read(&batch);
    return outq_judge(&s->out, n, w->now, limits) == OUTQ_OK;
}

void lane_refuse(struct session *s, uint32_t number, const struct frame *f)
{
    struct lane *l = lane_find(s->w, number);

    mark(l);
    lose(l, f->count);
    lose_place(l, f);
}

/* There is a message among them. */
static void skip_places(struct lane *l, struct backlog *b, uint64_t from, uint64_t to)
{
    while (!backlog_at(b, from)->message)
        from++;
    while (!backlog_at(b, to - 1)->message)
        to--;
    lose_place(l, backlog_at(b, from)->slip->frame);
    if (to - from > 1) lose_place(l, backlog_at(b, to - 1)->slip->frame);
}

/* Where each partition is at. */
static void skip_each(struct lane *l, struct backlog *b, uint64_t from, uint64_t to)
{
    for (; from < to; from++) {
        const struct backlog_entry *e = backlog_at(b, from);
        lane_see(l, e->slip->frame);
        if (e->message) lose_place(l, e->slip->frame);
    }
}

static void keep_others(struct lane *l, struct backlog *b, uint64_t from, uint64_t to)
{
    struct session *s = l->sub->session;

    for (; from < to; from++) {
        const struct backlog_entry *e = backlog_at(b, from);
        if (!e->message) outq_push(&s->out, e->slip, OUTQ_CAPPED, e->at);
    }
}

void lane_skip(struct lane *l, struct backlog *b, uint64_t from, uint64_t to)
{
    uint32_t others = backlog_others(b, to) - backlog_others(b, from);
    uint64_t lost = to - from - others;

    if (l->many)
        skip_each(l, b, from, to);
    else if (lost > 0)
        skip_places(l, b, from, to);
    if (others > 0) keep_others(l, b, from, to);
    lose(l, lost);
    if (l->lost == 0) return;
    /* What is there now is older than what goes, and what comes next is told of it. */
    if (others > 0 || to < b->end) unmark(l);
    mark(l);
}

void lanes_clear(struct session *s)
{
    struct batch batch = {NULL, NULL};
    struct outq_entry *e;
    struct outq_place p;

    while ((e = outq_oldest_lossy(&s->out, &p)))
        drop(s, &batch, p, e);
    batch_read(&batch);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* `lost` (of the partitions that lost something) within the places of all the others. */
static struct wsbus_cursor *whole(const struct lane *l, const struct wsbus_cursor *lost)
{
    struct wsbus_cursor *c;

    if (!l->served) return cursor_copy(lost);
    c = cursor_copy(l->served);
    for (uint32_t i = 0; i < lost->count; i++)
        cursor_put(&c, &lost->pos[i]);
    return c;
}

static void write_places(const struct lane *l, struct buf *out, struct reply_gap *gap)
{
    struct wsbus_cursor *after = whole(l, l->after), *until = whole(l, l->until);
    size_t split;

    cursor_write(out, after, l->backend);
    split = out->n;
    cursor_write(out, until, l->backend);
    gap->after = span_of(out->p, split);
    gap->until = span_of(out->p + split, out->n - split);
    cursor_free(after);
    cursor_free(until);
}

static void fill(struct lane *l, struct outq_entry *e)
{
    struct session *s = l->sub->session;
    struct reply_gap gap = {.channel = subscription_channel(l->sub), .reason = "slow"};
    struct slip *slip;
    struct buf places;

    buf_init(&places, BUF_UNLIMITED);
    gap.lost = (int64_t)l->lost;
    if (l->after) write_places(l, &places, &gap);
    reply_gap(session_writer(s), &gap);
    counter_add(&s->w->counters, COUNTER_GAPS_SLOW, 1);
    slip = session_slip(s);
    outq_fill(&s->out, e, slip);
    slip_unref(slip);
    buf_free(&places);
    cursor_free(l->after);
    cursor_free(l->until);
    l->after = l->until = NULL;
    l->lost = 0;
    l->marked = false;
}

void lanes_tell(struct session *s)
{
    struct outq_walk walk = {.seen = 0};
    struct outq_entry *e;
    size_t bytes = 0;

    while (s->out.gaps > 0 && bytes < FLUSH_GATHER && (e = outq_next(&s->out, &walk))) {
        if (!e->slip && outq_kind(e->tag) == OUTQ_GAP) fill(lane_find(s->w, outq_lane(e->tag)), e);
        if (e->slip) bytes += e->slip->frame->len;
    }
}

void lane_free(struct subscription *sub)
{
    struct lane *l = sub->lane;
    struct outq *q = &sub->session->out;
    struct outq_walk walk = {.seen = 0};
    struct outq_entry *e;

    if (!l) return;
    while ((q->lossy_count > 0 || q->gaps > 0) && (e = outq_next(q, &walk))) {
        if (outq_lane(e->tag) != l->number) continue;
        if (outq_kind(e->tag) == OUTQ_LOSSY) outq_keep(q, e);
        if (outq_kind(e->tag) == OUTQ_GAP) fill(l, e);
    }
    map_remove(&sub->session->w->lanes, &l->node);
    cursor_free(l->served);
    cursor_free(l->after);
    cursor_free(l->until);
    free(l);
    sub->lane = NULL;
    sub->tag = OUTQ_CAPPED;
}
