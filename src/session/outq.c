#include "session/outq.h"

#include <stdlib.h>

#include "base/mem.h"

#define OUTQ_FIRST_HEAP 16u

void outq_init(struct outq *q)
{
    *q = (struct outq){.size = OUTQ_OWN};
}

static struct outq_entry *entry(struct outq *q, uint32_t i)
{
    struct outq_entry *ring = q->heap ? q->heap : q->own;

    return &ring[(q->head + i) & (q->size - 1)]; /* sizes are powers of two */
}

static void rest(struct outq *q)
{
    free(q->heap);
    outq_init(q);
}

void outq_clear(struct outq *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        slip_unref(entry(q, i)->slip);
    rest(q);
}

static void grow(struct outq *q)
{
    uint32_t size = q->heap ? q->size * 2 : OUTQ_FIRST_HEAP;
    struct outq_entry *heap = mem_alloc(size * sizeof *heap);

    for (uint32_t i = 0; i < q->count; i++)
        heap[i] = *entry(q, i);
    free(q->heap);
    q->heap = heap;
    q->size = size;
    q->head = 0;
}

static bool too_slow(struct outq *q, size_t n, uint64_t now, struct outq_limits limits)
{
    if (q->count == 0) return false;
    if (q->capped + n > limits.bytes) return true;
    return limits.ms > 0 && (uint32_t)now - entry(q, 0)->at > limits.ms;
}

enum outq_verdict outq_push(struct outq *q, struct slip *slip, enum outq_kind kind, uint64_t now,
                            struct outq_limits limits)
{
    size_t n = slip->frame->len;

    if (kind == OUTQ_CAPPED && too_slow(q, n, now, limits)) return OUTQ_SLOW;
    if (q->count == q->size) grow(q);
    *entry(q, q->count) = (struct outq_entry){slip_ref(slip), (uint32_t)now, kind};
    q->count++;
    q->bytes += n;
    if (kind == OUTQ_CAPPED) q->capped += n;
    return OUTQ_OK;
}

const struct frame *outq_at(const struct outq *q, uint32_t i)
{
    const struct outq_entry *ring = q->heap ? q->heap : q->own;

    return i < q->count ? ring[(q->head + i) & (q->size - 1)].slip->frame : NULL;
}

void outq_pop(struct outq *q)
{
    struct outq_entry e = *entry(q, 0);
    size_t n = e.slip->frame->len;

    q->head = (q->head + 1) & (q->size - 1);
    q->count--;
    q->bytes -= n;
    if (e.kind == OUTQ_CAPPED) q->capped -= n;
    slip_unref(e.slip);
    if (q->count == 0) rest(q);
}
