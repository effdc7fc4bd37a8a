#include "session/backlog.h"

#include <stdlib.h>

#include "base/ceiling.h"
#include "base/mem.h"

#define RING_SMALLEST 32u

static size_t ring_bytes(uint32_t size)
{
    return size * sizeof(struct backlog_entry);
}

static void resize(struct backlog *b, uint32_t size)
{
    struct backlog_entry *ring = mem_alloc(ring_bytes(size));

    for (uint64_t i = b->first; i < b->end; i++)
        ring[i & (size - 1)] = b->ring[i & (b->size - 1)];
    free(b->ring);
    ceiling_count((ptrdiff_t)ring_bytes(size) - (ptrdiff_t)ring_bytes(b->size));
    b->ring = ring;
    b->size = size;
}

struct backlog *backlog_new(void)
{
    struct backlog *b = mem_zero(sizeof *b);

    heap_init(&b->by_bytes);
    heap_init(&b->by_time);
    resize(b, RING_SMALLEST);
    return b;
}

void backlog_free(struct backlog *b)
{
    heap_done(&b->by_bytes);
    heap_done(&b->by_time);
    ceiling_count(-(ptrdiff_t)ring_bytes(b->size));
    free(b->ring);
    free(b);
}

struct backlog_entry *backlog_at(struct backlog *b, uint64_t place)
{
    return &b->ring[place & (b->size - 1)];
}

void backlog_append(struct backlog *b, struct slip *slip, bool message, uint64_t turn, uint64_t now)
{
    if (b->end - b->first == b->size) resize(b, b->size * 2);
    *backlog_at(b, b->end++) = (struct backlog_entry){
        .slip = slip_ref(slip),
        .turn = turn,
        .before = b->bytes,
        .others = b->others,
        .at = (uint32_t)now,
        .here = b->here,
        .message = message,
    };
    b->here = 0;
    b->bytes += slip->frame->len;
    if (!message) b->others++;
}

uint64_t backlog_before(struct backlog *b, uint64_t place)
{
    return place < b->end ? backlog_at(b, place)->before : b->bytes;
}

uint32_t backlog_others(struct backlog *b, uint64_t place)
{
    return place < b->end ? backlog_at(b, place)->others : b->others;
}

uint64_t backlog_find(struct backlog *b, uint64_t from, uint64_t turn)
{
    uint64_t to = b->end;

    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (backlog_at(b, middle)->turn < turn)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* ---- readers --------------------------------------------------------------------------------- */

static uint32_t *here(struct backlog *b, uint64_t place)
{
    return place < b->end ? &backlog_at(b, place)->here : &b->here;
}

static void trim(struct backlog *b)
{
    while (b->first < b->end && backlog_at(b, b->first)->here == 0)
        slip_unref(backlog_at(b, b->first++)->slip);
    if (b->size > RING_SMALLEST && b->end - b->first < b->size / 4) resize(b, b->size / 2);
}

uint64_t backlog_enter(struct backlog *b)
{
    b->readers++;
    b->here++;
    return b->end;
}

void backlog_move(struct backlog *b, uint64_t from, uint64_t to)
{
    --*here(b, from);
    ++*here(b, to);
    if (from == b->first) trim(b);
}

void backlog_leave(struct backlog *b, uint64_t place)
{
    b->readers--;
    --*here(b, place);
    if (place == b->first) trim(b);
}
