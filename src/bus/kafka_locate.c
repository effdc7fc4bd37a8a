/* locate(): most places are known with the ends of the partitions; the newest n, and those of a time of
 * which the brokers know none, are looked for by reading back from the end. */
#include <stdlib.h>

#include "base/mem.h"
#include "bus/kafka_job.h"
#include "bus/kafka_message.h"
#include "bus/kafka_newest.h"
#include "bus/kafka_pos.h"
#include "bus/kafka_since.h"
#include "protocol/cursor.h"

#define SINCE_MAX 1000000 /* offsets to look at for a time, where the hub sets no limit */

struct finder {
    struct kafka_job job;
    enum wsbus_place place;
    struct wsbus_cursor *cursor, *until;
    uint64_t count, max_messages;
    enum wsbus_lost lost;
    struct kafka_newest *newest;
    struct kafka_since *since;
    struct kafka_range *whole; /* with `since`: of all partitions, from the place to the end */
    int32_t partitions;
};

static struct finder *finder_of(const struct kafka_job *j)
{
    return CONTAINER_OF(j, struct finder, job);
}

static void answer(struct finder *f, struct wsbus_cursor *at, bool limited)
{
    const struct wsbus_host *host = f->job.past->host;
    const struct wsbus_answer ok = {.status = WSBUS_OK};
    const struct wsbus_located l = {.cursor = at, .lost = f->lost, .limited = limited};

    host->located(host, f->job.token, &ok, &l);
    cursor_free(at);
    kafka_job_done(&f->job);
}

/* ---- the newest n ------------------------------------------------------------------------------------ */

static void look_on(struct finder *f)
{
    struct kafka_range *range = kafka_newest_next(f->newest);
    struct wsbus_cursor *at;

    if (range) {
        kafka_job_set_range(&f->job, range);
        kafka_job_read(&f->job);
        return;
    }
    at = cursor_new((uint32_t)f->partitions);
    for (int32_t i = 0; i < f->partitions; i++)
        at->pos[i] = kafka_pos_before(i, kafka_newest_at(f->newest, i));
    answer(f, at, kafka_newest_more(f->newest));
}

/* Where the partitions begin and end for somebody who looks back from `until`. */
static struct kafka_range *range_back(const struct finder *f, const struct kafka_topic *topic)
{
    struct kafka_range *range = kafka_range_new(topic->count);

    for (int32_t i = 0; i < topic->count; i++) {
        const struct kafka_extent *x = &topic->extent[i];
        const struct wsbus_pos *until = cursor_get(f->until, i);
        int64_t end = x->end;
        if (until && kafka_pos_next(until) < end) end = kafka_pos_next(until);
        kafka_range_set(range, i, x->first, end > x->first ? end : x->first);
    }
    return range;
}

static void find_last(struct finder *f, const struct kafka_topic *topic)
{
    struct kafka_range *range = range_back(f, topic);
    bool cut = f->max_messages && f->count > f->max_messages;
    const struct newest_spec spec = {
        .wanted = cut ? f->max_messages : f->count,
        .one_more = cut,
        .sparse = f->job.key != NULL,
        .max_scan = f->job.key ? f->max_messages : 0,
    };

    kafka_newest_free(f->newest);
    f->newest = NULL;
    if (f->count > 0) {
        f->newest = kafka_newest_new(&spec, range);
        free(range);
        look_on(f);
        return;
    }
    for (int32_t i = 0; i < range->count; i++)
        range->part[i].at = range->part[i].end;
    answer(f, kafka_range_cursor(range), false);
    free(range);
}

/* ---- the other places -------------------------------------------------------------------------------- */

/* Places a client's cursor in the log as it is now. A partition that the cursor lacks begins at its
 * beginning; if that is gone already, it is as lost as any. */
static int64_t place_after(struct finder *f, int32_t partition, const struct kafka_extent *x)
{
    const struct wsbus_pos *pos = cursor_get(f->cursor, partition);
    int64_t at = pos ? kafka_pos_next(pos) : 0;

    if (at > x->end) {
        f->lost = WSBUS_LOST_EPOCH;
    } else if (at >= x->first) {
        return at;
    } else if (!f->lost) {
        f->lost = WSBUS_LOST_EXPIRED;
    }
    return x->first;
}

static int64_t place_in(struct finder *f, int32_t partition, const struct kafka_extent *x)
{
    switch (f->place) {
    case WSBUS_EARLIEST: return x->first;
    case WSBUS_AT_TIME: return x->at;
    case WSBUS_AFTER: return place_after(f, partition, x);
    default: return x->end;
    }
}

/* Does the cursor name partitions that are not there? Then it is of another log. */
static bool names_others(const struct wsbus_cursor *c, int32_t partitions)
{
    for (uint32_t i = 0; c && i < c->count; i++)
        if (c->pos[i].partition >= partitions) return true;
    return false;
}

static int by_length(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The most that each partition may keep so that all together keep no more than `max`: short ones keep
 * all. */
static int64_t fair_share(const struct kafka_range *range, int64_t max)
{
    int64_t *lengths = mem_alloc((size_t)range->count * sizeof lengths[0]), share = 0;

    for (int32_t i = 0; i < range->count; i++)
        lengths[i] = range->part[i].end - range->part[i].at;
    qsort(lengths, (size_t)range->count, sizeof lengths[0], by_length);
    for (int32_t i = 0; i < range->count; i++) {
        share = max / (range->count - i);
        if (lengths[i] > share) break;
        max -= lengths[i];
    }
    free(lengths);
    return share;
}

/* By offsets: to count messages would cost as much as to send them. In a log with holes fewer follow
 * than might, never more. With a key nothing is said: what has that key cannot be known. */
static bool limit(const struct finder *f, struct kafka_range *range)
{
    uint64_t follow = 0;
    int64_t share;

    for (int32_t i = 0; i < range->count; i++)
        follow += (uint64_t)(range->part[i].end - range->part[i].at);
    if (!f->max_messages || f->job.key || follow <= f->max_messages) return false;
    share = fair_share(range, (int64_t)f->max_messages);
    for (int32_t i = 0; i < range->count; i++)
        if (range->part[i].end - range->part[i].at > share)
            range->part[i].at = range->part[i].end - share;
    return true;
}

static void answer_from(struct finder *f, struct kafka_range *range, bool more)
{
    bool limited = limit(f, range);

    answer(f, kafka_range_cursor(range), limited || more);
}

static void find_since(struct finder *f)
{
    struct kafka_range *range = kafka_since_next(f->since);

    if (range) {
        kafka_job_set_range(&f->job, range);
        kafka_job_read(&f->job);
        return;
    }
    for (int32_t i = 0; i < f->partitions; i++) {
        struct kafka_part *p = &f->whole->part[i];
        if (p->at == p->end) p->at = kafka_since_at(f->since, i);
    }
    answer_from(f, f->whole, kafka_since_more(f->since));
}

/* Partitions that have messages, and none of that time, are looked at: see kafka_since.h. */
static struct kafka_range *doubtful(const struct finder *f, const struct kafka_topic *topic)
{
    struct kafka_range *range = kafka_range_new(topic->count);

    for (int32_t i = 0; i < topic->count; i++) {
        const struct kafka_extent *x = &topic->extent[i];
        bool none = f->place == WSBUS_AT_TIME && x->at == x->end;
        kafka_range_set(range, i, none ? x->first : x->end, x->end);
    }
    return range;
}

static void finder_forget(struct finder *f)
{
    kafka_since_free(f->since);
    free(f->whole);
    f->since = NULL;
    f->whole = NULL;
}

static void finder_extent(struct kafka_job *j, const struct kafka_topic *topic)
{
    struct finder *f = finder_of(j);
    struct kafka_range *range, *doubt;

    finder_forget(f);
    f->partitions = topic->count;
    if (f->place == WSBUS_LAST) {
        find_last(f, topic);
        return;
    }
    range = kafka_range_new(topic->count);
    for (int32_t i = 0; i < topic->count; i++)
        kafka_range_set(range, i, place_in(f, i, &topic->extent[i]), topic->extent[i].end);
    if (f->place == WSBUS_AFTER && names_others(f->cursor, topic->count))
        f->lost = WSBUS_LOST_EPOCH;
    doubt = doubtful(f, topic);
    if (doubt->open > 0) {
        f->whole = range;
        f->since =
            kafka_since_new(doubt, f->job.time, f->max_messages ? f->max_messages : SINCE_MAX);
        find_since(f);
    } else {
        answer_from(f, range, false);
        free(range);
    }
    free(doubt);
}

/* ---- the request ------------------------------------------------------------------------------------- */

static bool finder_look(struct kafka_job *j, const rd_kafka_message_t *m)
{
    struct finder *f = finder_of(j);
    rd_kafka_timestamp_type_t type;
    int64_t ts = rd_kafka_message_timestamp(m, &type);

    if (f->since)
        kafka_since_look(f->since, m->partition, m->offset, ts);
    else
        kafka_newest_look(f->newest, m->partition, m->offset, ts,
                          kafka_message_matches(m, j->key, j->key_len));
    return true;
}

static void finder_over(struct kafka_job *j)
{
    struct finder *f = finder_of(j);

    if (f->since)
        find_since(f);
    else
        look_on(f);
}

static bool finder_partial(const struct kafka_job *j)
{
    (void)j;
    return false;
}

static void finder_fail(struct kafka_job *j, const struct wsbus_answer *a)
{
    j->past->host->located(j->past->host, j->token, a, NULL);
}

static void finder_free(struct kafka_job *j)
{
    struct finder *f = finder_of(j);

    kafka_newest_free(f->newest);
    finder_forget(f);
    cursor_free(f->cursor);
    cursor_free(f->until);
    free(f);
}

static const struct kafka_job_kind finder_kind = {
    .extent = finder_extent,
    .look = finder_look,
    .over = finder_over,
    .partial = finder_partial,
    .fail = finder_fail,
    .free = finder_free,
};

static size_t cursor_bytes(const struct wsbus_cursor *c)
{
    return c ? sizeof *c + c->count * sizeof c->pos[0] : 0;
}

void kafka_past_locate(struct kafka_past *p, uint64_t token, const struct wsbus_locate *l)
{
    struct finder *f = mem_zero(sizeof *f);

    f->job.kind = &finder_kind;
    f->job.token = token;
    f->job.want = l->place == WSBUS_AT_TIME ? KAFKA_WANT_TIME : KAFKA_WANT_EXTENT;
    f->job.time = l->time;
    f->job.bytes = cursor_bytes(l->cursor) + cursor_bytes(l->until);
    f->place = l->place;
    f->cursor = cursor_copy(l->cursor);
    f->until = cursor_copy(l->until);
    f->count = l->count;
    f->max_messages = l->max_messages;
    kafka_job_add(p, &f->job, &l->topic, span_of(l->key, l->key_len));
}
