#include "bus/kafka_past.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bus/kafka_job.h"
#include "bus/kafka_message.h"

#define JOBS_MAX 20000
#define BYTES_MAX ((size_t)64 << 20) /* of requests that are not answered */
#define TICK_MS 20
#define SILENCE_MS 60  /* a reader that goes on and gets nothing is placed anew: see wake_up() */
#define LINGER_MS 1000 /* what a reader without work holds */
#define IDLE_MS 60000  /* a reader without work */
#define IGNORED_MAX 2000
#define RETRIES_MAX 5

static uint64_t ticks(const struct kafka_past *p)
{
    return p->host->ticks(p->host);
}

static void kick(struct kafka_past *p)
{
    if (!p->stopped) p->host->timer_set(p->kick, 0);
}

static void keep_ticking(struct kafka_past *p)
{
    enum kafka_pace pace = p->jobs > 0 ? PACE_FAST : p->slot_count > 0 ? PACE_SLOW : PACE_NONE;

    if (p->stopped || pace <= p->pace) return;
    p->pace = pace;
    p->host->timer_set(p->tick, pace == PACE_FAST ? TICK_MS : LINGER_MS);
}

/* ---- slots ---------------------------------------------------------------------------------------- */

static void slot_free(struct kafka_slot *s)
{
    struct kafka_past *p = s->past;

    list_del(&s->node);
    p->slot_count--;
    kafka_reader_free(s->reader);
    free(s->words);
    free(s);
}

/* The job has no reader any more. */
static void detach(struct kafka_job *j)
{
    struct kafka_slot *s = j->slot;

    j->slot = NULL;
    if (!s) return;
    s->job = NULL;
    s->replace = s->proven = s->silent = false;
    s->used = ticks(j->past);
    kick(j->past);
}

static void slot_place(struct kafka_slot *s)
{
    s->replace = s->silent = false;
    s->ignored = 0;
    kafka_reader_place(s->reader, s->job->topic, s->job->range);
}

/* ---- jobs ----------------------------------------------------------------------------------------- */

static void set_state(struct kafka_job *j, enum kafka_job_state state)
{
    struct kafka_past *p = j->past;

    j->state = state;
    j->due = ticks(p) + p->config->request_timeout;
    list_del(&j->node);
    list_append(state == JOB_QUEUED ? &p->queue : &p->busy, &j->node);
}

void kafka_job_set_range(struct kafka_job *j, struct kafka_range *range)
{
    free(j->range);
    free(j->began);
    j->range = range;
    j->began = mem_alloc((size_t)range->count * sizeof j->began[0]);
    for (int32_t i = 0; i < range->count; i++)
        j->began[i] = range->part[i].at;
}

void kafka_job_done(struct kafka_job *j)
{
    struct kafka_past *p = j->past;

    kafka_meta_cancel(&j->meta);
    if (j->slot) kafka_reader_stop(j->slot->reader);
    detach(j);
    list_del(&j->node);
    p->jobs--;
    p->bytes -= j->bytes;
    free((char *)(uintptr_t)j->topic.p);
    free(j->key);
    free(j->range);
    free(j->began);
    j->kind->free(j);
}

void kafka_job_refuse(struct kafka_job *j, enum wsbus_status status, const char *words)
{
    const struct wsbus_answer a = {.status = status, .words = words};

    j->kind->fail(j, &a);
    kafka_job_done(j);
}

void kafka_job_read(struct kafka_job *j)
{
    set_state(j, JOB_QUEUED);
    kick(j->past);
}

/* The reader has been stopped, and is free for others. */
static void end_pass(struct kafka_job *j)
{
    detach(j);
    j->kind->over(j);
}

static void on_extent(struct meta_call *c, const struct kafka_topic *topic)
{
    struct kafka_job *j = CONTAINER_OF(c, struct kafka_job, meta);

    if (topic->answer.status != WSBUS_OK) {
        j->kind->fail(j, &topic->answer);
        kafka_job_done(j);
    } else if (topic->count > WSBUS_PARTITIONS_MAX) {
        kafka_job_refuse(j, WSBUS_UNSUPPORTED, "the topic has more than 1024 partitions");
    } else {
        j->kind->extent(j, topic);
    }
}

/* The question has its own deadline. */
void kafka_job_ask(struct kafka_job *j)
{
    set_state(j, JOB_ASKING);
    j->meta.done = on_extent;
    kafka_meta_ask(j->past->meta, &j->meta, j->topic, j->want, j->time);
}

bool kafka_past_stands(struct kafka_past *p, struct span topic, const struct kafka_range *range)
{
    for (struct list *n = p->slots.next; n != &p->slots; n = n->next) {
        struct kafka_slot *s = LIST_ITEM(n, struct kafka_slot, node);
        if (!s->job && kafka_reader_rests(s->reader) &&
            kafka_reader_stands(s->reader, topic, range))
            return true;
    }
    return false;
}

void kafka_job_add(struct kafka_past *p, struct kafka_job *j, const struct wsbus_topic *topic,
                   struct span key)
{
    j->past = p;
    j->topic = span_of(mem_dup(topic->name, topic->name_len), topic->name_len);
    if (key.p) j->key = mem_dup(key.p, key.n);
    j->key_len = key.n;
    j->bytes += sizeof *j + topic->name_len + key.n;
    list_init(&j->node);
    p->jobs++;
    p->bytes += j->bytes;
    if (p->stopped || p->jobs > JOBS_MAX || p->bytes > BYTES_MAX) {
        kafka_job_refuse(j, p->stopped ? WSBUS_UNAVAILABLE : WSBUS_BUSY,
                         p->stopped ? NULL
                                    : "too many requests about the past wait; ask again later");
        return;
    }
    if (j->range)
        kafka_job_read(j);
    else
        kafka_job_ask(j);
    keep_ticking(p);
}

/* ---- what a reader delivers ------------------------------------------------------------------------ */

static void on_proven(struct meta_call *c, const struct kafka_topic *topic)
{
    struct kafka_job *j = CONTAINER_OF(c, struct kafka_job, meta);

    if (topic->answer.status != WSBUS_OK) {
        j->kind->fail(j, &topic->answer);
        kafka_job_done(j);
        return;
    }
    for (int32_t i = 0; i < j->range->count; i++)
        kafka_range_cut(j->range, i, i < topic->count ? topic->extent[i].end : 0);
    if (j->range->open == 0) {
        end_pass(j);
        return;
    }
    set_state(j, JOB_READING);
    j->slot->proven = true;
    kick(j->past);
}

/* The reader says that a partition ends where its range does not. It may have said so long ago, while
 * it stood; or the log was created anew. Whoever waits for more must know. */
static bool prove_end(struct kafka_job *j)
{
    set_state(j, JOB_PROVING);
    j->meta.done = on_proven;
    kafka_meta_ask(j->past->meta, &j->meta, j->topic, KAFKA_WANT_EXTENT, 0);
    return false;
}

static bool take_end(struct kafka_job *j, const rd_kafka_message_t *m)
{
    kafka_range_pass(j->range, m->partition, m->offset);
    if (j->range->open == 0) {
        end_pass(j);
        return false;
    }
    return kafka_range_has(j->range, m->partition) ? prove_end(j) : true;
}

/* The place is not in the log, which has been trimmed or created anew, or the reader knows nothing of the
 * partition. Where something was found already, that is answered, and the next request finds out. */
static bool take_no_such_place(struct kafka_job *j, const rd_kafka_message_t *m)
{
    if (!kafka_range_has(j->range, m->partition)) return true;
    if (j->kind->partial(j)) {
        end_pass(j);
    } else if (j->retries++ == RETRIES_MAX) {
        detach(j);
        kafka_job_refuse(j, WSBUS_UNAVAILABLE,
                         "the topic does not stand still for as long as it takes to read it");
    } else {
        detach(j);
        kafka_job_ask(j);
    }
    return false;
}

static bool is_no_such_place(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
           err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static bool take_error(struct kafka_job *j, const rd_kafka_message_t *m)
{
    char *words;

    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) return take_end(j, m);
    if (is_no_such_place(m->err)) return take_no_such_place(j, m);
    if (kafka_passes(m->err) || !kafka_range_has(j->range, m->partition)) return true;
    words = mem_dup(rd_kafka_message_errstr(m), strlen(rd_kafka_message_errstr(m)));
    detach(j);
    kafka_job_refuse(j, kafka_status(m->err), words);
    free(words);
    return false;
}

/* Partitions that are over go on delivering: not for ever. */
static bool ignore(struct kafka_slot *s)
{
    if (++s->ignored < IGNORED_MAX) return true;
    s->replace = true;
    kick(s->past);
    return false;
}

static bool on_message(void *owner, const rd_kafka_message_t *m)
{
    struct kafka_slot *s = owner;
    struct kafka_job *j = s->job;
    bool more = true;

    if (!j) return false;
    s->silent = false;
    if (m->err) return take_error(j, m);
    if (!kafka_range_take(j->range, m->partition, m->offset)) {
        if (j->range->open > 0) return ignore(s);
    } else {
        j->moved = true;
        more = j->kind->look(j, m);
    }
    if (more && j->range->open > 0) return true;
    end_pass(j);
    return false;
}

static void on_placed(void *owner, const char *words)
{
    struct kafka_slot *s = owner;
    struct kafka_past *p = s->past;
    struct kafka_job *j = s->job;

    kick(p);
    if (!words) return;
    if (j) {
        detach(j);
        kafka_job_refuse(j, WSBUS_REFUSED, words);
    }
    slot_free(s);
}

static void on_error(void *owner, rd_kafka_resp_err_t err, const char *words)
{
    struct kafka_slot *s = owner;
    struct kafka_job *j = s->job;
    char *copy = mem_dup(words, strlen(words));

    free(s->words);
    s->words = copy;
    if (err != RD_KAFKA_RESP_ERR__FATAL) return;
    s->words = NULL;
    if (j) {
        detach(j);
        kafka_job_refuse(j, WSBUS_UNAVAILABLE, copy);
    }
    free(copy);
    slot_free(s);
}

static const struct kafka_reader_ops reader_ops = {on_message, on_placed, on_error};

/* ---- giving readers to jobs ------------------------------------------------------------------------ */

static struct kafka_slot *slot_new(struct kafka_past *p, char *err, size_t err_size)
{
    struct kafka_slot *s = mem_zero(sizeof *s);
    const struct kafka_reader_spec spec = {
        .host = p->host,
        .config = p->config,
        .crew = p->crew,
        .ops = &reader_ops,
        .owner = s,
    };

    s->past = p;
    s->reader = kafka_reader_new(&spec, err, err_size);
    if (!s->reader) {
        free(s);
        return NULL;
    }
    list_append(&p->slots, &s->node);
    p->slot_count++;
    return s;
}

/* The one that stands there; or one that holds nothing, a new one, the one that has been without work
 * for longest. */
static struct kafka_slot *slot_for(struct kafka_past *p, const struct kafka_job *j, char *err,
                                   size_t err_size)
{
    struct kafka_slot *empty = NULL, *oldest = NULL;

    for (struct list *n = p->slots.next; n != &p->slots; n = n->next) {
        struct kafka_slot *s = LIST_ITEM(n, struct kafka_slot, node);
        if (s->job || !kafka_reader_rests(s->reader)) continue;
        if (kafka_reader_stands(s->reader, j->topic, j->range)) return s;
        if (!kafka_reader_holds(s->reader)) empty = s;
        if (!oldest || s->used < oldest->used) oldest = s;
    }
    if (empty) return empty;
    if (p->slot_count < p->host->readers) return slot_new(p, err, err_size);
    return oldest;
}

static void job_read(struct kafka_job *j, struct kafka_slot *s)
{
    set_state(j, JOB_READING);
    j->slot = s;
    s->job = j;
    if (kafka_reader_stands(s->reader, j->topic, j->range)) {
        s->silent = true;
        s->placed = ticks(j->past);
        kafka_reader_go(s->reader);
    } else {
        slot_place(s);
    }
}

static void on_kick(void *arg)
{
    struct kafka_past *p = arg;
    char err[256] = "";

    for (struct list *n = p->slots.next; n != &p->slots; n = n->next) {
        struct kafka_slot *s = LIST_ITEM(n, struct kafka_slot, node);
        if (!s->job || !kafka_reader_rests(s->reader)) continue;
        if (s->replace)
            slot_place(s);
        else if (s->proven)
            kafka_reader_go(s->reader);
        s->proven = false;
    }
    while (!p->stopped && !list_empty(&p->queue)) {
        struct kafka_job *j = LIST_ITEM(p->queue.next, struct kafka_job, node);
        struct kafka_slot *s = slot_for(p, j, err, sizeof err);
        if (!s && !err[0]) break;
        if (s)
            job_read(j, s);
        else
            kafka_job_refuse(j, WSBUS_UNAVAILABLE, err);
    }
}

/* ---- time ------------------------------------------------------------------------------------------ */

static void job_late(struct kafka_job *j)
{
    char *words;

    if (j->state == JOB_QUEUED) {
        kafka_job_refuse(j, WSBUS_BUSY, "all readers are at work; ask again later");
        return;
    }
    if (j->state != JOB_READING) return;
    words = j->slot->words;
    j->slot->words = NULL;
    kafka_reader_stop(j->slot->reader);
    detach(j);
    if (j->kind->partial(j))
        j->kind->over(j);
    else
        kafka_job_refuse(j, WSBUS_UNAVAILABLE, words ? words : "Kafka has not answered in time");
    free(words);
}

static void watch_jobs(struct kafka_past *p, struct list *jobs)
{
    uint64_t now = ticks(p);
    struct list turn, *n;

    list_init(&turn);
    list_move(&turn, jobs);
    while ((n = list_pop(&turn))) {
        struct kafka_job *j = LIST_ITEM(n, struct kafka_job, node);
        list_append(jobs, n);
        if (j->moved) j->due = now + p->config->request_timeout;
        j->moved = false;
        if (now >= j->due) job_late(j);
    }
}

/* A reader whose queue was full looks again after a second only, even if it has been emptied since
 * (librdkafka before 2.2). Being placed wakes it. */
static void wake_up(struct kafka_slot *s)
{
    s->silent = false;
    s->replace = true;
    kafka_reader_stop(s->reader);
    kick(s->past);
}

static void watch_slots(struct kafka_past *p)
{
    uint64_t now = ticks(p);
    struct list *next;

    for (struct list *n = p->slots.next; n != &p->slots; n = next) {
        struct kafka_slot *s = LIST_ITEM(n, struct kafka_slot, node);
        next = n->next;
        if (s->job && s->job->state == JOB_READING && s->silent && now - s->placed >= SILENCE_MS)
            wake_up(s);
        if (s->job || !kafka_reader_rests(s->reader)) continue;
        if (now - s->used >= IDLE_MS)
            slot_free(s);
        else if (now - s->used >= LINGER_MS && kafka_reader_holds(s->reader))
            kafka_reader_place(s->reader, span_of(NULL, 0), NULL);
    }
}

static void on_tick(void *arg)
{
    struct kafka_past *p = arg;

    p->pace = PACE_NONE;
    watch_jobs(p, &p->queue);
    watch_jobs(p, &p->busy);
    watch_slots(p);
    keep_ticking(p);
}

/* ---- life cycle ------------------------------------------------------------------------------------ */

struct kafka_past *kafka_past_new(const struct wsbus_host *host, const struct kafka_config *config,
                                  struct kafka_crew *crew, struct kafka_meta *meta)
{
    struct kafka_past *p = mem_zero(sizeof *p);

    p->host = host;
    p->config = config;
    p->crew = crew;
    p->meta = meta;
    list_init(&p->queue);
    list_init(&p->busy);
    list_init(&p->slots);
    p->kick = host->timer(host, on_kick, p);
    p->tick = host->timer(host, on_tick, p);
    return p;
}

static void refuse_all(struct list *jobs)
{
    while (!list_empty(jobs))
        kafka_job_refuse(LIST_ITEM(jobs->next, struct kafka_job, node), WSBUS_UNAVAILABLE,
                         "the bridge is stopping");
}

void kafka_past_stop(struct kafka_past *p)
{
    p->stopped = true;
    p->host->timer_stop(p->kick);
    p->host->timer_stop(p->tick);
    refuse_all(&p->queue);
    refuse_all(&p->busy);
    while (!list_empty(&p->slots))
        slot_free(LIST_ITEM(p->slots.next, struct kafka_slot, node));
}

void kafka_past_free(struct kafka_past *p)
{
    p->host->timer_free(p->kick);
    p->host->timer_free(p->tick);
    free(p);
}

struct kafka_past_figures kafka_past_figures(const struct kafka_past *p)
{
    struct kafka_past_figures f = {.requests = p->jobs, .readers = p->slot_count};

    for (const struct list *n = p->queue.next; n != &p->queue; n = n->next)
        f.waiting++;
    return f;
}
