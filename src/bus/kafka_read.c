/* read(): a piece of a topic's past. */
#include <stdlib.h>

#include "base/mem.h"
#include "bus/kafka_job.h"
#include "bus/kafka_message.h"
#include "bus/kafka_pos.h"
#include "protocol/cursor.h"

struct reading {
    struct kafka_job job;
    struct wsbus_cursor *from, *until;
    uint32_t max_messages, max_bytes, max_scan;
    enum wsbus_lost lost;
    struct wsbus_cursor *lost_until;
    uint32_t scanned;
    uint64_t bytes;
    struct wsbus_message **messages;
    size_t count, size;
};

static struct reading *reading_of(const struct kafka_job *j)
{
    return CONTAINER_OF(j, struct reading, job);
}

/* ---- the range ------------------------------------------------------------------------------------- */

static void lose(struct reading *r, enum wsbus_lost lost, int32_t partition, int64_t until)
{
    struct wsbus_pos pos = kafka_pos_before(partition, until);

    if (r->lost != WSBUS_LOST_EPOCH) r->lost = lost;
    cursor_put(&r->lost_until, &pos);
}

/* Where to begin in this partition, up to `end`. What was trimmed is a loss as far as it was asked for. */
static int64_t begin_at(struct reading *r, int32_t partition, const struct kafka_extent *x,
                        int64_t end)
{
    const struct wsbus_pos *from = cursor_get(r->from, partition);
    int64_t at = from ? kafka_pos_next(from) : x->first;

    if (at > x->end) {
        at = x->first < end ? x->first : end;
        lose(r, WSBUS_LOST_EPOCH, partition, at);
    } else if (at < x->first && at < end) {
        at = x->first < end ? x->first : end;
        lose(r, WSBUS_LOST_EXPIRED, partition, at);
    }
    return at;
}

static void answer(struct reading *r)
{
    const struct wsbus_host *host = r->job.past->host;
    const struct wsbus_answer ok = {.status = WSBUS_OK};
    struct wsbus_cursor *at = kafka_range_cursor(r->job.range);
    struct wsbus_chunk c = {
        .messages = r->messages,
        .count = r->count,
        .cursor = at,
        .end = r->job.range->open == 0,
        .lost = r->lost,
        .lost_until = r->lost_until,
    };

    host->chunk(host, r->job.token, &ok, &c);
    cursor_free(at);
    kafka_job_done(&r->job);
}

static void reading_extent(struct kafka_job *j, const struct kafka_topic *topic)
{
    struct reading *r = reading_of(j);
    struct kafka_range *range = kafka_range_new(topic->count);

    r->lost = WSBUS_NOTHING_LOST;
    cursor_free(r->lost_until);
    r->lost_until = NULL;
    for (int32_t i = 0; i < topic->count; i++) {
        const struct wsbus_pos *until = cursor_get(r->until, i);
        int64_t end = topic->extent[i].end;
        if (until && kafka_pos_next(until) < end) end = kafka_pos_next(until);
        kafka_range_set(range, i, begin_at(r, i, &topic->extent[i], end), end);
    }
    kafka_job_set_range(j, range);
    if (range->open > 0)
        kafka_job_read(j);
    else
        answer(r);
}

/* ---- messages ---------------------------------------------------------------------------------------- */

static void add_message(struct reading *r, struct wsbus_message *m)
{
    if (r->count == r->size) {
        r->size = r->size ? r->size * 2 : 64;
        r->messages = mem_grow(r->messages, r->size * sizeof(struct wsbus_message *));
    }
    r->messages[r->count++] = m;
    r->bytes += m->size;
}

static bool reading_look(struct kafka_job *j, const rd_kafka_message_t *m)
{
    struct reading *r = reading_of(j);

    r->scanned++;
    if (kafka_message_matches(m, j->key, j->key_len)) add_message(r, kafka_message_new(m));
    return r->count < r->max_messages && r->bytes < r->max_bytes && r->scanned < r->max_scan;
}

static void reading_over(struct kafka_job *j)
{
    answer(reading_of(j));
}

static bool reading_partial(const struct kafka_job *j)
{
    return reading_of(j)->scanned > 0;
}

static void reading_fail(struct kafka_job *j, const struct wsbus_answer *a)
{
    j->past->host->chunk(j->past->host, j->token, a, NULL);
}

static void reading_free(struct kafka_job *j)
{
    struct reading *r = reading_of(j);

    for (size_t i = 0; i < r->count; i++)
        wsbus_message_unref(r->messages[i]);
    free(r->messages);
    cursor_free(r->from);
    cursor_free(r->until);
    cursor_free(r->lost_until);
    free(r);
}

static const struct kafka_job_kind reading_kind = {
    .extent = reading_extent,
    .look = reading_look,
    .over = reading_over,
    .partial = reading_partial,
    .fail = reading_fail,
    .free = reading_free,
};

/* ---- the request ------------------------------------------------------------------------------------- */

/* The next piece of a longer read, for which a reader stands there: nothing need be asked if every
 * partition has both a beginning and an end. Should the end be beyond that of the log, the reader says
 * so. */
static struct kafka_range *range_of_next(struct kafka_past *p, const struct wsbus_read *read)
{
    uint32_t count = read->from && read->until ? read->from->count : 0;
    struct kafka_range *range;

    if (count == 0 || count > WSBUS_PARTITIONS_MAX || read->until->count != count) return NULL;
    range = kafka_range_new((int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
        const struct wsbus_pos *from = &read->from->pos[i], *until = &read->until->pos[i];
        if (from->partition != (int32_t)i || until->partition != (int32_t)i) break;
        kafka_range_set(range, (int32_t)i, kafka_pos_next(from), kafka_pos_next(until));
        if (i + 1 < count) continue;
        if (kafka_past_stands(p, span_of(read->topic.name, read->topic.name_len), range))
            return range;
    }
    free(range);
    return NULL;
}

static size_t cursor_bytes(const struct wsbus_cursor *c)
{
    return c ? sizeof *c + c->count * sizeof c->pos[0] : 0;
}

void kafka_past_read(struct kafka_past *p, uint64_t token, const struct wsbus_read *read)
{
    struct reading *r = mem_zero(sizeof *r);
    struct kafka_range *range = range_of_next(p, read);

    r->job.kind = &reading_kind;
    r->job.token = token;
    r->job.want = KAFKA_WANT_EXTENT;
    r->job.bytes = 2 * (cursor_bytes(read->from) + cursor_bytes(read->until));
    r->from = cursor_copy(read->from);
    r->until = cursor_copy(read->until);
    r->max_messages = read->max_messages;
    r->max_bytes = read->max_bytes;
    r->max_scan = read->max_scan;
    if (range) kafka_job_set_range(&r->job, range);
    kafka_job_add(p, &r->job, &read->topic, span_of(read->key, read->key_len));
}
