#include "bus/memory_topics.h"

#include "base/mem.h"

void memory_topics_init(struct memory_topics *all, const struct memory_limits *limits)
{
    *all = (struct memory_topics){.limits = *limits};
    map_init(&all->by_name);
    list_init(&all->idle);
    for (int i = 0; i < MEMORY_WEIGHTS; i++)
        list_init(&all->weight[i]);
}

/* ---- weights ------------------------------------------------------------------------------ */

static unsigned weight_of(size_t bytes)
{
    return bytes ? 63U - (unsigned)__builtin_clzll(bytes) : 0;
}

/* Puts the topic among those that are about as heavy; one without messages is on no list. */
static void weigh(struct memory_topics *all, struct memory_topic *t, size_t bytes_before)
{
    unsigned before = weight_of(bytes_before), now = weight_of(t->bytes);
    bool listed = bytes_before > 0;
    if (before == now && listed == (t->bytes > 0)) return;
    list_del(&t->weight);
    if (listed && list_empty(&all->weight[before])) all->weights &= ~(UINT64_C(1) << before);
    if (t->bytes == 0) return;
    list_append(&all->weight[now], &t->weight);
    all->weights |= UINT64_C(1) << now;
}

static void trim(struct memory_topics *all, struct memory_topic *t)
{
    size_t before = t->bytes;
    memory_topic_trim(t);
    all->bytes -= before - t->bytes;
    all->messages--;
    weigh(all, t, before);
}

/* From the fullest topics, to within a factor of two; they take turns. */
static void trim_all(struct memory_topics *all)
{
    while (all->bytes > all->limits.bytes) {
        unsigned heaviest = 63U - (unsigned)__builtin_clzll(all->weights);
        struct list *n = list_pop(&all->weight[heaviest]);
        list_append(&all->weight[heaviest], n);
        trim(all, LIST_ITEM(n, struct memory_topic, weight));
    }
}

void memory_topics_append(struct memory_topics *all, struct memory_topic *t,
                          struct wsbus_message *m)
{
    size_t before = t->bytes;
    memory_topic_append(t, m);
    all->bytes += t->bytes - before;
    all->messages++;
    weigh(all, t, before);
    while (memory_topic_kept(t) > all->limits.history || t->bytes > all->limits.history_bytes)
        trim(all, t);
    trim_all(all);
}

/* ---- which there are ---------------------------------------------------------------------- */

static void destroy(struct memory_topics *all, struct memory_topic *t)
{
    size_t before = t->bytes;
    all->bytes -= before;
    all->messages -= memory_topic_kept(t);
    list_del(&t->weight);
    if (before && list_empty(&all->weight[weight_of(before)]))
        all->weights &= ~(UINT64_C(1) << weight_of(before));
    list_del(&t->idle);
    map_remove(&all->by_name, &t->node);
    memory_topic_free(t);
}

void memory_topics_done(struct memory_topics *all)
{
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&all->by_name, &walk)))
        destroy(all, CONTAINER_OF(n, struct memory_topic, node));
    map_done(&all->by_name);
}

void memory_topics_touch(struct memory_topics *all, struct memory_topic *t)
{
    list_del(&t->idle);
    if (list_empty(&t->feeds) && !t->delivering) list_append(&all->idle, &t->idle);
}

static struct memory_topic *find(struct memory_topics *all, struct span name, uint64_t hash)
{
    for (struct map_node *n = map_find(&all->by_name, hash); n; n = map_again(n)) {
        struct memory_topic *t = CONTAINER_OF(n, struct memory_topic, node);
        if (span_eq(span_of(t->name, t->name_len), name)) return t;
    }
    return NULL;
}

struct memory_topic *memory_topics_use(struct memory_topics *all, struct span name)
{
    uint64_t hash = hash_span(name);
    struct memory_topic *t = find(all, name, hash);
    if (!t) {
        if (all->by_name.count >= all->limits.topics) {
            if (list_empty(&all->idle)) return NULL;
            destroy(all, LIST_ITEM(all->idle.next, struct memory_topic, idle));
        }
        t = memory_topic_new(name);
        map_insert(&all->by_name, &t->node, hash);
    }
    memory_topics_touch(all, t);
    return t;
}

/* By the hash alone: a name need not be compared for a hint. */
size_t memory_topics_fetch(const struct memory_topics *all, const struct span *names, size_t count,
                           struct memory_topic **ret)
{
    uint64_t hashes[MEMORY_FETCH] = {0};
    size_t found = 0;
    if (count > MEMORY_FETCH) count = MEMORY_FETCH;
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_span(names[i]);
    map_fetch(&all->by_name, hashes, count);
    for (size_t i = 0; i < count; i++) {
        struct map_node *n = map_find(&all->by_name, hashes[i]);
        if (!n) continue;
        ret[found] = CONTAINER_OF(n, struct memory_topic, node);
        mem_fetch(ret[found++], sizeof(struct memory_topic));
    }
    for (size_t i = 0; i < found; i++)
        memory_topic_fetch(ret[i]);
    return found;
}
