/* Intrusive hash table: the nodes are members of the caller's structs, keys are the caller's to
 * compare. Grows and shrinks by itself, a little with each insertion, so that none of them takes
 * long however large the table is; insertion never fails. No locking.
 *
 *     for (struct map_node *n = map_find(&m, hash); n; n = map_again(n))
 *         if (same key) ...
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
};

struct map {
    struct map_node **slots; /* a power of two of them, or NULL while empty */
    size_t mask;
    size_t count;
    struct map_node **old; /* after a change of size: what has not been moved yet; or NULL */
    size_t old_mask;
    size_t moved; /* slots of `old` that are empty because their nodes have been moved */
};

void map_init(struct map *m);
void map_done(struct map *m); /* the nodes are the caller's */
void map_insert(struct map *m, struct map_node *n, uint64_t hash);
void map_remove(struct map *m, struct map_node *n); /* must be in the map */
struct map_node *map_find(const struct map *m, uint64_t hash);
/* For several who will be looked for soon, so that map_find() finds them in the processor's cache: asks
 * memory for the slots, then for the first node of each, then for the second where the first is another
 * one. */
void map_fetch(const struct map *m, const uint64_t *hashes, size_t count);
struct map_node *map_again(const struct map_node *n); /* the next with the same hash */
/* Walk over all; the current node may be removed, others may not, none may be inserted.
 *     struct map_walk w = {0};
 *     while ((n = map_next(&m, &w))) ...
 * Removing during a walk does not shrink the table. */
struct map_walk {
    size_t slot;
    struct map_node *next;
};
struct map_node *map_next(struct map *m, struct map_walk *w);

/* Keyed with a secret that is drawn once for the process (hash flooding). */
uint64_t hash_span(struct span s);

/* For numbers and addresses of our own, which nobody outside can choose: only spread over the table,
 * also where they go up in steps. The multiplier is 2^64 divided by the golden ratio. */
static inline uint64_t hash_u64(uint64_t v)
{
    v *= 0x9e3779b97f4a7c15U;
    return v ^ v >> 32;
}

#endif
