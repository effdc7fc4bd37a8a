#include "edge/addresses.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bucket.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#define SHARDS 16
#define IDLE_MAX 4096 /* in each shard */

struct shard {
    pthread_mutex_t lock;
    struct map map;
    struct list idle; /* without a connection, oldest first */
    size_t idle_count;
};

struct addresses_entry {
    struct map_node node;
    struct list idle;
    struct shard *shard;
    unsigned char group[16];
    uint64_t connections;
    uint64_t full_at;
};

struct addresses {
    struct addresses_limits limits;
    uint64_t cost;
    struct shard shards[SHARDS];
};

struct addresses *addresses_new(struct addresses_limits limits)
{
    struct addresses *a = mem_zero(sizeof *a);

    a->limits = limits;
    a->cost = bucket_cost(limits.per_second);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&a->shards[i].lock, NULL);
        map_init(&a->shards[i].map);
        list_init(&a->shards[i].idle);
    }
    return a;
}

static void forget(struct addresses_entry *e)
{
    e->shard->idle_count--;
    list_del(&e->idle);
    map_remove(&e->shard->map, &e->node);
    free(e);
}

static struct addresses_entry *oldest(struct shard *s)
{
    return list_empty(&s->idle) ? NULL : LIST_ITEM(s->idle.next, struct addresses_entry, idle);
}

void addresses_free(struct addresses *a)
{
    if (!a) return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &a->shards[i];
        while (oldest(s))
            forget(oldest(s));
        map_done(&s->map);
        pthread_mutex_destroy(&s->lock);
    }
    free(a);
}

/* All that have been idle for so long that they are as new, and those that are too many. */
static void tidy(struct shard *s, uint64_t now)
{
    struct addresses_entry *e;

    while ((e = oldest(s)) && (e->full_at <= now || s->idle_count > IDLE_MAX))
        forget(e);
}

static struct addresses_entry *find(struct shard *s, const unsigned char group[16], uint64_t hash)
{
    for (struct map_node *n = map_find(&s->map, hash); n; n = map_again(n)) {
        struct addresses_entry *e = CONTAINER_OF(n, struct addresses_entry, node);
        if (memcmp(e->group, group, sizeof e->group) == 0) return e;
    }
    return NULL;
}

static struct addresses_entry *add(struct shard *s, const unsigned char group[16], uint64_t hash)
{
    struct addresses_entry *e = mem_zero(sizeof *e);

    e->shard = s;
    memcpy(e->group, group, sizeof e->group);
    map_insert(&s->map, &e->node, hash);
    list_init(&e->idle);
    list_append(&s->idle, &e->idle);
    s->idle_count++;
    return e;
}

enum addresses_verdict addresses_enter(struct addresses *a, const struct address *from,
                                       uint64_t now, struct addresses_entry **ret)
{
    enum addresses_verdict verdict = ADDRESSES_OK;
    unsigned char group[16];

    *ret = NULL;
    if (a->limits.connections == 0 && a->cost == 0) return ADDRESSES_OK;
    address_group(from, group);
    uint64_t hash = hash_span(span_of((const char *)group, sizeof group));
    struct shard *s = &a->shards[hash >> 60];
    pthread_mutex_lock(&s->lock);
    tidy(s, now * BUCKET_MS);
    struct addresses_entry *e = find(s, group, hash);
    if (!e) e = add(s, group, hash);
    if (a->limits.connections > 0 && e->connections >= a->limits.connections) {
        verdict = ADDRESSES_CONNECTIONS;
    } else if (!bucket_take(&e->full_at, a->cost, now * BUCKET_MS)) {
        verdict = ADDRESSES_RATE;
    } else {
        if (e->connections++ == 0) {
            list_del(&e->idle);
            s->idle_count--;
        }
        *ret = e;
    }
    pthread_mutex_unlock(&s->lock);
    return verdict;
}

void addresses_leave(struct addresses_entry *e)
{
    if (!e) return;
    struct shard *s = e->shard;
    pthread_mutex_lock(&s->lock);
    if (--e->connections == 0) {
        list_append(&s->idle, &e->idle);
        s->idle_count++;
    }
    pthread_mutex_unlock(&s->lock);
}

size_t addresses_count(struct addresses *a)
{
    size_t n = 0;

    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&a->shards[i].lock);
        n += a->shards[i].map.count;
        pthread_mutex_unlock(&a->shards[i].lock);
    }
    return n;
}
