#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAP_LEAST 8

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->slots);
    map_init(m);
}

static void map_resize(struct map *m, size_t size)
{
    struct map_node **slots = mem_zero(size * sizeof(*slots));
    size_t old = m->slots ? m->mask + 1 : 0;
    for (size_t i = 0; i < old; i++) {
        struct map_node *n = m->slots[i];
        while (n) {
            struct map_node *next = n->next;
            n->next = slots[n->hash & (size - 1)];
            slots[n->hash & (size - 1)] = n;
            n = next;
        }
    }
    free(m->slots);
    m->slots = slots;
    m->mask = size - 1;
}

/* Shrinking waits for an insertion too, so that a walk may remove what it stands on. */
static void map_fit(struct map *m)
{
    if (!m->slots) {
        map_resize(m, MAP_LEAST);
        return;
    }
    size_t size = m->mask + 1;
    if (m->count >= size) {
        map_resize(m, size * 2);
    } else if (size > MAP_LEAST && m->count < size / 8) {
        while (size > MAP_LEAST && m->count < size / 4)
            size /= 2;
        map_resize(m, size);
    }
}

void map_insert(struct map *m, struct map_node *n, uint64_t hash)
{
    map_fit(m);
    struct map_node **slot = &m->slots[hash & m->mask];
    n->hash = hash;
    n->next = *slot;
    *slot = n;
    m->count++;
}

void map_remove(struct map *m, struct map_node *n)
{
    struct map_node **p = &m->slots[n->hash & m->mask];
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
    return m->slots ? map_scan(m->slots[hash & m->mask], hash) : NULL;
}

struct map_node *map_again(const struct map_node *n)
{
    return map_scan(n->next, n->hash);
}

struct map_node *map_next(struct map *m, struct map_walk *w)
{
    struct map_node *n = w->next;
    size_t size = m->slots ? m->mask + 1 : 0;
    while (!n && w->slot < size)
        n = m->slots[w->slot++];
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
