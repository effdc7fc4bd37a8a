/* The live path: one message to the workers that have members for it. */
#include "base/clock.h"
#include "base/mem.h"
#include "hub/feed.h"
#include "hub/pass.h"
#include "protocol/cursor.h"
#include "protocol/message.h"
#include "protocol/reply.h"

void feed_text(struct feed *f, const struct feed_channel *c, const struct wsbus_message *m)
{
    struct buf *text = &f->bus->text;

    buf_clear(text);
    message_write(text, c->name, m, f->bus->backend, f->position && c->history);
}

struct frame *feed_frame(struct feed *f, const struct feed_channel *c,
                         const struct wsbus_message *m)
{
    feed_text(f, c, m);
    return frame_new(FRAME_TEXT, buf_view(&f->bus->text));
}

const struct wsbus_cursor *feed_front(const struct feed *f, unsigned worker)
{
    return f->workers[worker].behind ? f->workers[worker].behind : f->position;
}

/* ---- who gets it -------------------------------------------------------------------------------- */

static void target_add(struct hub_bus *b, size_t *count, struct feed_channel *c)
{
    if (*count == b->target_size) {
        b->target_size = b->target_size ? b->target_size * 2 : 16;
        b->targets = mem_grow(b->targets, b->target_size * sizeof *b->targets);
    }
    b->targets[(*count)++].channel = c;
}

/* All channels with members that this message belongs to, each with its frame, in b->targets. */
static size_t targets_find(struct feed *f, const struct wsbus_message *m)
{
    struct hub_bus *b = f->bus;
    size_t count = 0;

    for (struct list *n = f->whole.next; n != &f->whole; n = n->next) {
        struct feed_channel *c = LIST_ITEM(n, struct feed_channel, whole);
        if (c->members) target_add(b, &count, c);
    }
    if (m->key) {
        struct span key = span_of(m->key, m->key_len);
        struct map_node *n = map_find(&f->keyed, hash_span(key));
        for (; n; n = map_again(n)) {
            struct feed_channel *c = CONTAINER_OF(n, struct feed_channel, by_key);
            if (c->members && span_eq(c->key, key)) target_add(b, &count, c);
        }
    }
    for (size_t i = 0; i < count; i++)
        b->targets[i].frame = feed_frame(f, b->targets[i].channel, m);
    return count;
}

static void targets_free(struct hub_bus *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        frame_unref(b->targets[i].frame);
}

/* All frames of one message or none: a worker is behind at a message, never inside one. */
static bool targets_post(struct feed *f, unsigned worker, size_t count)
{
    const struct target *list = f->bus->targets;
    struct inbox *inbox = f->bus->workers[worker];
    bool first = true;

    for (size_t i = 0; i < count; i++) {
        struct mail_frame *m;
        if (!list[i].channel->on_worker[worker]) continue;
        m = mail_frame_new(MAIL_LIVE, list[i].channel->number, frame_ref(list[i].frame));
        if (!first) {
            inbox_force(inbox, &m->item);
        } else if (!inbox_post(inbox, &m->item)) {
            slip_unref(&m->slip);
            return false;
        }
        first = false;
    }
    return true;
}

/* ---- live --------------------------------------------------------------------------------------- */

static void worker_falls_behind(struct feed *f, unsigned worker)
{
    if (list_empty(&f->late)) list_append(&f->bus->late, &f->late);
    if (f->position)
        f->workers[worker].behind = cursor_copy(f->position);
    else
        f->workers[worker].behind_blind = true;
}

/* `f->position` is still the place before the message. */
static void post_live(struct feed *f, size_t count)
{
    for (unsigned w = 0; w < f->bus->worker_count; w++) {
        if (f->workers[w].behind || f->workers[w].behind_blind) continue;
        if (!targets_post(f, w, count)) worker_falls_behind(f, w);
    }
    for (size_t i = 0; i < count; i++)
        f->bus->targets[i].channel->told = f->delivered;
}

void feed_unpark(struct feed *f)
{
    struct list parked, *n;

    if (list_empty(&f->parked)) return;
    list_init(&parked);
    list_move(&parked, &f->parked);
    while ((n = list_pop(&parked)))
        replay_pull(LIST_ITEM(n, struct follower, link));
}

void feed_on_message(struct feed *f, struct wsbus_message *m)
{
    size_t count = targets_find(f, m);
    struct ring_entry *e;

    f->delivered++;
    post_live(f, count);
    if (f->position) {
        cursor_advance(&f->position, &m->pos);
        e = ring_push(&f->ring, m);
        if (count) {
            /* The last is the one of the key, where there is one: the likeliest to be replayed. */
            const struct target *last = &f->bus->targets[count - 1];
            e->frame = frame_ref(last->frame);
            e->frame_channel = last->channel->number;
        }
    }
    targets_free(f->bus, count);
    feed_unpark(f);
}

void feed_on_progress(struct feed *f, const struct wsbus_pos *pos)
{
    if (!f->position) return;
    f->delivered++;
    cursor_advance(&f->position, pos);
    feed_unpark(f);
}

/* A gap for every member on one worker. */
static void tell_gap(struct feed *f, unsigned worker, const struct reply_gap *gap)
{
    struct map_walk walk = {0};
    struct map_node *n;

    while ((n = map_next(&f->named, &walk))) {
        struct feed_channel *c = CONTAINER_OF(n, struct feed_channel, by_name);
        struct reply_gap own = *gap;
        if (!c->on_worker[worker]) continue;
        own.channel = c->name;
        if (!c->history) own.after = own.until = span_of(NULL, 0);
        buf_clear(&f->bus->text);
        reply_gap(&f->bus->text, &own);
        bus_count_gaps(f->bus, own.reason, c->on_worker[worker]);
        channel_tell(c, worker, buf_view(&f->bus->text));
    }
}

/* The bus trimmed what lay between these places before this worker had it. */
static void tell_expired(struct feed *f, unsigned worker, const struct wsbus_cursor *after,
                         const struct wsbus_cursor *until)
{
    struct reply_gap gap = {.reason = "expired", .lost = -1};
    struct buf places;
    size_t split;

    buf_init(&places, BUF_UNLIMITED);
    cursor_write(&places, after, f->bus->backend);
    split = places.n;
    cursor_write(&places, until, f->bus->backend);
    gap.after = span_of(places.p, split);
    gap.until = span_of(places.p + split, places.n - split);
    tell_gap(f, worker, &gap);
    buf_free(&places);
}

/* Behind a hole the ring begins anew: a replay that crosses it must hear of it from the backend,
 * and so must a worker that has not come to it yet. */
static void cross_hole(struct feed *f, const struct wsbus_cursor *until)
{
    struct wsbus_cursor *beyond = cursor_copy(f->position);

    for (uint32_t i = 0; i < until->count; i++)
        cursor_advance(&beyond, &until->pos[i]);
    for (unsigned w = 0; w < f->bus->worker_count; w++)
        if (!f->workers[w].behind) tell_expired(f, w, f->position, beyond);
    cursor_free(f->position);
    f->position = beyond;
    f->delivered++;
    pass_forget(f);
    ring_clear(&f->ring);
    ring_begin(&f->ring, beyond);
    feed_unpark(f);
}

void feed_on_gap(struct feed *f, const struct wsbus_cursor *until)
{
    struct reply_gap gap = {.reason = "bus", .lost = -1};

    if (f->position && until) {
        cross_hole(f, until);
        return;
    }
    for (unsigned w = 0; w < f->bus->worker_count; w++)
        tell_gap(f, w, &gap);
}

/* ---- bringing a worker forward ------------------------------------------------------------------- */

static void worker_is_level(struct feed *f, unsigned worker)
{
    cursor_free(f->workers[worker].behind);
    f->workers[worker].behind = NULL;
    feed_unpark(f);
}

/* Not before `after` ms have gone, nor later for what waits already. */
static void catch_up_later(struct feed *f, uint64_t after)
{
    if (timer_is_set(&f->retry) && f->retry.due <= clock_ticks() + after) return;
    bus_timer(f->bus, &f->retry, after);
}

/* Posts one message of the past to the members on one worker. False: its inbox is full again. */
static bool post_late(struct feed *f, unsigned worker, struct wsbus_message *m)
{
    size_t count = targets_find(f, m);
    bool posted = targets_post(f, worker, count);

    targets_free(f->bus, count);
    if (posted) cursor_advance(&f->workers[worker].behind, &m->pos);
    return posted;
}

static void catch_up_from_ring(struct feed *f, unsigned worker)
{
    struct feed_worker *w = &f->workers[worker];
    struct span any = {NULL, 0};
    uint64_t serial = ring_after(&f->ring, w->behind, any);

    for (; serial != RING_NONE; serial = ring_following(&f->ring, serial, any)) {
        struct wsbus_message *m = ring_entry(&f->ring, serial)->message;
        const struct wsbus_pos *seen = cursor_get(w->behind, m->pos.partition);
        if (seen && pos_compare(&m->pos, seen) <= 0) continue;
        if (!post_late(f, worker, m)) return;
    }
    worker_is_level(f, worker);
}

/* All that the feed has delivered; beyond is live, and still to come. */
static struct wsbus_cursor *catch_up_until(const struct feed *f, unsigned worker)
{
    const struct wsbus_cursor *behind = f->workers[worker].behind;
    struct wsbus_cursor *until = cursor_copy(f->position);

    for (uint32_t i = 0; i < behind->count; i++)
        if (!cursor_get(until, behind->pos[i].partition)) cursor_put(&until, &behind->pos[i]);
    return until;
}

static void catch_up_read(struct feed *f, unsigned worker)
{
    struct pending *p = pending_new(f->bus, PENDING_CATCHUP);
    struct wsbus_read r = {
        .topic = feed_topic(f),
        .from = f->workers[worker].behind,
        .max_messages = CHUNK_MESSAGES,
        .max_bytes = CHUNK_BYTES * 4,
        .max_scan = CHUNK_SCAN,
    };

    p->worker = worker;
    p->id = f->token;
    r.until = p->until = catch_up_until(f, worker);
    f->workers[worker].reading = true;
    bus_read(f->bus, p->token, r);
}

void feed_catch_up(struct feed *f, unsigned worker)
{
    struct feed_worker *w = &f->workers[worker];

    if (f->state != FEED_LIVE || w->reading || !bus_instance(f->bus)) return;
    if (w->behind_blind) {
        struct reply_gap gap = {.reason = "slow", .lost = -1};
        w->behind_blind = false;
        tell_gap(f, worker, &gap);
        return;
    }
    if (!w->behind) return;
    if (ring_covers(&f->ring, w->behind))
        catch_up_from_ring(f, worker);
    else
        catch_up_read(f, worker);
}

static bool is_late(const struct feed *f)
{
    for (unsigned w = 0; w < f->bus->worker_count; w++)
        if (f->workers[w].behind || f->workers[w].behind_blind) return true;
    return false;
}

/* Only those that fell behind are looked at: there may be very many feeds, and a worker that is
 * hardly fast enough drains again and again. */
void feeds_catch_up(struct hub_bus *b, unsigned worker)
{
    struct list late, *n;

    list_init(&late);
    list_move(&late, &b->late);
    while ((n = list_pop(&late))) {
        struct feed *f = LIST_ITEM(n, struct feed, late);
        list_append(&b->late, &f->late);
        feed_catch_up(f, worker);
        if (!is_late(f)) list_del(&f->late);
    }
}

static void tell_lost(struct feed *f, unsigned worker, const struct wsbus_chunk *c)
{
    struct wsbus_cursor *end = lost_end(f->workers[worker].behind, c->lost_until);

    tell_expired(f, worker, f->workers[worker].behind, end);
    cursor_free(end);
    for (uint32_t i = 0; i < c->lost_until->count; i++) /* told: not to be told again */
        cursor_advance(&f->workers[worker].behind, &c->lost_until->pos[i]);
}

/* A read may know a partition before the feed does: what comes of it is live, and still to come. */
static bool is_past(const struct feed *f, const struct wsbus_message *m)
{
    const struct wsbus_pos *end = cursor_get(f->position, m->pos.partition);

    return end && pos_compare(&m->pos, end) <= 0;
}

/* The worker is where the chunk ends, but in partitions that the feed does not know it stays at the
 * beginning; with that in `until` the next read leaves them out. */
static void worker_advance(struct feed *f, unsigned worker, const struct wsbus_chunk *c,
                           const struct wsbus_cursor *until)
{
    struct wsbus_cursor **at = &f->workers[worker].behind;

    chunk_advance(at, c, until);
    for (uint32_t i = 0; i < (*at)->count; i++) {
        struct wsbus_pos *pos = &(*at)->pos[i];
        if (!cursor_get(f->position, pos->partition)) pos->hi = pos->lo = 0;
    }
}

void feed_on_catch_up(struct feed *f, const struct pending *p, const struct wsbus_answer *a,
                      const struct wsbus_chunk *c)
{
    struct feed_worker *w = &f->workers[p->worker];

    if (!w->reading) return; /* the feed was stopped in between */
    w->reading = false;
    if (a->status != WSBUS_OK || !w->behind) {
        catch_up_later(f, READ_RETRY);
        return;
    }
    if (c->lost) tell_lost(f, p->worker, c);
    for (size_t i = 0; i < c->count; i++)
        if (is_past(f, c->messages[i]) && !post_late(f, p->worker, c->messages[i])) return;
    worker_advance(f, p->worker, c, p->until);
    /* A long way is gone in steps: others have their turn, and a bus that answers from inside the
     * call is not called from inside its answer. */
    catch_up_later(f, 0);
}
