#include "bus/kafka_range.h"

#include "base/mem.h"
#include "bus/kafka_pos.h"
#include "protocol/cursor.h"

struct kafka_range *kafka_range_new(int32_t count)
{
    struct kafka_range *r = mem_zero(sizeof *r + (size_t)count * sizeof r->part[0]);

    r->count = count;
    return r;
}

bool kafka_range_has(const struct kafka_range *r, int32_t partition)
{
    if (partition < 0 || partition >= r->count) return false;
    return r->part[partition].at < r->part[partition].end;
}

void kafka_range_set(struct kafka_range *r, int32_t partition, int64_t at, int64_t end)
{
    if (kafka_range_has(r, partition)) r->open--;
    r->part[partition] = (struct kafka_part){.at = at, .end = end};
    if (at < end) r->open++;
}

void kafka_range_pass(struct kafka_range *r, int32_t partition, int64_t offset)
{
    struct kafka_part *p;

    if (!kafka_range_has(r, partition)) return;
    p = &r->part[partition];
    if (offset <= p->at) return;
    p->at = offset < p->end ? offset : p->end;
    if (p->at >= p->end) r->open--;
}

bool kafka_range_take(struct kafka_range *r, int32_t partition, int64_t offset)
{
    bool wanted = kafka_range_has(r, partition) && offset >= r->part[partition].at &&
                  offset < r->part[partition].end;

    kafka_range_pass(r, partition, offset + 1);
    return wanted;
}

void kafka_range_cut(struct kafka_range *r, int32_t partition, int64_t end)
{
    struct kafka_part *p;

    if (!kafka_range_has(r, partition)) return;
    p = &r->part[partition];
    if (end >= p->end) return;
    p->end = end > p->at ? end : p->at;
    if (p->at >= p->end) r->open--;
}

struct wsbus_cursor *kafka_range_cursor(const struct kafka_range *r)
{
    struct wsbus_cursor *c = cursor_new((uint32_t)r->count);

    for (int32_t i = 0; i < r->count; i++)
        c->pos[i] = kafka_pos_before(i, r->part[i].at);
    return c;
}
