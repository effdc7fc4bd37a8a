#include "session/outq.h"

#include <stdlib.h>

#include "base/ceiling.h"
#include "base/mem.h"

/* With their head a power of two, which is what allocators like. */
#define BLOCK_FIRST 15u
#define BLOCK_NEXT 63u

void outq_init(struct outq *q)
{
    *q = (struct outq){.count = 0};
}

static size_t block_bytes(uint32_t size)
{
    return sizeof(struct outq_block) + size * sizeof(struct outq_entry);
}

static struct outq_entry *entry(struct outq *q, struct outq_place p)
{
    return p.block ? &p.block->entries[p.i] : &q->own[p.i];
}

static bool same(struct outq_place a, struct outq_place b)
{
    return a.block == b.block && a.i == b.i;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct outq_block *block_new(struct outq *q, uint32_t size)
{
    struct outq_block *b = mem_alloc(block_bytes(size));

    b->next = NULL;
    b->size = size;
    q->memory += block_bytes(size);
    ceiling_count((ptrdiff_t)block_bytes(size));
    return b;
}

static void block_free(struct outq *q, struct outq_block *b)
{
    q->memory -= block_bytes(b->size);
    ceiling_count(-(ptrdiff_t)block_bytes(b->size));
    free(b);
}

/* The entries of `own` move to its front, or to the first block where there is no room in front;
 * all others stay where they are. */
static void leave_own(struct outq *q)
{
    struct outq_block *b = q->head.i > 0 ? NULL : block_new(q, BLOCK_FIRST);
    struct outq_entry *to = b ? b->entries : q->own;
    uint32_t n = q->tail.i - q->head.i;

    for (uint32_t i = 0; i < n; i++)
        to[i] = q->own[q->head.i + i];
    q->lossy = (struct outq_place){b, q->lossy.i - q->head.i};
    q->head = (struct outq_place){b, 0};
    q->tail = (struct outq_place){b, n};
}

/* Room for one entry behind the last. */
static struct outq_entry *append(struct outq *q)
{
    struct outq_block *b = q->tail.block;

    if (!b && q->tail.i == OUTQ_OWN) {
        leave_own(q);
    } else if (b && q->tail.i == b->size) {
        b->next = block_new(q, BLOCK_NEXT);
        q->tail = (struct outq_place){b->next, 0};
    }
    q->count++;
    return entry(q, (struct outq_place){q->tail.block, q->tail.i++});
}

/* The place after this one, which is not the last. */
static struct outq_place after(struct outq_place p)
{
    p.i++;
    if (p.block && p.i == p.block->size && p.block->next) p = (struct outq_place){p.block->next, 0};
    return p;
}

/* Nothing waits any more, and the sums are zero. */
static void rest(struct outq *q)
{
    struct outq_block *b = q->head.block, *next;

    for (; b; b = next) {
        next = b->next;
        block_free(q, b);
    }
    q->head = q->tail = q->lossy = (struct outq_place){NULL, 0};
}

static void advance(struct outq *q)
{
    struct outq_block *old = q->head.block;
    bool first;

    if (--q->count == 0) {
        rest(q);
        return;
    }
    first = same(q->lossy, q->head);
    q->head = after(q->head);
    if (first) q->lossy = q->head;
    if (old && old != q->head.block) block_free(q, old);
}

static bool is_nothing(const struct outq_entry *e)
{
    return !e->slip && outq_kind(e->tag) != OUTQ_GAP;
}

static void skip_nothing(struct outq *q)
{
    while (q->count > 0 && is_nothing(entry(q, q->head)))
        advance(q);
}

void outq_clear(struct outq *q)
{
    struct outq_walk w = {.seen = 0};
    struct outq_entry *e;

    while ((e = outq_next(q, &w)))
        if (e->slip) slip_unref(e->slip);
    rest(q);
    outq_init(q);
}

/* ---- in and out ------------------------------------------------------------------------------ */

enum outq_verdict outq_judge(const struct outq *q, size_t n, uint64_t now,
                             struct outq_limits limits)
{
    const struct outq_entry *head;

    if (q->bytes == 0) return OUTQ_OK;
    if (q->capped + n > limits.bytes) return OUTQ_SLOW;
    head = q->head.block ? &q->head.block->entries[q->head.i] : &q->own[q->head.i];
    if (limits.ms == 0 || !head->slip) return OUTQ_OK;
    return (uint32_t)now - head->at > limits.ms ? OUTQ_SLOW : OUTQ_OK;
}

void outq_push(struct outq *q, struct slip *slip, uint32_t tag, uint64_t now)
{
    size_t n = slip->frame->len;
    enum outq_kind kind = outq_kind(tag);

    *append(q) = (struct outq_entry){slip_ref(slip), (uint32_t)now, tag};
    q->bytes += n;
    if (kind == OUTQ_PACED) return;
    q->capped += n;
    if (kind == OUTQ_LOSSY) q->lossy_count++;
}

void outq_push_gap(struct outq *q, uint32_t lane, uint64_t now)
{
    *append(q) = (struct outq_entry){NULL, (uint32_t)now, outq_tag(OUTQ_GAP, lane)};
    q->gaps++;
}

const struct frame *outq_head(const struct outq *q)
{
    const struct outq_entry *e;

    if (q->count == 0) return NULL;
    e = q->head.block ? &q->head.block->entries[q->head.i] : &q->own[q->head.i];
    return e->slip ? e->slip->frame : NULL;
}

/* Its bytes wait no longer. */
static void uncount(struct outq *q, const struct outq_entry *e)
{
    size_t n = e->slip->frame->len;

    q->bytes -= n;
    if (outq_kind(e->tag) == OUTQ_PACED) return;
    q->capped -= n;
    if (outq_kind(e->tag) == OUTQ_LOSSY) q->lossy_count--;
}

struct slip *outq_take(struct outq *q)
{
    struct outq_entry *e = entry(q, q->head);
    struct slip *slip = e->slip;

    uncount(q, e);
    advance(q);
    if (q->count > 0 && !entry(q, q->head)->slip) skip_nothing(q);
    return slip;
}

/* ---- what may be lost ------------------------------------------------------------------------ */

struct outq_entry *outq_oldest_lossy(struct outq *q)
{
    struct outq_entry *e;

    if (q->lossy_count == 0) return NULL;
    for (e = entry(q, q->lossy); !e->slip || outq_kind(e->tag) != OUTQ_LOSSY;
         e = entry(q, q->lossy))
        q->lossy = after(q->lossy);
    return e;
}

struct slip *outq_drop(struct outq *q, struct outq_entry *e, bool gap)
{
    struct slip *slip = e->slip;

    uncount(q, e);
    e->slip = NULL;
    e->tag = gap ? outq_tag(OUTQ_GAP, outq_lane(e->tag)) : OUTQ_CAPPED;
    q->gaps += gap;
    skip_nothing(q);
    return slip;
}

struct outq_entry *outq_next(struct outq *q, struct outq_walk *w)
{
    if (w->seen == q->count) return NULL;
    w->at = w->seen++ == 0 ? q->head : after(w->at);
    return entry(q, w->at);
}

void outq_fill(struct outq *q, struct outq_entry *e, struct slip *slip)
{
    e->slip = slip_ref(slip);
    e->tag = OUTQ_CAPPED;
    q->gaps--;
    q->bytes += slip->frame->len;
    q->capped += slip->frame->len;
}

void outq_keep(struct outq *q, struct outq_entry *e)
{
    e->tag = OUTQ_CAPPED;
    q->lossy_count--;
}
