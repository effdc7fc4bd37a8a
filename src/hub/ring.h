/* The newest messages of one feed, in order of arrival, bounded in messages and bytes.
 *
 * The ring knows from which position it is complete in each partition (`floor`): that is where
 * the feed began, and later what was evicted last, never simply the first message it holds,
 * because logs have holes. Messages with a key are chained by key, and the newest message of a
 * key is kept even when it has left the ring (for at most `max_keys` such keys, and a quarter of
 * the bytes), so that the last value of a keyed channel is at hand. On the bus thread; holds one
 * reference of every message. */
#ifndef HUB_RING_H
#define HUB_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/frame.h"
#include "base/list.h"
#include "base/map.h"
#include "base/span.h"

#define RING_NONE UINT64_MAX

struct ring_entry {
    struct wsbus_message *message;
    struct frame *frame; /* of `frame_channel`, built once; may be NULL */
    uint64_t frame_channel;
    uint64_t older, newer; /* serials of the neighbours with the same key, or RING_NONE */
};

struct ring_key {
    struct map_node node;
    struct list beyond;            /* on ring.beyond while its newest message has left the ring */
    uint64_t newest;               /* serial */
    struct wsbus_message *message; /* the newest */
};

struct ring {
    struct ring_entry *entries; /* a power of two of them, grown on demand */
    size_t size;
    uint64_t first, next; /* serials: first held, next to come */
    size_t bytes;
    size_t max_messages, max_bytes, max_keys;
    struct wsbus_cursor *floor; /* NULL: no log, or not begun */
    struct map keys;
    struct list beyond; /* least recently updated first */
    size_t beyond_count, beyond_bytes;
};

void ring_init(struct ring *r, size_t max_messages, size_t max_bytes, size_t max_keys);
void ring_clear(struct ring *r); /* forgets everything, the floor too */
void ring_done(struct ring *r);
/* The feed delivers everything after `floor` from now on. */
void ring_begin(struct ring *r, const struct wsbus_cursor *floor);
/* Takes a reference of its own. The returned entry is good until the next push. */
struct ring_entry *ring_push(struct ring *r, struct wsbus_message *m);

/* Does the ring hold every message after `at`? */
bool ring_covers(const struct ring *r, const struct wsbus_cursor *at);
struct ring_entry *ring_entry(const struct ring *r, uint64_t serial);
/* The first message after `at` (with this key, unless key.p is NULL), and the one that follows a
 * serial. RING_NONE: there is none. */
uint64_t ring_after(const struct ring *r, const struct wsbus_cursor *at, struct span key);
uint64_t ring_following(const struct ring *r, uint64_t serial, struct span key);
/* How many messages of any key come after `at`. */
uint64_t ring_count_after(const struct ring *r, const struct wsbus_cursor *at);
/* The n-th newest message (of this key), n from 1; NULL if the ring cannot tell. The newest of a
 * key may be one that has left the ring. */
struct wsbus_message *ring_newest(const struct ring *r, struct span key, uint64_t n);

#endif
