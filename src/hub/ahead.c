/* Of many thousand topics hardly one is in the processor's cache, and on the way from a topic's name or
 * a feed's token to its members each step is known only when the one before has come from memory. Taken
 * for several messages at once, step by step, these waits are one. Nothing depends on it. */
#include "base/mem.h"
#include "hub/feed.h"

#define AHEAD 16u
#define NAME_OFTEN 32u /* bytes of a name, which stands behind its channel */

static void fetch_channel(const struct feed *f)
{
    const struct list *first = f->whole.next;
    const struct feed_channel *c = LIST_ITEM(first, struct feed_channel, whole);
    const char *end = (const char *)&c->on_worker[f->bus->worker_count] + NAME_OFTEN;

    if (first != &f->whole) mem_fetch(&c->whole, (size_t)(end - (const char *)&c->whole));
}

/* Where the next message goes to, and the place that it moves. */
static void fetch_past(const struct feed *f)
{
    if (f->position) __builtin_prefetch(f->position, 1);
    if (f->ring.size > 0) mem_fetch(ring_entry(&f->ring, f->ring.next), sizeof(struct ring_entry));
}

void feeds_fetch(struct hub_bus *b, const uint64_t *tokens, size_t count)
{
    struct feed *feeds[AHEAD] = {NULL};
    uint64_t hashes[AHEAD] = {0};
    size_t found = 0;

    if (count > AHEAD) count = AHEAD;
    for (size_t i = 0; i < count; i++)
        hashes[i] = hash_u64(tokens[i]);
    map_fetch(&b->tokens_of_feeds, hashes, count);
    for (size_t i = 0; i < count; i++) {
        struct feed *f = feed_by_token(b, tokens[i]);
        const char *end;
        if (!f) continue;
        feeds[found++] = f;
        end = (const char *)&f->workers[b->worker_count];
        mem_fetch(&f->ring, (size_t)(end - (const char *)&f->ring));
    }
    for (size_t i = 0; i < found; i++) {
        fetch_channel(feeds[i]);
        fetch_past(feeds[i]);
    }
}

unsigned publishes_fetch(struct hub_bus *b, const struct inbox_item *item)
{
    const struct wsbus_publish *list[AHEAD];
    unsigned items = 0, count = 0;

    for (; item && items < AHEAD; item = item->next, items++)
        if (item->kind == MAIL_PUBLISH)
            list[count++] = &CONTAINER_OF(item, struct mail_publish, item)->publish;
    if (count > 1) b->backend->expect(bus_instance(b), list, count);
    return items;
}
