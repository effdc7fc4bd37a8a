/* One page of a topic's past: find the place, read, write the members of a `history` frame. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hub/feed.h"
#include "protocol/cursor.h"
#include "protocol/message.h"
#include "protocol/reply.h"

struct history {
    struct hub_bus *bus;
    struct mail_ask *ask;
    struct wsbus_cursor *start;
    enum wsbus_lost lost;
    struct pending *pending;
    struct timer deadline;
};

static void history_free(struct history *h)
{
    timer_stop(bus_timers(h->bus), &h->deadline);
    if (h->pending) h->pending->history = NULL;
    if (h->pending && reads_waits(h->pending))
        pending_free(h->bus, pending_take(h->bus, h->pending->token));
    cursor_free(h->start);
    mail_free(&h->ask->item);
    free(h);
}

static void history_answer(struct history *h, enum error_code error, struct span text)
{
    struct mail_done *d = mail_done_new(MAIL_HISTORY_DONE, h->ask->id, error, text);

    bus_mail(h->bus, h->ask->worker, &d->item);
    history_free(h);
}

static void history_refuse(struct history *h, const struct wsbus_answer *a)
{
    struct span words = a->words ? span_str(a->words) : span_of(NULL, 0);

    history_answer(h, error_of_status(a->status), words);
}

void history_abandon(struct history *h)
{
    history_answer(h, ERR_BUS_UNAVAILABLE, span_of(NULL, 0));
}

static void history_busy(struct history *h)
{
    history_answer(h, ERR_BUSY, SPAN("Too many reads of the past are under way; ask again later."));
}

static void on_deadline(struct timer *t)
{
    struct history *h = CONTAINER_OF(t, struct history, deadline);

    if (h->pending && reads_waits(h->pending))
        history_busy(h);
    else
        history_abandon(h);
}

static struct wsbus_topic history_topic(const struct history *h)
{
    const struct mail_ask *ask = h->ask;

    return (struct wsbus_topic){ask->topic.p, ask->topic.n, ask->rule->values};
}

static struct pending *history_pend(struct history *h)
{
    h->pending = pending_new(h->bus, PENDING_HISTORY);
    h->pending->history = h;
    return h->pending;
}

void history_new(struct hub_bus *b, struct mail_ask *ask)
{
    struct history *h = mem_zero(sizeof *h);
    struct wsbus_locate l = {
        .place = WSBUS_EARLIEST,
        .key = ask->key.p,
        .key_len = ask->key.n,
        .cursor = ask->cursor,
        .until = ask->until,
        .time = ask->number,
        .count = (uint64_t)ask->number,
    };

    h->bus = b;
    h->ask = ask;
    timer_init(&h->deadline, on_deadline);
    bus_timer(b, &h->deadline, b->config->bus_wait);
    if (b->reads.count >= b->config->replay.at_once) {
        history_busy(h);
        return;
    }
    l.topic = history_topic(h);
    switch (ask->from) {
    case FROM_NOW: l.place = WSBUS_LATEST; break;
    case FROM_AFTER: l.place = WSBUS_AFTER; break;
    case FROM_AGO: l.time = clock_wall() - ask->number; /* fallthrough */
    case FROM_TIME: l.place = WSBUS_AT_TIME; break;
    case FROM_LAST:
        l.place = WSBUS_LAST;
        l.max_messages = b->config->replay.max_messages;
        break;
    default: break;
    }
    bus_locate(b, history_pend(h)->token, l);
}

void history_on_located(struct history *h, const struct wsbus_answer *a,
                        const struct wsbus_located *l)
{
    h->pending = NULL;
    if (a->status != WSBUS_OK) {
        history_refuse(h, a);
        return;
    }
    if (!bus_instance(h->bus)) {
        history_abandon(h);
        return;
    }
    h->lost = l->lost;
    h->start = cursor_copy(l->cursor);
    reads_ask(h->bus, history_pend(h));
}

bool history_read(struct pending *p)
{
    const struct history *h = p->history;
    struct wsbus_read r;
    uint64_t scan;

    if (!h) return false;
    /* A page that no key thins out is never cut short by what may be looked at. */
    scan = h->bus->config->replay.max_messages;
    r = (struct wsbus_read){
        .topic = history_topic(h),
        .from = h->start,
        .until = h->ask->until,
        .key = h->ask->key.p,
        .key_len = h->ask->key.n,
        .max_messages = h->ask->limit,
        .max_bytes = HISTORY_PAGE_BYTES,
        .max_scan = scan > h->ask->limit ? (uint32_t)scan : h->ask->limit,
    };
    bus_read(h->bus, p->token, r);
    return true;
}

/* The message frames separated by commas, until the page is full. Returns how many are in. */
static size_t page_write(const struct history *h, const struct wsbus_chunk *c, struct buf *out)
{
    size_t i;

    for (i = 0; i < c->count && (i == 0 || out->n < HISTORY_PAGE_BYTES); i++) {
        if (i) buf_byte(out, ',');
        message_write(out, h->ask->channel, c->messages[i], h->bus->backend, true);
    }
    return i;
}

void history_on_chunk(struct history *h, const struct wsbus_answer *a, const struct wsbus_chunk *c)
{
    const struct wsbus_backend *b = h->bus->backend;
    struct reply_history page = {.recovered = RECOVERED_ABSENT};
    struct wsbus_cursor *end;
    struct buf messages, cursors, body;
    size_t count, split;

    h->pending = NULL;
    if (a->status != WSBUS_OK) {
        history_refuse(h, a);
        return;
    }
    buf_init(&messages, BUF_UNLIMITED);
    buf_init(&cursors, BUF_UNLIMITED);
    buf_init(&body, BUF_UNLIMITED);
    count = page_write(h, c, &messages);
    end = cursor_copy(count == c->count ? c->cursor : h->start);
    for (size_t i = 0; i < count && count < c->count; i++)
        cursor_put(&end, &c->messages[i]->pos);
    cursor_write(&cursors, end, b);
    split = cursors.n;
    cursor_write(&cursors, h->start, b);
    page.messages = buf_view(&messages);
    page.cursor = span_of(cursors.p, split);
    page.before = span_of(cursors.p + split, cursors.n - split);
    page.more = count < c->count || !c->end;
    if (h->ask->from == FROM_AFTER) {
        enum wsbus_lost lost = h->lost ? h->lost : c->lost;
        page.recovered = lost ? RECOVERED_NO : RECOVERED_YES;
        page.reason = lost ? lost_reason(lost) : NULL;
    }
    reply_history_body(&body, &page);
    cursor_free(end);
    buf_free(&messages);
    buf_free(&cursors);
    history_answer(h, ERR_NONE, buf_view(&body));
    buf_free(&body);
}
