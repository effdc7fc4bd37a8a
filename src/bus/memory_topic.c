#include "bus/memory_topic.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define RING_LEAST 8

/* Its text is that of the newest message with the key, which is in the log as long as this is. */
struct memory_key {
    struct map_node node;
    uint64_t newest;
    struct span text;
};

/* The ring is up to twice as large as what is in it. */
static size_t entry_cost(const struct wsbus_message *m)
{
    size_t cost = m->size + 2 * sizeof(struct memory_entry);
    return m->key ? cost + sizeof(struct memory_key) : cost;
}

struct memory_topic *memory_topic_new(struct span name)
{
    struct memory_topic *t = mem_zero(sizeof(*t) + name.n);
    list_init(&t->idle);
    list_init(&t->weight);
    list_init(&t->feeds);
    list_init(&t->later);
    map_init(&t->keys);
    memcpy(t->name, name.p, name.n);
    t->name_len = name.n;
    t->first = 1;
    while (t->epoch == 0)
        t->epoch = random_u64();
    return t;
}

void memory_topic_free(struct memory_topic *t)
{
    while (memory_topic_kept(t) > 0)
        memory_topic_trim(t);
    map_done(&t->keys);
    free(t->ring);
    free(t);
}

struct memory_entry *memory_topic_at(const struct memory_topic *t, uint64_t id)
{
    return &t->ring[id & (t->size - 1)];
}

static struct memory_key *find_key(const struct memory_topic *t, struct span key, uint64_t hash)
{
    for (struct map_node *n = map_find(&t->keys, hash); n; n = map_again(n)) {
        struct memory_key *k = CONTAINER_OF(n, struct memory_key, node);
        if (span_eq(k->text, key)) return k;
    }
    return NULL;
}

const struct memory_key *memory_topic_key(const struct memory_topic *t, struct span key)
{
    return find_key(t, key, hash_span(key));
}

static void resize(struct memory_topic *t, size_t size)
{
    struct memory_entry *ring = mem_alloc(size * sizeof(*ring));
    for (uint64_t id = t->first; id <= t->last; id++)
        ring[id & (size - 1)] = *memory_topic_at(t, id);
    free(t->ring);
    t->ring = ring;
    t->size = size;
}

static void chain(struct memory_topic *t, struct memory_entry *e)
{
    struct span text = span_of(e->message->key, e->message->key_len);
    uint64_t hash = hash_span(text);
    struct memory_key *k = find_key(t, text, hash);
    if (!k) {
        k = mem_zero(sizeof(*k));
        map_insert(&t->keys, &k->node, hash);
    }
    e->key = k;
    e->before = k->newest;
    k->newest = t->last;
    k->text = text;
}

void memory_topic_append(struct memory_topic *t, struct wsbus_message *m)
{
    uint64_t kept = memory_topic_kept(t);
    if (kept == t->size) resize(t, t->size ? t->size * 2 : RING_LEAST);
    t->last++;
    m->pos = (struct wsbus_pos){.partition = 0, .epoch = t->epoch, .lo = t->last};
    t->ts = m->ts;
    t->bytes += entry_cost(m);
    struct memory_entry *e = memory_topic_at(t, t->last);
    *e = (struct memory_entry){.message = wsbus_message_ref(m)};
    if (m->key) chain(t, e);
}

void memory_topic_trim(struct memory_topic *t)
{
    struct memory_entry *e = memory_topic_at(t, t->first);
    t->bytes -= entry_cost(e->message);
    if (e->key && e->key->newest == t->first) {
        map_remove(&t->keys, &e->key->node);
        free(e->key);
    }
    wsbus_message_unref(e->message);
    t->first++;
    if (t->size > RING_LEAST && memory_topic_kept(t) < t->size / 4) resize(t, t->size / 2);
}

uint64_t memory_topic_before_time(const struct memory_topic *t, int64_t time)
{
    uint64_t low = t->first, high = t->last + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (memory_topic_at(t, middle)->message->ts >= time)
            high = middle;
        else
            low = middle + 1;
    }
    return low - 1;
}

static uint64_t back_by_key(const struct memory_topic *t, struct span key, uint64_t until,
                            uint64_t count, bool *ret_more)
{
    const struct memory_key *k = memory_topic_key(t, key);
    uint64_t id = k ? k->newest : 0;
    while (id > until && id >= t->first)
        id = memory_topic_at(t, id)->before;
    uint64_t place = count == 0 ? until : t->first - 1;
    for (; count > 0 && id >= t->first; count--) {
        place = id - 1;
        id = memory_topic_at(t, id)->before;
    }
    *ret_more = id >= t->first;
    return count > 0 ? t->first - 1 : place;
}

uint64_t memory_topic_back(const struct memory_topic *t, const struct span *key, uint64_t until,
                           uint64_t count, bool *ret_more)
{
    if (key) return back_by_key(t, *key, until, count, ret_more);
    uint64_t there = until + 1 - t->first;
    *ret_more = there > count;
    return there > count ? until - count : t->first - 1;
}
