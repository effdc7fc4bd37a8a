/* A binary heap of nodes that are members of something else: the least key is found at once, a node
 * is set, moved and removed in logarithmic time. No ownership of nodes, no locking. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint64_t key;
    uint32_t at; /* 1 + its place; 0: in no heap */
};

struct heap {
    struct heap_node **nodes;
    uint32_t count, size;
};

void heap_init(struct heap *h);
void heap_done(struct heap *h); /* the nodes that are left are in no heap then */

/* Puts it in, or gives it another key. */
void heap_set(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* not in it: nothing happens */
void heap_clear(struct heap *h);

/* One with the least key, or NULL. */
static inline struct heap_node *heap_first(const struct heap *h)
{
    return h->count > 0 ? h->nodes[0] : NULL;
}

#endif
