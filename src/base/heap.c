#include "base/heap.h"

#include <stdlib.h>

#include "base/mem.h"

#define SMALLEST 4u

void heap_init(struct heap *h)
{
    *h = (struct heap){.count = 0};
}

void heap_clear(struct heap *h)
{
    while (h->count > 0)
        h->nodes[--h->count]->at = 0;
}

void heap_done(struct heap *h)
{
    heap_clear(h);
    free(h->nodes);
    heap_init(h);
}

static void resize(struct heap *h, uint32_t size)
{
    h->nodes = mem_grow(h->nodes, size * sizeof(struct heap_node *));
    h->size = size;
}

static void put(struct heap *h, struct heap_node *n, uint32_t i)
{
    h->nodes[i] = n;
    n->at = i + 1;
}

static void rise(struct heap *h, struct heap_node *n, uint32_t i)
{
    while (i > 0 && h->nodes[(i - 1) / 2]->key > n->key) {
        put(h, h->nodes[(i - 1) / 2], i);
        i = (i - 1) / 2;
    }
    put(h, n, i);
}

static void sink(struct heap *h, struct heap_node *n, uint32_t i)
{
    for (;;) {
        uint32_t least = 2 * i + 1;
        if (least >= h->count) break;
        if (least + 1 < h->count && h->nodes[least + 1]->key < h->nodes[least]->key) least++;
        if (h->nodes[least]->key >= n->key) break;
        put(h, h->nodes[least], i);
        i = least;
    }
    put(h, n, i);
}

void heap_set(struct heap *h, struct heap_node *n, uint64_t key)
{
    uint64_t before = n->key;

    n->key = key;
    if (n->at == 0) {
        if (h->count == h->size) resize(h, h->size ? h->size * 2 : SMALLEST);
        rise(h, n, h->count++);
    } else if (key < before) {
        rise(h, n, n->at - 1);
    } else if (key > before) {
        sink(h, n, n->at - 1);
    }
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    uint32_t i = n->at - 1;
    struct heap_node *last;

    if (n->at == 0) return;
    n->at = 0;
    last = h->nodes[--h->count];
    if (last != n) {
        if (last->key < n->key)
            rise(h, last, i);
        else
            sink(h, last, i);
    }
    /* At a quarter, so that one who comes and goes at the border does not move all. */
    if (h->size > SMALLEST && h->count < h->size / 4) resize(h, h->size / 2);
}
