/* Of many thousand channels, each with a subscriber, hardly one is in the processor's cache, and on the
 * way from the channel's number to the socket each step is known only when the one before has come from
 * memory. Taken for several messages at once, step by step, these waits are one. */
#include "base/mem.h"
#include "session/inside.h"
#include "session/subscription.h"

#define AHEAD 16u

/* Of those channels that have one member; the others fetch theirs as they go (answers.c). */
static unsigned fetch_members(struct fanout *f, const uint64_t *channels, unsigned count,
                              const struct session **ret)
{
    uint64_t hashes[AHEAD];
    unsigned found = 0;

    for (unsigned i = 0; i < count; i++)
        hashes[i] = hash_u64(channels[i]);
    map_fetch(&f->groups, hashes, count);
    for (unsigned i = 0; i < count; i++) {
        const struct fan_group *g = fanout_group(f, channels[i]);
        if (!g || g->count != 1) continue;
        ret[found] = g->list[0].owner;
        mem_fetch(ret[found++], SESSION_OFTEN);
    }
    return found;
}

unsigned ahead_fetch(struct session_worker *w, const struct inbox_item *item)
{
    const struct session *sessions[AHEAD];
    uint64_t channels[AHEAD];
    unsigned items = 0, count = 0;

    if (!item->next) return 1;
    for (; item && items < AHEAD; item = item->next, items++)
        if (item->kind == MAIL_LIVE)
            channels[count++] = CONTAINER_OF(item, struct mail_frame, item)->id;
    if (count < 2) return items;
    count = fetch_members(&w->fanout, channels, count, sessions);
    for (unsigned i = 0; i < count; i++)
        mem_fetch(sessions[i]->t, sizeof(struct transport));
    return items;
}
