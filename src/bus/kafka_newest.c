#include "bus/kafka_newest.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define WINDOW_MIN 64
#define WINDOW_SPARSE 512
#define WINDOW_MAX 65536

struct entry {
    int64_t offset, ts;
};

/* Entries in the order of the log; those of the window that is being read are behind `count`, until
 * they are moved before the older ones. */
struct part {
    int64_t floor, low, end; /* [low, end) was looked at, nothing below `floor` is there */
    uint64_t window;         /* size of the last one */
    struct entry *entries;
    size_t count, fresh, size;
    size_t taken; /* chosen, from the end */
    int64_t at;   /* the answer */
};

struct kafka_newest {
    struct newest_spec spec;
    uint64_t scanned;
    uint64_t chosen;
    bool more, decided;
    int32_t *heap; /* partitions with something left, highest time stamp first */
    int32_t heap_count;
    int32_t count;
    struct part part[];
};

struct kafka_newest *kafka_newest_new(const struct newest_spec *spec,
                                      const struct kafka_range *range)
{
    struct kafka_newest *n = mem_zero(sizeof *n + (size_t)range->count * sizeof n->part[0]);

    n->spec = *spec;
    n->count = range->count;
    n->heap = mem_zero((size_t)range->count * sizeof n->heap[0]);
    for (int32_t i = 0; i < range->count; i++) {
        const struct kafka_part *p = &range->part[i];
        n->part[i].floor = p->at;
        n->part[i].low = n->part[i].end = n->part[i].at = p->end > p->at ? p->end : p->at;
    }
    return n;
}

void kafka_newest_free(struct kafka_newest *n)
{
    if (!n) return;
    for (int32_t i = 0; i < n->count; i++)
        free(n->part[i].entries);
    free(n->heap);
    free(n);
}

/* ---- what is there ------------------------------------------------------------------------------ */

void kafka_newest_look(struct kafka_newest *n, int32_t partition, int64_t offset, int64_t ts,
                       bool counts)
{
    struct part *p = &n->part[partition];

    n->scanned++;
    if (!counts) return;
    if (p->count + p->fresh == p->size) {
        p->size = p->size ? p->size * 2 : 64;
        p->entries = mem_grow(p->entries, p->size * sizeof p->entries[0]);
    }
    p->entries[p->count + p->fresh++] = (struct entry){.offset = offset, .ts = ts};
}

/* A window is older than all that was there. */
static void settle(struct part *p)
{
    struct entry *turned;

    if (p->fresh == 0) return;
    turned = mem_alloc((p->count + p->fresh) * sizeof *turned);
    memcpy(turned, p->entries + p->count, p->fresh * sizeof *turned);
    if (p->count > 0) memcpy(turned + p->fresh, p->entries, p->count * sizeof *turned);
    free(p->entries);
    p->entries = turned;
    p->count += p->fresh;
    p->size = p->count;
    p->fresh = 0;
}

/* ---- choosing ------------------------------------------------------------------------------------ */

static bool is_dry(const struct part *p)
{
    return p->taken == p->count && p->low > p->floor;
}

static int64_t head_ts(const struct kafka_newest *n, int32_t slot)
{
    const struct part *p = &n->part[n->heap[slot]];

    return p->entries[p->count - 1 - p->taken].ts;
}

static void sift_down(struct kafka_newest *n, int32_t slot)
{
    for (;;) {
        int32_t best = slot;
        for (int32_t child = 2 * slot + 1; child <= 2 * slot + 2; child++)
            if (child < n->heap_count && head_ts(n, child) > head_ts(n, best)) best = child;
        if (best == slot) return;
        int32_t moved = n->heap[slot];
        n->heap[slot] = n->heap[best];
        n->heap[best] = moved;
        slot = best;
    }
}

static void choose_head(struct kafka_newest *n)
{
    struct part *p = &n->part[n->heap[0]];

    p->taken++;
    if (n->chosen++ < n->spec.wanted)
        p->at = p->entries[p->count - p->taken].offset;
    else
        n->more = true;
    if (p->taken == p->count) n->heap[0] = n->heap[--n->heap_count];
    sift_down(n, 0);
}

/* As far as it can be told with what was read; a partition that has run dry may hold the next one. */
static void choose(struct kafka_newest *n)
{
    uint64_t goal = n->spec.wanted + (n->spec.one_more ? 1 : 0);
    int32_t dry = 0;

    n->heap_count = 0;
    for (int32_t i = 0; i < n->count; i++) {
        if (n->part[i].taken < n->part[i].count) n->heap[n->heap_count++] = i;
        if (is_dry(&n->part[i])) dry++;
    }
    for (int32_t i = n->heap_count; i-- > 0;)
        sift_down(n, i);
    while (n->chosen < goal && n->heap_count > 0 && dry == 0) {
        const struct part *p = &n->part[n->heap[0]];
        choose_head(n);
        if (is_dry(p)) dry++;
    }
    n->decided = n->chosen >= goal || dry == 0;
}

/* Out of breath: what was found is chosen, and the rest of what was looked at besides. */
static void give_up(struct kafka_newest *n)
{
    for (int32_t i = 0; i < n->count; i++)
        n->part[i].at = n->part[i].low;
    n->more = true;
    n->decided = true;
}

/* ---- windows -------------------------------------------------------------------------------------- */

static uint64_t first_window(const struct kafka_newest *n)
{
    uint64_t parts = n->count > 0 ? (uint64_t)n->count : 1;
    uint64_t goal = n->spec.wanted + (n->spec.one_more ? 1 : 0), share;

    if (n->count == 1 && !n->spec.sparse) return goal;
    share = goal / parts * 2 + WINDOW_MIN;
    if (n->spec.sparse) return share + WINDOW_SPARSE;
    return share < goal ? share : goal;
}

static uint64_t window_of(const struct kafka_newest *n, const struct part *p)
{
    uint64_t size = p->window ? p->window * 2 : first_window(n),
             room = (uint64_t)(p->low - p->floor);

    if (size > WINDOW_MAX && p->window) size = WINDOW_MAX;
    return size < room ? size : room;
}

struct kafka_range *kafka_newest_next(struct kafka_newest *n)
{
    uint64_t left = n->spec.max_scan ? n->spec.max_scan - n->scanned : UINT64_MAX;
    struct kafka_range *r;

    if (n->spec.max_scan && n->scanned >= n->spec.max_scan) left = 0;
    for (int32_t i = 0; i < n->count; i++)
        settle(&n->part[i]);
    choose(n);
    if (!n->decided && left == 0) give_up(n);
    if (n->decided) return NULL;
    r = kafka_range_new(n->count);
    for (int32_t i = 0; i < n->count && left > 0; i++) {
        struct part *p = &n->part[i];
        if (!is_dry(p)) continue;
        p->window = window_of(n, p);
        if (p->window > left) p->window = left;
        left -= p->window;
        kafka_range_set(r, i, p->low - (int64_t)p->window, p->low);
        p->low -= (int64_t)p->window;
    }
    return r;
}

int64_t kafka_newest_at(const struct kafka_newest *n, int32_t partition)
{
    return n->part[partition].at;
}

bool kafka_newest_more(const struct kafka_newest *n)
{
    return n->more;
}
