#include "base/clock.h"
#include "hub/feed.h"
#include "hub/pass.h"
#include "protocol/cursor.h"
#include "protocol/reply.h"

static void post_frame(struct follower *s, struct frame *frame)
{
    struct mail_frame *m = mail_frame_new(MAIL_FRAME, s->id, frame);

    bus_mail(s->bus, s->worker, &m->item);
}

static void post_text(struct follower *s)
{
    post_frame(s, frame_new(FRAME_TEXT, buf_view(&s->bus->text)));
}

/* Ends the chunk; with a channel the follower is a member from here on. */
static void post_chunk(struct follower *s, uint64_t channel)
{
    struct mail_chunk *m = mail_chunk_new(s->id, channel);

    bus_mail(s->bus, s->worker, &m->item);
}

void replay_gap(struct follower *s, const char *reason, const struct wsbus_cursor *after,
                const struct wsbus_cursor *until)
{
    struct hub_bus *b = s->bus;
    struct reply_gap gap = {.channel = s->channel->name, .reason = reason, .lost = -1};
    struct buf text;

    buf_init(&text, BUF_UNLIMITED);
    if (after) cursor_write(&text, after, b->backend);
    gap.after = span_of(NULL, text.n);
    if (until) cursor_write(&text, until, b->backend);
    if (until) gap.until = span_of(text.p + gap.after.n, text.n - gap.after.n);
    gap.after.p = after ? text.p : NULL;
    buf_clear(&b->text);
    reply_gap(&b->text, &gap);
    bus_count_gaps(b, reason, 1);
    post_text(s);
    buf_free(&text);
}

/* ---- the end: membership ----------------------------------------------------------------------- */

enum place { PLACE_SHORT, PLACE_THERE, PLACE_AHEAD };

/* Where the replay stands against what its worker has seen of the feed. */
static enum place replay_place(const struct follower *s)
{
    const struct wsbus_cursor *front = feed_front(s->feed, s->worker);
    enum place place = PLACE_THERE;

    for (uint32_t i = 0; i < front->count; i++) {
        const struct wsbus_pos *pos = cursor_get(s->at, front->pos[i].partition);
        if (!pos || !pos_comparable(pos, &front->pos[i])) return PLACE_SHORT;
        if (pos_compare(pos, &front->pos[i]) < 0) return PLACE_SHORT;
        if (pos_compare(pos, &front->pos[i]) > 0) place = PLACE_AHEAD;
    }
    /* Of a partition that is new the feed may know later than a read. */
    for (uint32_t i = 0; i < s->at->count; i++) {
        const struct wsbus_pos *pos = &s->at->pos[i];
        if ((pos->hi || pos->lo) && !cursor_get(front, pos->partition)) place = PLACE_AHEAD;
    }
    return place;
}

static void replay_join(struct follower *s)
{
    struct hub_bus *b = s->bus;

    if (!s->silent) {
        buf_clear(&b->scratch);
        cursor_write(&b->scratch, feed_front(s->feed, s->worker), b->backend);
        buf_clear(&b->text);
        reply_live(&b->text, s->channel->name, buf_view(&b->scratch));
        post_text(s);
    }
    post_chunk(s, s->channel->number);
    follower_live(s);
}

/* Nothing is left to post: join, or wait for the feed where the client is ahead of it (it resumed
 * with a cursor from a node that has seen more). */
static void replay_finish(struct follower *s)
{
    if (replay_place(s) == PLACE_THERE)
        replay_join(s);
    else if (list_empty(&s->link))
        list_append(&s->feed->parked, &s->link);
}

/* ---- from the ring ------------------------------------------------------------------------------- */

static uint32_t chunk_bytes(const struct hub_bus *b)
{
    return pace_is_live(&b->pace, clock_us()) ? CHUNK_BYTES_LIVE : CHUNK_BYTES;
}

/* The frame of a ring entry for this channel; the last one built is kept with the entry. */
static struct frame *entry_frame(struct follower *s, struct ring_entry *e)
{
    const struct feed_channel *c = s->channel;

    if (!e->frame || e->frame_channel != c->number) {
        if (e->frame) frame_unref(e->frame);
        e->frame = feed_frame(s->feed, c, e->message);
        e->frame_channel = c->number;
    }
    return frame_ref(e->frame);
}

/* Is this message beyond what the worker has seen? */
static bool beyond_front(const struct follower *s, const struct wsbus_message *m)
{
    const struct feed_worker *w = &s->feed->workers[s->worker];
    const struct wsbus_pos *end;

    if (!w->behind) return false;
    end = cursor_get(w->behind, m->pos.partition);
    return !end || pos_compare(&m->pos, end) > 0;
}

static void replay_from_ring(struct follower *s)
{
    struct feed *f = s->feed;
    struct span key = s->channel->key;
    uint64_t serial = ring_after(&f->ring, s->at, key);
    size_t bytes = 0, most = chunk_bytes(s->bus);

    for (; serial != RING_NONE; serial = ring_following(&f->ring, serial, key)) {
        struct ring_entry *e = ring_entry(&f->ring, serial);
        const struct wsbus_pos *seen = cursor_get(s->at, e->message->pos.partition);
        struct frame *frame;

        if (beyond_front(s, e->message)) continue;
        if (seen && pos_compare(&e->message->pos, seen) <= 0) continue;
        if (bytes >= most) {
            post_chunk(s, 0);
            return;
        }
        frame = entry_frame(s, e);
        bytes += frame->len;
        cursor_advance(&s->at, &e->message->pos);
        post_frame(s, frame);
    }
    for (uint32_t i = 0; i < feed_front(f, s->worker)->count; i++)
        cursor_advance(&s->at, &feed_front(f, s->worker)->pos[i]);
    /* One pull, one chunk: who is ahead asks again before it gets more. */
    if (bytes > 0 && replay_place(s) == PLACE_AHEAD)
        post_chunk(s, 0);
    else
        replay_finish(s);
}

/* ---- from pieces of the past ----------------------------------------------------------------------- */

static void pull_again(struct follower *s)
{
    list_append(&s->bus->pulls, &s->pull);
    bus_turn(s->bus);
}

/* Returns how many bytes were posted. */
static size_t give(struct follower *s, struct piece *p)
{
    struct frame *run;
    size_t bytes = 0;

    if (p->lost) {
        const char *reason = lost_reason(p->lost);
        struct wsbus_cursor *end = lost_end(s->at, p->lost_until);
        replay_gap(s, reason ? reason : "expired", s->at, end);
        cursor_free(end);
        bytes = 1;
    }
    run = piece_give(p, s);
    if (!run) return bytes;
    bytes += run->len;
    post_frame(s, run);
    return bytes;
}

static bool fits(const struct piece *p, size_t bytes)
{
    return bytes == 0 || bytes + (p->run ? p->run->len : p->bytes) <= CHUNK_BYTES;
}

/* One pull, one chunk, of one piece or of several. */
static void replay_from(struct follower *s, struct piece *p)
{
    size_t bytes = 0;

    for (; p && fits(p, bytes); p = pass_find(s))
        bytes += give(s, p);
    if (replay_place(s) == PLACE_THERE)
        replay_join(s);
    else if (bytes > 0)
        post_chunk(s, 0);
    else
        pull_again(s); /* nothing was for it: others have their turn first */
}

static void replay_want(struct follower *s)
{
    struct pending *p = pending_new(s->bus, PENDING_FOLLOWER);

    p->piece = piece_new(s);
    p->piece->read = p;
    p->follower = s;
    s->pending = p;
    reads_ask(s->bus, p);
}

/* Those who waited for it pull again, and find it or go on by themselves. */
static void wake(struct piece *p)
{
    struct follower *s;

    while ((s = piece_release(p)))
        pull_again(s);
}

void replay_unwanted(struct piece *piece)
{
    struct pending *p = piece->read;
    struct feed *f = piece->feed;

    if (!f || !p || !reads_waits(p) || p->follower || !list_empty(&piece->waiting)) return;
    pending_free(f->bus, pending_take(f->bus, p->token));
}

bool replay_read(struct pending *p)
{
    struct piece *piece = p->piece;
    struct feed *f = piece->feed;
    struct follower *s = p->follower;
    struct wsbus_read r = {
        .from = piece->from,
        .key = piece->key.p,
        .key_len = piece->key.n,
        .max_messages = CHUNK_MESSAGES,
        .max_scan = CHUNK_SCAN,
    };

    if (!f) return false;
    if (s ? pass_find(s) != NULL : list_empty(&piece->waiting)) {
        wake(piece);
        if (s) pull_again(s);
        return false;
    }
    r.topic = feed_topic(f);
    r.until = s ? feed_front(f, s->worker) : f->position; /* beyond is live, and still to come */
    r.max_bytes = chunk_bytes(f->bus);
    p->until = cursor_copy(r.until);
    bus_read(f->bus, p->token, r);
    return true;
}

/* A subscription outlives an outage of its bus; what the bus refuses ends it. */
static void fail(struct follower *s, const struct wsbus_answer *a)
{
    if (a->status == WSBUS_UNAVAILABLE || a->status == WSBUS_BUSY)
        bus_timer(s->bus, &s->deadline, READ_RETRY);
    else
        follower_end(s, a->words ? a->words : error_default(error_of_status(a->status)));
}

static void fail_all(struct piece *p, struct follower *s, const struct wsbus_answer *a)
{
    struct feed *f = p->feed;

    f->users++; /* held while we walk */
    if (s) fail(s, a);
    while ((s = piece_release(p)))
        fail(s, a);
    feed_release(f);
}

void replay_on_chunk(struct pending *p, const struct wsbus_answer *a, const struct wsbus_chunk *c)
{
    struct piece *piece = p->piece;
    struct feed *f = piece->feed;
    struct follower *s = p->follower;
    bool shared;

    if (!f) return; /* it was stopped meanwhile: nobody is there */
    if (a->status != WSBUS_OK) {
        fail_all(piece, s, a);
        return;
    }
    piece_fill(piece, c, p->until);
    shared = f->replays > (s ? 1 : 0);
    wake(piece);
    if (s) replay_from(s, piece);
    if (!shared) return;
    p->piece = NULL;
    piece->read = NULL;
    piece_keep(piece);
}

/* ---- the next chunk ---------------------------------------------------------------------------------- */

void replay_pull(struct follower *s)
{
    struct feed *f = s->feed;
    struct piece *p;

    if (s->state != FOLLOWER_REPLAY || s->pending) return;
    if (s->first) {
        struct frame *frame = feed_frame(f, s->channel, s->first);
        wsbus_message_unref(s->first);
        s->first = NULL;
        post_frame(s, frame);
    }
    if (replay_place(s) != PLACE_SHORT)
        replay_finish(s);
    else if (ring_covers(&f->ring, s->at))
        replay_from_ring(s);
    else if ((p = pass_find(s)))
        replay_from(s, p);
    else if (!pass_wait(s) && bus_instance(s->bus))
        replay_want(s);
}
