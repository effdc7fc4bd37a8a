#include "bus/kafka_since.h"

#include <stdlib.h>

#include "base/mem.h"

#define WINDOW_FIRST 64
#define WINDOW_MAX 65536

/* [low, end) was looked at or is being, nothing below `floor` is there. */
struct part {
    int64_t floor, low, at;
    int64_t window;  /* size of the last one */
    bool any, found; /* in the last one: messages; some of that time */
    bool old;        /* its first message was older */
    bool open;
};

struct kafka_since {
    int64_t time;
    uint64_t left; /* offsets to look at */
    bool more;
    int32_t count;
    struct part part[];
};

struct kafka_since *kafka_since_new(const struct kafka_range *doubtful, int64_t time,
                                    uint64_t max_scan)
{
    struct kafka_since *s = mem_zero(sizeof *s + (size_t)doubtful->count * sizeof s->part[0]);

    s->time = time;
    s->count = doubtful->count;
    s->left = max_scan + (uint64_t)s->count * WINDOW_FIRST;
    for (int32_t i = 0; i < s->count; i++) {
        const struct kafka_part *p = &doubtful->part[i];
        s->part[i] = (struct part){
            .floor = p->at, .low = p->end, .at = p->end, .open = kafka_range_has(doubtful, i)};
    }
    return s;
}

void kafka_since_free(struct kafka_since *s)
{
    free(s);
}

void kafka_since_look(struct kafka_since *s, int32_t partition, int64_t offset, int64_t ts)
{
    struct part *p = &s->part[partition];

    if (!p->any) p->old = ts < s->time;
    p->any = true;
    if (ts < s->time) return;
    p->found = true;
    if (offset < p->at) p->at = offset;
}

static void settle(struct part *p)
{
    if (p->low == p->floor || (p->any && !p->found)) p->open = false;
}

static int64_t next_window(const struct part *p, uint64_t left)
{
    int64_t size = p->window ? p->window * 2 : WINDOW_FIRST;

    if (size > WINDOW_MAX) size = WINDOW_MAX;
    if (size > p->low - p->floor) size = p->low - p->floor;
    return (uint64_t)size < left ? size : (int64_t)left;
}

struct kafka_range *kafka_since_next(struct kafka_since *s)
{
    struct kafka_range *r = kafka_range_new(s->count);

    for (int32_t i = 0; i < s->count; i++) {
        struct part *p = &s->part[i];
        if (p->open) settle(p);
        if (!p->open) continue;
        if (s->left == 0) {
            if (p->found && !p->old) s->more = true;
            continue;
        }
        p->window = next_window(p, s->left);
        p->any = p->found = false;
        s->left -= (uint64_t)p->window;
        kafka_range_set(r, i, p->low - p->window, p->low);
        p->low -= p->window;
    }
    if (r->open > 0) return r;
    free(r);
    return NULL;
}

int64_t kafka_since_at(const struct kafka_since *s, int32_t partition)
{
    return s->part[partition].at;
}

bool kafka_since_more(const struct kafka_since *s)
{
    return s->more;
}
