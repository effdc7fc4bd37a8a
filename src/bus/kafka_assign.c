#include "bus/kafka_assign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define WARM_MS 1000 /* for what a handle learns about topics before they are assigned */
#define FEW 4        /* topics that are asked for one by one */

/* One partition to be added or removed. */
struct change {
    struct list node;
    bool add;
    int32_t partition;
    int64_t offset;
    char words[128]; /* why it failed; empty: it did not */
    char topic[];
};

struct batch {
    struct crew_job job;
    struct kafka_assign *assign;
    struct kafka_hold *hold;
    struct list changes;
    char *look; /* NULL: none */
    int timeout_ms;
    const struct rd_kafka_metadata *seen;
};

struct kafka_assign {
    struct kafka_handle *handle;
    struct kafka_crew *crew;
    const struct kafka_assign_ops *ops;
    void *owner;
    struct list waiting; /* changes */
    char *look;          /* a look is to be made */
    int look_timeout_ms;
    bool running, stopped, looking;
};

/* ---- on a helper thread -------------------------------------------------------------------- */

static void give(struct kafka_hold *hold, bool add, const rd_kafka_topic_partition_list_t *list,
                 struct list *first, int count)
{
    rd_kafka_t *rk = kafka_hold_rk(hold);
    kafka_hold_settle(hold);
    rd_kafka_error_t *error =
        add ? rd_kafka_incremental_assign(rk, list) : rd_kafka_incremental_unassign(rk, list);
    /* The stop of a partition makes what was fetched of it void. */
    if (!add) kafka_hold_settle(hold);
    if (!error) return;
    for (int i = 0; i < count; i++, first = first->next) {
        struct change *c = LIST_ITEM(first, struct change, node);
        snprintf(c->words, sizeof(c->words), "%s", rd_kafka_error_string(error));
    }
    rd_kafka_error_destroy(error);
}

/* Topics that the handle may not know yet, by name while they are asked for. */
struct fresh {
    rd_kafka_topic_t **topics;
    size_t count;
};

static void fresh_add(struct fresh *f, rd_kafka_t *rk, const char *name)
{
    if (f->count > 0 && strcmp(rd_kafka_topic_name(f->topics[f->count - 1]), name) == 0) return;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (!topic) return;
    f->topics = mem_grow(f->topics, (f->count + 1) * sizeof(*f->topics));
    f->topics[f->count++] = topic;
}

static void fresh_ask(rd_kafka_t *rk, rd_kafka_topic_t *topic)
{
    const struct rd_kafka_metadata *md;
    if (rd_kafka_metadata(rk, 0, topic, &md, WARM_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(md);
}

/* Assigned without it, a partition whose leader the handle does not know is looked for up to a second
 * later. Many topics in one question, which is about all that the handle knows. */
static void fresh_learn(const struct fresh *f, rd_kafka_t *rk)
{
    if (f->count > FEW) fresh_ask(rk, NULL);
    for (size_t i = 0; f->count <= FEW && i < f->count; i++)
        fresh_ask(rk, f->topics[i]);
}

static void fresh_done(struct fresh *f)
{
    for (size_t i = 0; i < f->count; i++)
        rd_kafka_topic_destroy(f->topics[i]);
    free(f->topics);
}

/* As many as are alike in one call. */
static void give_all(struct batch *b)
{
    rd_kafka_t *rk = kafka_hold_rk(b->hold);
    struct list *n = b->changes.next;
    while (n != &b->changes) {
        struct list *first = n;
        struct fresh fresh = {NULL, 0};
        bool add = LIST_ITEM(n, struct change, node)->add;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
        for (; n != &b->changes && LIST_ITEM(n, struct change, node)->add == add; n = n->next) {
            const struct change *c = LIST_ITEM(n, struct change, node);
            rd_kafka_topic_partition_list_add(list, c->topic, c->partition)->offset = c->offset;
            if (add) fresh_add(&fresh, rk, c->topic);
        }
        fresh_learn(&fresh, rk);
        give(b->hold, add, list, first, list->cnt);
        fresh_done(&fresh);
        rd_kafka_topic_partition_list_destroy(list);
    }
}

/* All topics that the handle knows; with this one it knows at least one, otherwise librdkafka would
 * ask for all that there are. */
static void look(struct batch *b, rd_kafka_t *rk)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, b->look, NULL);
    if (!topic) return;
    if (rd_kafka_metadata(rk, 0, NULL, &b->seen, b->timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        b->seen = NULL;
    rd_kafka_topic_destroy(topic);
}

static void batch_work(struct crew_job *j)
{
    struct batch *b = CONTAINER_OF(j, struct batch, job);
    rd_kafka_t *rk = kafka_hold_rk(b->hold);
    give_all(b);
    if (b->look) look(b, rk);
    kafka_hold_drop(b->hold);
    b->hold = NULL;
}

static void free_changes(struct list *changes)
{
    for (struct list *n = list_pop(changes); n; n = list_pop(changes))
        free(LIST_ITEM(n, struct change, node));
}

static void batch_left(struct crew_job *j)
{
    struct batch *b = CONTAINER_OF(j, struct batch, job);
    if (b->hold) kafka_hold_drop(b->hold);
    if (b->seen) rd_kafka_metadata_destroy(b->seen);
    free_changes(&b->changes);
    free(b->look);
    free(b);
}

/* ---- on the bus thread --------------------------------------------------------------------- */

static void start(struct kafka_assign *a);

static void tell(struct kafka_assign *a, const struct batch *b)
{
    for (const struct list *n = b->changes.next; n != &b->changes && !a->stopped; n = n->next) {
        const struct change *c = CONTAINER_OF(n, const struct change, node);
        if (!c->add)
            a->ops->removed(a->owner, span_str(c->topic));
        else if (c->words[0])
            a->ops->failed(a->owner, span_str(c->topic), c->words);
    }
    for (int i = 0; b->seen && i < b->seen->topic_cnt && !a->stopped; i++) {
        const struct rd_kafka_metadata_topic *t = &b->seen->topics[i];
        a->ops->seen(a->owner, span_str(t->topic), t->err, t->err ? 0 : t->partition_cnt);
    }
}

static void batch_done(struct crew_job *j)
{
    struct batch *b = CONTAINER_OF(j, struct batch, job);
    struct kafka_assign *a = b->assign;
    if (b->look)
        a->looking = false;
    else
        a->running = false;
    tell(a, b);
    batch_left(j);
    start(a);
}

static void start(struct kafka_assign *a)
{
    if (a->running || a->stopped || (list_empty(&a->waiting) && !a->look)) return;
    struct batch *b = mem_zero(sizeof(*b));
    b->job.work = batch_work;
    b->job.done = batch_done;
    b->job.left = batch_left;
    b->assign = a;
    b->hold = kafka_handle_hold(a->handle);
    list_init(&b->changes);
    list_move(&b->changes, &a->waiting);
    /* A look may take long: what comes meanwhile must not wait for it. */
    if (list_empty(&b->changes)) {
        b->look = a->look;
        b->timeout_ms = a->look_timeout_ms;
        a->look = NULL;
    }
    a->running = b->look == NULL;
    kafka_crew_run(a->crew, &b->job);
}

static void change(struct kafka_assign *a, struct span topic, int32_t partition, int64_t offset,
                   bool add)
{
    if (a->stopped) return;
    struct change *c = mem_zero(sizeof(*c) + topic.n + 1);
    c->add = add;
    c->partition = partition;
    c->offset = offset;
    memcpy(c->topic, topic.p, topic.n);
    list_append(&a->waiting, &c->node);
    start(a);
}

void kafka_assign_add(struct kafka_assign *a, struct span topic, int32_t partition, int64_t offset)
{
    change(a, topic, partition, offset, true);
}

void kafka_assign_remove(struct kafka_assign *a, struct span topic, int32_t partition)
{
    change(a, topic, partition, RD_KAFKA_OFFSET_INVALID, false);
}

void kafka_assign_look(struct kafka_assign *a, struct span topic, uint64_t timeout_ms)
{
    if (a->looking || a->stopped) return;
    a->looking = true;
    a->look = mem_dup(topic.p, topic.n);
    a->look_timeout_ms = (int)timeout_ms;
    start(a);
}

struct kafka_assign *kafka_assign_new(struct kafka_handle *handle, struct kafka_crew *crew,
                                      const struct kafka_assign_ops *ops, void *owner)
{
    struct kafka_assign *a = mem_zero(sizeof(*a));
    a->handle = handle;
    a->crew = crew;
    a->ops = ops;
    a->owner = owner;
    list_init(&a->waiting);
    return a;
}

void kafka_assign_stop(struct kafka_assign *a)
{
    a->stopped = true;
    free_changes(&a->waiting);
    free(a->look);
    a->look = NULL;
}

void kafka_assign_free(struct kafka_assign *a)
{
    free(a);
}
