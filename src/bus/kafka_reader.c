#include "bus/kafka_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define NOT_THERE (-1)
#define WARM_MS 1000

struct kafka_reader {
    struct kafka_crew *crew;
    const struct kafka_reader_ops *ops;
    void *owner;
    struct kafka_handle *handle;
    struct placement *placement; /* under way */
    bool flowing;                /* the owner has not stopped it */
    bool stopped;                /* nor the handle been told to: it needs kafka_handle_resume() */
    char *known;                 /* the last topic before */
    char *topic;                 /* NULL: it has no place */
    size_t topic_len;
    int32_t count;
    int64_t *
        next; /* for each partition the next offset that will come; NOT_THERE: none will, or it is not certain */
};

/* Outlives the reader where that is freed meanwhile. */
struct placement {
    struct crew_job job;
    struct kafka_hold *hold;
    struct kafka_reader *reader; /* NULL: freed */
    rd_kafka_topic_partition_list_t *list;
    bool warm; /* the handle may not know the topic yet */
    rd_kafka_resp_err_t err;
};

/* ---- what comes --------------------------------------------------------------------------------- */

static bool on_message(void *owner, const rd_kafka_message_t *m)
{
    struct kafka_reader *r = owner;

    if (m->partition >= 0 && m->partition < r->count) {
        r->next[m->partition] = m->err ? NOT_THERE : m->offset + 1;
    }
    if (r->flowing && r->ops->message(r->owner, m)) return true;
    r->flowing = false;
    r->stopped = true;
    return false;
}

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    const struct kafka_reader *r = owner;

    r->ops->error(r->owner, err, words);
}

static const struct kafka_handle_ops handle_ops = {.message = on_message, .error = on_error};

/* ---- placing -------------------------------------------------------------------------------------- */

static void placement_free(struct placement *p)
{
    kafka_hold_drop(p->hold);
    if (p->list) rd_kafka_topic_partition_list_destroy(p->list);
    free(p);
}

/* A handle that does not know where a partition is when it is assigned asks at once only if it has a
 * connection already, and otherwise up to a second later. */
static void warm(struct placement *p)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_t *rk = kafka_hold_rk(p->hold);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, p->list->elems[0].topic, NULL);

    if (!topic) return;
    if (rd_kafka_metadata(rk, 0, topic, &md, WARM_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(topic);
}

static void place_work(struct crew_job *j)
{
    struct placement *p = CONTAINER_OF(j, struct placement, job);

    if (p->warm) warm(p);
    kafka_hold_settle(p->hold);
    p->err = rd_kafka_assign(kafka_hold_rk(p->hold), p->list);
}

static void place_left(struct crew_job *j)
{
    placement_free(CONTAINER_OF(j, struct placement, job));
}

static void place_done(struct crew_job *j)
{
    struct placement *p = CONTAINER_OF(j, struct placement, job);
    struct kafka_reader *r = p->reader;
    rd_kafka_resp_err_t err = p->err;

    placement_free(p);
    if (!r) return;
    r->placement = NULL;
    if (!err && r->flowing && r->stopped) kafka_reader_go(r);
    if (err) r->flowing = false;
    r->ops->placed(r->owner, err ? rd_kafka_err2str(err) : NULL);
}

static rd_kafka_topic_partition_list_t *list_of(const char *topic, const struct kafka_range *range)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(range->open);

    for (int32_t i = 0; i < range->count; i++)
        if (kafka_range_has(range, i))
            rd_kafka_topic_partition_list_add(list, topic, i)->offset = range->part[i].at;
    return list;
}

static bool knows(const struct kafka_reader *r, struct span topic)
{
    if (r->topic) return span_eq(topic, span_of(r->topic, r->topic_len));
    return r->known && span_eq(topic, span_str(r->known));
}

static void let_go(struct kafka_reader *r)
{
    if (r->topic) {
        free(r->known);
        r->known = r->topic;
    }
    free(r->next);
    r->topic = NULL;
    r->next = NULL;
    r->topic_len = 0;
    r->count = 0;
}

static void take_place(struct kafka_reader *r, struct span topic, const struct kafka_range *range)
{
    r->topic = mem_dup(topic.p, topic.n);
    r->topic_len = topic.n;
    r->count = range->count;
    r->next = mem_alloc((size_t)range->count * sizeof r->next[0]);
    for (int32_t i = 0; i < range->count; i++)
        r->next[i] = kafka_range_has(range, i) ? range->part[i].at : NOT_THERE;
}

void kafka_reader_place(struct kafka_reader *r, struct span topic, const struct kafka_range *range)
{
    struct placement *p = mem_zero(sizeof *p);

    p->reader = r;
    p->hold = kafka_handle_hold(r->handle);
    p->job = (struct crew_job){.work = place_work, .done = place_done, .left = place_left};
    p->warm = range && !knows(r, topic);
    let_go(r);
    if (range) {
        take_place(r, topic, range);
        p->list = list_of(r->topic, range);
        r->flowing = true;
    }
    r->placement = p;
    kafka_crew_run(r->crew, &p->job);
}

void kafka_reader_go(struct kafka_reader *r)
{
    r->flowing = true;
    if (!r->stopped) return;
    r->stopped = false;
    kafka_handle_resume(r->handle);
}

void kafka_reader_stop(struct kafka_reader *r)
{
    r->flowing = false;
    if (r->stopped) return;
    r->stopped = true;
    kafka_handle_pause(r->handle);
}

/* ---- questions ------------------------------------------------------------------------------------ */

bool kafka_reader_rests(const struct kafka_reader *r)
{
    return !r->placement && !r->flowing;
}

bool kafka_reader_holds(const struct kafka_reader *r)
{
    return r->topic != NULL;
}

bool kafka_reader_stands(const struct kafka_reader *r, struct span topic,
                         const struct kafka_range *range)
{
    if (!r->topic || range->open == 0 || range->count != r->count) return false;
    if (!span_eq(topic, span_of(r->topic, r->topic_len))) return false;
    for (int32_t i = 0; i < range->count; i++)
        if (kafka_range_has(range, i) && r->next[i] != range->part[i].at) return false;
    return true;
}

/* ---- life cycle ----------------------------------------------------------------------------------- */

struct kafka_reader *kafka_reader_new(const struct kafka_reader_spec *spec, char *err,
                                      size_t err_size)
{
    struct kafka_reader *r = mem_zero(sizeof *r);

    r->crew = spec->crew;
    r->ops = spec->ops;
    r->owner = spec->owner;
    const struct kafka_handle_spec handle = {spec->host, spec->config, KAFKA_READER,
                                             spec->crew, &handle_ops,  r};
    r->handle = kafka_handle_new(&handle, err, err_size);
    if (r->handle) return r;
    free(r);
    return NULL;
}

void kafka_reader_free(struct kafka_reader *r)
{
    if (!r) return;
    if (r->placement) r->placement->reader = NULL;
    kafka_handle_free(r->handle);
    let_go(r);
    free(r->known);
    free(r);
}
