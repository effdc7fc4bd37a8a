#include "hub/ring.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/cursor.h"

void ring_init(struct ring *r, size_t max_messages, size_t max_bytes, size_t max_keys)
{
    *r = (struct ring){.max_messages = max_messages, .max_bytes = max_bytes, .max_keys = max_keys};
    map_init(&r->keys);
    list_init(&r->beyond);
}

struct ring_entry *ring_entry(const struct ring *r, uint64_t serial)
{
    return &r->entries[serial & (r->size - 1)];
}

static struct span message_key(const struct wsbus_message *m)
{
    return span_of(m->key, m->key_len);
}

static struct ring_key *key_find(const struct ring *r, struct span key)
{
    struct map_node *n = map_find(&r->keys, hash_span(key));

    for (; n; n = map_again(n)) {
        struct ring_key *k = CONTAINER_OF(n, struct ring_key, node);
        if (span_eq(message_key(k->message), key)) return k;
    }
    return NULL;
}

static void key_free(struct ring *r, struct ring_key *k)
{
    map_remove(&r->keys, &k->node);
    if (!list_empty(&k->beyond)) {
        list_del(&k->beyond);
        r->beyond_count--;
        r->beyond_bytes -= k->message->size;
    }
    wsbus_message_unref(k->message);
    free(k);
}

/* The newest message of a key has left the ring: keep it beyond, within the bounds. */
static void key_retire(struct ring *r, struct ring_key *k)
{
    list_append(&r->beyond, &k->beyond);
    r->beyond_count++;
    r->beyond_bytes += k->message->size;
    while (r->beyond_count > r->max_keys || (r->beyond_count && r->beyond_bytes > r->max_bytes / 4))
        key_free(r, LIST_ITEM(r->beyond.next, struct ring_key, beyond));
}

static void ring_evict(struct ring *r)
{
    struct ring_entry *e = ring_entry(r, r->first);
    struct wsbus_message *m = e->message;

    if (r->floor) cursor_advance(&r->floor, &m->pos);
    if (m->key) {
        struct ring_key *k = key_find(r, message_key(m));
        if (e->newer != RING_NONE) ring_entry(r, e->newer)->older = RING_NONE;
        if (k && k->newest == r->first) key_retire(r, k);
    }
    r->bytes -= m->size;
    if (e->frame) frame_unref(e->frame);
    wsbus_message_unref(m);
    r->first++;
}

void ring_clear(struct ring *r)
{
    struct map_walk walk = {0};
    struct map_node *n;

    while (r->first < r->next) {
        struct ring_entry *e = ring_entry(r, r->first++);
        if (e->frame) frame_unref(e->frame);
        wsbus_message_unref(e->message);
    }
    r->bytes = 0;
    while ((n = map_next(&r->keys, &walk)))
        key_free(r, CONTAINER_OF(n, struct ring_key, node));
    cursor_free(r->floor);
    r->floor = NULL;
}

void ring_done(struct ring *r)
{
    ring_clear(r);
    map_done(&r->keys);
    free(r->entries);
    r->entries = NULL;
    r->size = 0;
}

void ring_begin(struct ring *r, const struct wsbus_cursor *floor)
{
    cursor_free(r->floor);
    r->floor = cursor_copy(floor);
}

static void ring_grow(struct ring *r)
{
    size_t size = r->size ? r->size * 2 : 16;
    struct ring_entry *entries = mem_alloc(size * sizeof *entries);

    for (uint64_t s = r->first; s < r->next; s++)
        entries[s & (size - 1)] = r->entries[s & (r->size - 1)];
    free(r->entries);
    r->entries = entries;
    r->size = size;
}

/* Makes `serial` the newest of its key; returns the serial that was the newest in the ring. */
static uint64_t key_renew(struct ring *r, struct wsbus_message *m, uint64_t serial)
{
    struct ring_key *k = key_find(r, message_key(m));
    uint64_t older = RING_NONE;

    if (!k) {
        k = mem_zero(sizeof *k);
        list_init(&k->beyond);
        k->message = wsbus_message_ref(m);
        map_insert(&r->keys, &k->node, hash_span(message_key(m)));
    } else {
        if (list_empty(&k->beyond)) {
            older = k->newest;
        } else {
            list_del(&k->beyond);
            r->beyond_count--;
            r->beyond_bytes -= k->message->size;
        }
        wsbus_message_unref(k->message);
        k->message = wsbus_message_ref(m);
    }
    k->newest = serial;
    return older;
}

struct ring_entry *ring_push(struct ring *r, struct wsbus_message *m)
{
    struct ring_entry *e;

    while (r->first < r->next &&
           (r->next - r->first >= r->max_messages || r->bytes + m->size > r->max_bytes))
        ring_evict(r);
    if (r->next - r->first == r->size) ring_grow(r);
    e = ring_entry(r, r->next);
    *e = (struct ring_entry){
        .message = wsbus_message_ref(m), .older = RING_NONE, .newer = RING_NONE};
    if (m->key) {
        e->older = key_renew(r, m, r->next);
        if (e->older != RING_NONE) ring_entry(r, e->older)->newer = r->next;
    }
    r->bytes += m->size;
    r->next++;
    return e;
}

bool ring_covers(const struct ring *r, const struct wsbus_cursor *at)
{
    if (!r->floor) return false;
    for (uint32_t i = 0; i < r->floor->count; i++) {
        const struct wsbus_pos *floor = &r->floor->pos[i];
        const struct wsbus_pos *pos = cursor_get(at, floor->partition);
        if (!pos || !pos_comparable(pos, floor) || pos_compare(pos, floor) < 0) return false;
    }
    return true;
}

static bool entry_after(const struct ring *r, uint64_t serial, const struct wsbus_cursor *at)
{
    const struct wsbus_pos *pos = &ring_entry(r, serial)->message->pos;
    const struct wsbus_pos *seen = cursor_get(at, pos->partition);

    return !seen || !pos_comparable(seen, pos) || pos_compare(pos, seen) > 0;
}

/* With one partition the ring is sorted by position. */
static uint64_t after_sorted(const struct ring *r, const struct wsbus_cursor *at)
{
    uint64_t low = r->first, high = r->next;

    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (entry_after(r, mid, at))
            high = mid;
        else
            low = mid + 1;
    }
    return low < r->next ? low : RING_NONE;
}

/* Backwards from the newest: what waits is short, what was seen may be long. */
static uint64_t after_keyed(const struct ring *r, const struct wsbus_cursor *at, struct span key)
{
    const struct ring_key *k = key_find(r, key);
    uint64_t found = RING_NONE;

    if (!k || !list_empty(&k->beyond)) return RING_NONE;
    for (uint64_t s = k->newest; s != RING_NONE; s = ring_entry(r, s)->older) {
        bool after = entry_after(r, s, at);
        if (after) found = s;
        if (!after && at->count == 1) break;
    }
    return found;
}

uint64_t ring_after(const struct ring *r, const struct wsbus_cursor *at, struct span key)
{
    if (r->first == r->next) return RING_NONE;
    if (key.p) return after_keyed(r, at, key);
    if (at->count == 1) return after_sorted(r, at);
    for (uint64_t s = r->first; s < r->next; s++)
        if (entry_after(r, s, at)) return s;
    return RING_NONE;
}

uint64_t ring_following(const struct ring *r, uint64_t serial, struct span key)
{
    if (key.p) return ring_entry(r, serial)->newer;
    return serial + 1 < r->next ? serial + 1 : RING_NONE;
}

uint64_t ring_count_after(const struct ring *r, const struct wsbus_cursor *at)
{
    uint64_t count = 0;

    if (at->count == 1) {
        uint64_t s = ring_after(r, at, span_of(NULL, 0));
        return s == RING_NONE ? 0 : r->next - s;
    }
    for (uint64_t s = r->first; s < r->next; s++)
        count += entry_after(r, s, at);
    return count;
}

struct wsbus_message *ring_newest(const struct ring *r, struct span key, uint64_t n)
{
    const struct ring_key *k;
    uint64_t s;

    if (!key.p) return n <= r->next - r->first ? ring_entry(r, r->next - n)->message : NULL;
    k = key_find(r, key);
    if (!k) return NULL;
    if (n == 1) return k->message;
    if (!list_empty(&k->beyond)) return NULL;
    for (s = k->newest; --n && s != RING_NONE;)
        s = ring_entry(r, s)->older;
    return s == RING_NONE ? NULL : ring_entry(r, s)->message;
}
