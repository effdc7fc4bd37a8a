#include "redis_load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bus/redis_id.h"
#include "protocol/cursor.h"

#define PRODUCERS 3
#define BATCH 40 /* entries */

static struct redis_server *server;
static unsigned maxlen;
static pthread_t producers[PRODUCERS];
static atomic_bool going;
static struct ids stored[LOAD_STREAMS]; /* from the producers' own replies */
static pthread_mutex_t stored_lock = PTHREAD_MUTEX_INITIALIZER;

void ids_add(struct ids *l, struct wsbus_pos pos)
{
    if (l->count == l->size) {
        l->size = l->size ? l->size * 2 : 64;
        l->pos = mem_grow(l->pos, l->size * sizeof *l->pos);
    }
    l->pos[l->count++] = pos;
}

size_t ids_after(const struct ids *l, const struct wsbus_pos *pos)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (pos_compare(&l->pos[mid], pos) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

redisContext *load_dial(struct redis_server *to)
{
    redisContext *c = redisConnectUnix(redis_server_url(to) + strlen("redis+unix://"));

    if (!c || c->err) abort();
    freeReplyObject(redisCommand(c, "ACL SETUSER writer on >pw ~* +@all"));
    freeReplyObject(redisCommand(c, "AUTH writer pw"));
    return c;
}

void load_pause(redisContext *c, const char *seconds)
{
    freeReplyObject(redisCommand(c, "BLPOP nothing %s", seconds));
}

static struct wsbus_pos id_of(const redisReply *r)
{
    struct wsbus_pos pos = {0};

    if (!r || r->type != REDIS_REPLY_STRING || redis_pos_parse(r->str, r->len, &pos) < 0) abort();
    return pos;
}

static void produce_batch(redisContext *c, unsigned *seed)
{
    unsigned streams[BATCH];

    for (unsigned i = 0; i < BATCH; i++) {
        streams[i] = (unsigned)rand_r(seed) % LOAD_STREAMS;
        streams[i] = streams[i] % 4 ? streams[i] : 0; /* some are busier */
        if (maxlen)
            redisAppendCommand(c, "XADD s%u MAXLEN ~ %u * data %u", streams[i], maxlen, i);
        else
            redisAppendCommand(c, "XADD s%u * %s %u", streams[i], i % 3 ? "data" : "other", i);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        void *r = NULL;
        if (redisGetReply(c, &r) != REDIS_OK) abort();
        pthread_mutex_lock(&stored_lock);
        ids_add(&stored[streams[i]], id_of(r));
        pthread_mutex_unlock(&stored_lock);
        freeReplyObject(r);
    }
}

static void *produce(void *arg)
{
    unsigned own_seed = (unsigned)(uintptr_t)arg;
    redisContext *c = load_dial(server);

    while (atomic_load(&going))
        produce_batch(c, &own_seed);
    redisFree(c);
    return NULL;
}

void load_start(struct redis_server *to, unsigned trim)
{
    redisContext *c = load_dial(to);

    server = to;
    maxlen = trim;
    freeReplyObject(redisCommand(c, "FLUSHALL"));
    redisFree(c);
    atomic_store(&going, true);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        pthread_create(&producers[i], NULL, produce, (void *)(i + 1));
}

static int by_pos(const void *a, const void *b)
{
    return pos_compare(a, b);
}

static void compare_with_server(redisContext *c, unsigned stream)
{
    redisReply *r = redisCommand(c, "XRANGE s%u - +", stream);

    if (r->elements != stored[stream].count) abort();
    for (size_t i = 0; i < r->elements; i++) {
        struct wsbus_pos pos = id_of(r->element[i]->element[0]);
        if (pos_compare(&pos, &stored[stream].pos[i]) != 0) abort();
    }
    freeReplyObject(r);
}

void load_stop(void)
{
    redisContext *c = load_dial(server);

    atomic_store(&going, false);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    for (unsigned s = 0; s < LOAD_STREAMS; s++) {
        if (stored[s].count == 0) continue;
        qsort(stored[s].pos, stored[s].count, sizeof *stored[s].pos, by_pos);
        if (!maxlen) compare_with_server(c, s);
    }
    redisFree(c);
}

const struct ids *load_stored(unsigned stream)
{
    return &stored[stream];
}

void load_forget(void)
{
    for (unsigned s = 0; s < LOAD_STREAMS; s++) {
        free(stored[s].pos);
        stored[s] = (struct ids){0};
    }
}
