#include "session/outq.h"

#include <stdlib.h>
#include <string.h>

#include "base/ceiling.h"
#include "base/mem.h"

/* With their head about a power of two, which is what allocators like. */
#define BLOCK_FIRST 14u
#define BLOCK_NEXT 62u
#define MEMORY_LEAST 4096u /* of the blocks is no matter, */
#define MEMORY_TIMES 4u    /* and beyond that, so many times what may wait */

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

static bool is_nothing(const struct outq_entry *e)
{
    return !e->slip && outq_kind(e->tag) != OUTQ_GAP;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static struct outq_block *block_new(struct outq *q, uint32_t size)
{
    struct outq_block *b = mem_alloc(block_bytes(size));

    *b = (struct outq_block){.size = size};
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

/* Entries of `own` move to the first block; those of blocks stay where they are. */
static void leave_own(struct outq *q)
{
    struct outq_block *b = block_new(q, BLOCK_FIRST);
    uint32_t n = q->tail.i - q->head.i;

    for (uint32_t i = 0; i < n; i++)
        b->entries[i] = q->own[q->head.i + i];
    b->live = n;
    q->lossy = (struct outq_place){b, q->lossy.i > q->head.i ? q->lossy.i - q->head.i : 0};
    q->head = (struct outq_place){b, 0};
    q->tail = (struct outq_place){b, n};
}

/* Of `own` some have gone: there is room in front. */
static void close_up(struct outq *q)
{
    uint32_t gone = q->head.i, n = q->tail.i - gone;

    memmove(q->own, q->own + gone, n * sizeof(q->own[0]));
    q->head.i = 0;
    q->lossy.i = q->lossy.i > gone ? q->lossy.i - gone : 0;
    q->tail.i = n;
}

/* Nothing in it waits, and it is not the last. */
static void block_unlink(struct outq *q, struct outq_block *b)
{
    struct outq_place next = {b->next, 0};

    if (b->prev) b->prev->next = b->next;
    b->next->prev = b->prev;
    if (q->head.block == b) q->head = next;
    if (q->lossy.block == b) q->lossy = next;
    block_free(q, b);
}

static void block_append(struct outq *q)
{
    struct outq_block *last = q->tail.block, *b = block_new(q, BLOCK_NEXT);

    last->next = b;
    b->prev = last;
    q->tail = (struct outq_place){b, 0};
    if (last->live == 0) block_unlink(q, last);
}

/* Room for one entry behind the last. */
static struct outq_entry *append(struct outq *q)
{
    if (!q->tail.block) {
        if (q->tail.i == OUTQ_OWN && q->head.i > 0) close_up(q);
        if (q->tail.i < OUTQ_OWN) {
            q->count++;
            return &q->own[q->tail.i++];
        }
        leave_own(q);
    } else if (q->tail.i == q->tail.block->size) {
        block_append(q);
    }
    q->count++;
    q->tail.block->live++;
    return &q->tail.block->entries[q->tail.i++];
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

/* The entry at p is nothing now. */
static void vanish(struct outq *q, struct outq_place p)
{
    if (--q->count == 0) {
        rest(q);
        return;
    }
    if (p.block && --p.block->live == 0 && p.block != q->tail.block) block_unlink(q, p.block);
    while (is_nothing(entry(q, q->head)))
        q->head = after(q->head);
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

const struct outq_entry *outq_first(const struct outq *q)
{
    if (q->count == 0) return NULL;
    return q->head.block ? &q->head.block->entries[q->head.i] : &q->own[q->head.i];
}

enum outq_verdict outq_judge(const struct outq *q, size_t n, uint64_t now,
                             struct outq_limits limits)
{
    const struct outq_entry *head;

    if (q->bytes == 0) return OUTQ_OK;
    if (q->capped + n > limits.bytes) return OUTQ_SLOW;
    if (q->memory > MEMORY_LEAST + MEMORY_TIMES * limits.bytes) return OUTQ_SLOW;
    head = outq_first(q);
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

struct outq_place outq_push_gap(struct outq *q, uint32_t lane, uint64_t now)
{
    if (!q->tail.block) leave_own(q);
    *append(q) = (struct outq_entry){NULL, (uint32_t)now, outq_tag(OUTQ_GAP, lane)};
    q->gaps++;
    return (struct outq_place){q->tail.block, q->tail.i - 1};
}

const struct frame *outq_head(const struct outq *q)
{
    const struct outq_entry *e = outq_first(q);

    return e && e->slip ? e->slip->frame : NULL;
}

bool outq_paced(const struct outq *q)
{
    const struct outq_entry *e = outq_first(q);

    return e && outq_kind(e->tag) == OUTQ_PACED;
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
    e->slip = NULL;
    e->tag = OUTQ_CAPPED;
    vanish(q, q->head);
    return slip;
}

/* ---- what may be lost ------------------------------------------------------------------------ */

static bool before(struct outq_place a, struct outq_place b)
{
    return a.block == b.block && a.i < b.i;
}

struct outq_entry *outq_oldest_lossy(struct outq *q, struct outq_place *ret)
{
    struct outq_entry *e;

    if (q->lossy_count == 0) return NULL;
    if (!q->tail.block) leave_own(q);
    if (before(q->lossy, q->head)) q->lossy = q->head;
    for (e = entry(q, q->lossy); !e->slip || outq_kind(e->tag) != OUTQ_LOSSY;
         e = entry(q, q->lossy))
        q->lossy = after(q->lossy);
    *ret = q->lossy;
    return e;
}

struct slip *outq_drop(struct outq *q, struct outq_place p)
{
    struct outq_entry *e = entry(q, p);
    struct slip *slip = e->slip;

    uncount(q, e);
    e->slip = NULL;
    e->tag = outq_tag(OUTQ_GAP, outq_lane(e->tag));
    q->gaps++;
    return slip;
}

void outq_erase(struct outq *q, struct outq_place p)
{
    entry(q, p)->tag = OUTQ_CAPPED;
    q->gaps--;
    vanish(q, p);
}

struct outq_entry *outq_next(struct outq *q, struct outq_walk *w)
{
    struct outq_entry *e;

    if (w->seen == q->count) return NULL;
    do {
        w->at = w->begun ? after(w->at) : q->head;
        w->begun = true;
        e = entry(q, w->at);
    } while (is_nothing(e));
    w->seen++;
    return e;
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
