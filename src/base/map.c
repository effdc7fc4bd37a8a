#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAP_LEAST 8
#define MAP_KEPT 64  /* slots: what fills and empties in each turn is not worth shrinking */
#define MOVE_LEAST 2 /* slots that are moved with one insertion */

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->slots);
    free(m->old);
    map_init(m);
}

/* A node is in `old` as long as the slot that it belongs to there has not been moved, and is put
 * there too: so there is one place where it can be. */
static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
    if (m->old && (hash & m->old_mask) >= m->moved) return &m->old[hash & m->old_mask];
    return &m->slots[hash & m->mask];
}

static void move_slot(struct map *m)
{
    struct map_node *n = m->old[m->moved];

    m->old[m->moved++] = NULL;
    while (n) {
        struct map_node *next = n->next;
        struct map_node **slot = &m->slots[n->hash & m->mask];
        n->next = *slot;
        *slot = n;
        n = next;
    }
    if (m->moved <= m->old_mask) return;
    free(m->old);
    m->old = NULL;
}

/* All is moved before the table can be too small or too large again: that takes as many insertions
 * as half of the new size. */
static void move_some(struct map *m)
{
    size_t some = 2 * (m->old_mask + 1) / (m->mask + 1);

    if (some < MOVE_LEAST) some = MOVE_LEAST;
    while (m->old && some-- > 0)
        move_slot(m);
}

static void map_resize(struct map *m, size_t size)
{
    while (m->old)
        move_slot(m);
    m->old = m->slots;
    m->old_mask = m->mask;
    m->moved = 0;
    m->slots = mem_zero(size * sizeof(*m->slots));
    m->mask = size - 1;
}

/* Shrinking waits for an insertion too, so that a walk may remove what it stands on. */
static void map_fit(struct map *m)
{
    if (!m->slots) {
        map_resize(m, MAP_LEAST);
        return;
    }
    if (m->old) {
        move_some(m);
        return;
    }
    size_t size = m->mask + 1;
    if (m->count >= size) {
        map_resize(m, size * 2);
    } else if (size > MAP_KEPT && m->count < size / 8) {
        while (size > MAP_KEPT && m->count < size / 4)
            size /= 2;
        map_resize(m, size);
    }
}

void map_insert(struct map *m, struct map_node *n, uint64_t hash)
{
    map_fit(m);
    struct map_node **slot = slot_of(m, hash);
    n->hash = hash;
    n->next = *slot;
    *slot = n;
    m->count++;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **p = slot_of(m, n->hash);
    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    n->next = NULL;
    m->count--;
}

static struct map_node *map_scan(struct map_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

struct map_node *map_find(const struct map *m, uint64_t hash)
{
    return m->slots ? map_scan(*slot_of(m, hash), hash) : NULL;
}

/* What it is a member of is hardly ever smaller, and seldom at the beginning of a line. */
static void fetch_node(const struct map_node *n)
{
    __builtin_prefetch(n);
    __builtin_prefetch((const char *)n + 64);
}

void map_fetch(const struct map *m, const uint64_t *hashes, size_t count)
{
    if (!m->slots) return;
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(slot_of(m, hashes[i]));
    for (size_t i = 0; i < count; i++)
        fetch_node(*slot_of(m, hashes[i]));
    for (size_t i = 0; i < count; i++) {
        const struct map_node *n = *slot_of(m, hashes[i]);
        if (n && n->hash != hashes[i]) fetch_node(n->next);
    }
}

struct map_node *map_again(const struct map_node *n)
{
    return map_scan(n->next, n->hash);
}

/* The slots, then those of `old`. */
struct map_node *map_next(struct map *m, struct map_walk *w)
{
    struct map_node *n = w->next;
    size_t size = m->slots ? m->mask + 1 : 0;
    size_t all = m->old ? size + m->old_mask + 1 : size;
    while (!n && w->slot < all) {
        n = w->slot < size ? m->slots[w->slot] : m->old[w->slot - size];
        w->slot++;
    }
    w->next = n ? n->next : NULL;
    return n;
}

/* ---- SipHash-1-3 -------------------------------------------------------------------------- */

static pthread_once_t hash_once = PTHREAD_ONCE_INIT;
static uint64_t hash_secret[2];

static void hash_draw(void)
{
    random_bytes(hash_secret, sizeof(hash_secret));
}

struct sip {
    uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t v, unsigned n)
{
    return v << n | v >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotate(s->b, 13) ^ s->a;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a = rotate(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotate(s->b, 17) ^ s->c;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c = rotate(s->c, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->d ^= word;
    sip_round(s);
    s->a ^= word;
}

/* Of the machine's byte order: a hash never leaves the process. */
static inline uint64_t load_word(const char *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

static struct sip sip_begin(void)
{
    pthread_once(&hash_once, hash_draw);
    return (struct sip){
        .a = hash_secret[0] ^ 0x736f6d6570736575U,
        .b = hash_secret[1] ^ 0x646f72616e646f6dU,
        .c = hash_secret[0] ^ 0x6c7967656e657261U,
        .d = hash_secret[1] ^ 0x7465646279746573U,
    };
}

static uint64_t sip_end(struct sip *s)
{
    s->c ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(s);
    return s->a ^ s->b ^ s->c ^ s->d;
}

uint64_t hash_span(struct span s)
{
    struct sip h = sip_begin();
    size_t at = 0;
    for (; s.n - at >= 8; at += 8)
        sip_word(&h, load_word(s.p + at, 8));
    uint64_t tail = at < s.n ? load_word(s.p + at, s.n - at) : 0;
    sip_word(&h, tail | (uint64_t)s.n << 56);
    return sip_end(&h);
}
