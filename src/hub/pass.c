#include "hub/pass.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/cursor.h"

#define LOOK_MAX 64u     /* pieces under way that are looked at for one that may be shared */
#define OTHERS_MAX 3u    /* replays of other keys beside which a key is still read alone */
#define RUN_KEEP 262144u /* memory that the buffer for runs keeps */

/* ---- who is served by it -------------------------------------------------------------------------- */

static bool is_beginning(const struct wsbus_pos *pos)
{
    return !pos || (pos->hi == 0 && pos->lo == 0);
}

/* Is `here` not before `from`, in one partition? NULL is its beginning. */
static bool is_behind(const struct wsbus_pos *here, const struct wsbus_pos *from)
{
    if (is_beginning(from) && (!here || !from || pos_comparable(from, here))) return true;
    return here && from && pos_comparable(from, here) && pos_compare(from, here) <= 0;
}

static bool is_same(const struct wsbus_cursor *a, const struct wsbus_cursor *b)
{
    if (a->count != b->count) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct wsbus_pos *x = &a->pos[i], *y = &b->pos[i];
        if (x->partition != y->partition || !pos_comparable(x, y) || pos_compare(x, y) != 0)
            return false;
    }
    return true;
}

static bool has_key(const struct piece *p, const struct follower *s)
{
    return !p->key.p || (s->channel->key.p && span_eq(p->key, s->channel->key));
}

/* On a worker that is behind the feed, what comes after its front is live, and still to come. */
static bool is_before_front(const struct piece *p, const struct follower *s)
{
    const struct wsbus_cursor *front = s->feed->workers[s->worker].behind;

    for (uint32_t i = 0; front && i < p->at->count; i++) {
        const struct wsbus_pos *end = cursor_get(front, p->at->pos[i].partition);
        if (!end || !pos_comparable(end, &p->at->pos[i])) return false;
        if (pos_compare(&p->at->pos[i], end) > 0) return false;
    }
    return true;
}

static bool brings_further(const struct piece *p, const struct follower *s)
{
    bool further = false;

    if (!has_key(p, s) || !is_before_front(p, s)) return false;
    if (p->lost) return is_same(p->from, s->at);
    for (uint32_t i = 0; i < p->at->count; i++) {
        const struct wsbus_pos *end = &p->at->pos[i];
        const struct wsbus_pos *here = cursor_get(s->at, end->partition);
        if (here && !pos_comparable(here, end)) return false;
        if (!is_behind(here, cursor_get(p->from, end->partition))) return false;
        if (here ? pos_compare(end, here) > 0 : !is_beginning(end)) further = true;
    }
    return further;
}

struct piece *pass_find(struct follower *s)
{
    const struct feed *f = s->feed;
    uint64_t now = clock_ticks();

    for (struct list *n = f->pieces.prev; n != &f->pieces; n = n->prev) {
        struct piece *p = LIST_ITEM(n, struct piece, of_feed);
        if (now < p->due && brings_further(p, s)) return p;
    }
    return NULL;
}

/* How far it will reach is not known. */
static bool may_reach(const struct piece *p, const struct follower *s)
{
    for (uint32_t i = 0; i < p->from->count; i++) {
        const struct wsbus_pos *from = &p->from->pos[i];
        if (!is_behind(cursor_get(s->at, from->partition), from)) return false;
    }
    return true;
}

static void await(struct follower *s, struct piece *p)
{
    s->awaits = p;
    list_append(&p->waiting, &s->pull);
}

struct follower *piece_release(struct piece *p)
{
    struct list *n = list_pop(&p->waiting);
    struct follower *s = n ? LIST_ITEM(n, struct follower, pull) : NULL;

    if (s) s->awaits = NULL;
    return s;
}

/* Who has waited in vain reads by itself, until it finds another's piece again. */
bool pass_wait(struct follower *s)
{
    const struct feed *f = s->feed;
    struct piece *found = NULL;
    unsigned looked = 0;

    if (f->workers[s->worker].behind) return false;
    for (struct list *n = f->reading.prev; n != &f->reading && looked < LOOK_MAX; n = n->prev) {
        struct piece *p = LIST_ITEM(n, struct piece, of_feed);
        looked++;
        if (!has_key(p, s)) continue;
        if (is_same(p->from, s->at)) {
            await(s, p);
            return true;
        }
        if (!found && !s->waited && may_reach(p, s)) found = p;
    }
    if (!found) return false;
    s->waited = true;
    await(s, found);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------ */

struct piece *piece_new(struct follower *s)
{
    struct feed *f = s->feed;
    struct span key = s->channel->key;
    struct piece *p = mem_zero(sizeof *p);

    if (f->replays - s->channel->replays > OTHERS_MAX) key.p = NULL;
    p->feed = f;
    p->from = cursor_copy(s->at);
    if (key.p) p->key = span_of(mem_dup(key.p, key.n), key.n);
    list_init(&p->waiting);
    list_init(&p->of_bus);
    list_append(&f->reading, &p->of_feed);
    return p;
}

void piece_free(struct piece *p)
{
    if (!p) return;
    while (piece_release(p)) {
    }
    if (!list_empty(&p->of_bus)) {
        p->feed->bus->piece_bytes -= p->bytes;
        p->feed->piece_count--;
    }
    list_del(&p->of_bus);
    list_del(&p->of_feed);
    for (size_t i = 0; i < p->count; i++)
        wsbus_message_unref(p->messages[i]);
    if (p->run) frame_unref(p->run);
    cursor_free(p->from);
    cursor_free(p->at);
    cursor_free(p->lost_until);
    free((char *)(uintptr_t)p->key.p);
    free(p->messages);
    free(p->ends);
    free(p);
}

void piece_fill(struct piece *p, const struct wsbus_chunk *c, const struct wsbus_cursor *until)
{
    p->at = cursor_copy(p->from);
    p->lost = c->lost;
    p->lost_until = cursor_copy(c->lost_until);
    chunk_advance(&p->at, c, until);
    p->count = c->count;
    p->messages = mem_alloc((c->count + 1) * sizeof(struct wsbus_message *));
    p->bytes = sizeof *p + (c->count + 1) * sizeof(struct wsbus_message *) +
               3 * p->at->count * sizeof p->at->pos[0];
    for (size_t i = 0; i < c->count; i++) {
        p->messages[i] = wsbus_message_ref(c->messages[i]);
        p->bytes += c->messages[i]->size;
    }
}

void pass_tidy(struct hub_bus *b)
{
    uint64_t now = clock_ticks();

    while (!list_empty(&b->pieces)) {
        struct piece *oldest = LIST_ITEM(b->pieces.next, struct piece, of_bus);
        if (b->piece_bytes <= b->config->replay.pass_bytes && now < oldest->due) break;
        piece_free(oldest);
    }
    if (!list_empty(&b->pieces)) bus_timer(b, &b->forget, PIECE_MS);
}

void piece_keep(struct piece *p)
{
    struct feed *f = p->feed;
    struct hub_bus *b = f->bus;

    p->due = clock_ticks() + PIECE_MS;
    list_del(&p->of_feed);
    list_append(&f->pieces, &p->of_feed);
    list_append(&b->pieces, &p->of_bus);
    b->piece_bytes += p->bytes;
    if (++f->piece_count > PIECES_MAX) piece_free(LIST_ITEM(f->pieces.next, struct piece, of_feed));
    pass_tidy(b);
}

void pass_forget(struct feed *f)
{
    while (!list_empty(&f->pieces))
        piece_free(LIST_ITEM(f->pieces.next, struct piece, of_feed));
}

void pass_detach(struct feed *f)
{
    struct list *n;

    while ((n = list_pop(&f->reading)))
        LIST_ITEM(n, struct piece, of_feed)->feed = NULL;
}

/* ---- frames ---------------------------------------------------------------------------------------- */

/* All of it in frames of this channel; the last that were made are kept. */
static void make_run(struct piece *p, const struct follower *s)
{
    const struct feed_channel *c = s->channel;
    struct hub_bus *b = s->bus;
    size_t before = p->run ? p->run->len : 0;

    if (p->run && p->run_channel == c->number) return;
    if (p->run) frame_unref(p->run);
    if (!p->ends) p->ends = mem_alloc(p->count * sizeof p->ends[0]);
    buf_clear(&b->run);
    for (size_t i = 0; i < p->count; i++) {
        feed_text(s->feed, c, p->messages[i]);
        frame_append(&b->run, FRAME_TEXT, buf_view(&b->text));
        p->ends[i] = (uint32_t)b->run.n;
    }
    p->run = frame_run(buf_view(&b->run), (uint32_t)p->count);
    p->run_channel = c->number;
    buf_shrink(&b->run, RUN_KEEP);
    p->bytes += p->run->len - before;
    if (!list_empty(&p->of_bus)) b->piece_bytes += p->run->len - before;
}

static bool is_wanted(const struct follower *s, const struct wsbus_message *m)
{
    const struct wsbus_pos *seen = cursor_get(s->at, m->pos.partition);

    return !seen || !pos_comparable(seen, &m->pos) || pos_compare(&m->pos, seen) > 0;
}

static struct frame *take_run(struct hub_bus *b, uint32_t count)
{
    struct frame *run = count ? frame_run(buf_view(&b->run), count) : NULL;

    buf_shrink(&b->run, RUN_KEEP);
    return run;
}

/* A part of the run, copied: who comes from another place has its own first piece. */
static struct frame *cut_run(const struct piece *p, const struct follower *s)
{
    struct hub_bus *b = s->bus;
    uint32_t count = 0;

    buf_clear(&b->run);
    for (size_t i = 0; i < p->count; i++) {
        uint32_t begin = i ? p->ends[i - 1] : 0;
        if (!is_wanted(s, p->messages[i])) continue;
        buf_append(&b->run, p->run->bytes + begin, p->ends[i] - begin);
        count++;
    }
    return take_run(b, count);
}

static struct frame *run_of_key(const struct piece *p, const struct follower *s)
{
    struct hub_bus *b = s->bus;
    struct span key = s->channel->key;
    uint32_t count = 0;

    buf_clear(&b->run);
    for (size_t i = 0; i < p->count; i++) {
        const struct wsbus_message *m = p->messages[i];
        if (!m->key || !span_eq(span_of(m->key, m->key_len), key) || !is_wanted(s, m)) continue;
        feed_text(s->feed, s->channel, m);
        frame_append(&b->run, FRAME_TEXT, buf_view(&b->text));
        count++;
    }
    return take_run(b, count);
}

static struct frame *frames_for(struct piece *p, const struct follower *s)
{
    if (p->count == 0) return NULL;
    if (s->channel->key.p && !p->key.p) return run_of_key(p, s);
    make_run(p, s);
    if (p->lost || is_same(p->from, s->at)) return frame_ref(p->run);
    return cut_run(p, s);
}

struct frame *piece_give(struct piece *p, struct follower *s)
{
    struct frame *run = frames_for(p, s);

    if (list_empty(&p->of_bus)) {
        s->bus->own++;
    } else {
        s->bus->given++;
        s->waited = false;
    }
    for (uint32_t i = 0; i < p->at->count; i++) {
        if (p->lost)
            cursor_put(&s->at, &p->at->pos[i]);
        else
            cursor_advance(&s->at, &p->at->pos[i]);
    }
    return run;
}
