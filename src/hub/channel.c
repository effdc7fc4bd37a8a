#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "hub/feed.h"
#include "protocol/cursor.h"
#include "protocol/reply.h"

#define POSITIONS 256 /* channels that are looked at in one turn of the loop */

static struct feed_channel *channel_new(struct feed *f, const struct mail_ask *ask)
{
    size_t head = sizeof(struct feed_channel) + f->bus->worker_count * sizeof(uint32_t);
    struct feed_channel *c = mem_zero(head + ask->channel.n + ask->key.n + 1);
    char *text = (char *)c + head;

    c->feed = f;
    c->number = bus_number(f->bus);
    c->history = ask->rule->history;
    c->told = f->delivered;
    c->name = span_of(text, ask->channel.n);
    memcpy(text, ask->channel.p, ask->channel.n);
    list_init(&c->whole);
    list_append(&f->order, &c->order);
    map_insert(&f->named, &c->by_name, hash_span(c->name));
    if (ask->key.p) {
        c->key = span_of(text + ask->channel.n, ask->key.n);
        if (ask->key.n) memcpy(text + ask->channel.n, ask->key.p, ask->key.n);
        map_insert(&f->keyed, &c->by_key, hash_span(c->key));
    } else {
        list_append(&f->whole, &c->whole);
    }
    return c;
}

struct feed_channel *channel_get(struct feed *f, const struct mail_ask *ask)
{
    struct map_node *n = map_find(&f->named, hash_span(ask->channel));
    struct feed_channel *c = NULL;

    for (; n && !c; n = map_again(n)) {
        c = CONTAINER_OF(n, struct feed_channel, by_name);
        if (!span_eq(c->name, ask->channel)) c = NULL;
    }
    if (!c) c = channel_new(f, ask);
    c->followers++;
    return c;
}

void channel_release(struct feed_channel *c)
{
    if (--c->followers > 0) return;
    map_remove(&c->feed->named, &c->by_name);
    if (c->key.p) map_remove(&c->feed->keyed, &c->by_key);
    list_del(&c->whole);
    list_del(&c->order);
    /* Perhaps one of those to come: none is looked at twice in a round. */
    if (c->feed->round > 0) c->feed->round--;
    free(c);
}

void channel_join(struct feed_channel *c, unsigned worker)
{
    c->members++;
    c->on_worker[worker]++;
}

void channel_leave(struct feed_channel *c, unsigned worker)
{
    c->members--;
    c->on_worker[worker]--;
}

/* Told past the cap of an inbox: these frames are few, and bounded by what was posted before. */
static void channel_tell_worker(struct feed_channel *c, unsigned worker, struct frame *frame)
{
    struct mail_frame *m = mail_frame_new(MAIL_LIVE, c->number, frame_ref(frame));

    bus_mail(c->feed->bus, worker, &m->item);
}

void channel_tell(struct feed_channel *c, unsigned worker, struct span text)
{
    struct frame *frame = frame_new(FRAME_TEXT, text);

    channel_tell_worker(c, worker, frame);
    frame_unref(frame);
}

/* The log has moved on without a word for this channel: its members may take over the cursor.
 * Not on workers that are behind, whose members are not there yet. */
static void channel_position(struct feed_channel *c, struct span cursor)
{
    struct feed *f = c->feed;
    struct frame *frame;

    buf_clear(&f->bus->text);
    reply_position(&f->bus->text, c->name, cursor);
    frame = frame_new(FRAME_TEXT, buf_view(&f->bus->text));
    for (unsigned w = 0; w < f->bus->worker_count; w++)
        if (c->on_worker[w] && !f->workers[w].behind) channel_tell_worker(c, w, frame);
    frame_unref(frame);
    c->told = f->delivered;
}

bool channel_positions(struct feed *f)
{
    struct buf cursor;

    if (!f->position) return false;
    if (f->round == 0) f->round = (uint32_t)f->named.count;
    buf_init(&cursor, BUF_UNLIMITED);
    cursor_write(&cursor, f->position, f->bus->backend);
    for (unsigned i = 0; i < POSITIONS && f->round > 0; i++) {
        struct feed_channel *c = LIST_ITEM(list_pop(&f->order), struct feed_channel, order);
        list_append(&f->order, &c->order);
        f->round--;
        if (c->members && c->history && c->told != f->delivered)
            channel_position(c, buf_view(&cursor));
    }
    buf_free(&cursor);
    return f->round > 0;
}
