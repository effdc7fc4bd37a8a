#include "hub/mail.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/cursor.h"

/* Small items cost more than their bytes (allocation, what they set in motion). */
#define ITEM_COST 64u

static void item_init(struct inbox_item *item, enum mail_kind kind, size_t bytes)
{
    size_t cost = bytes + ITEM_COST;

    item->next = NULL;
    item->kind = kind;
    item->bytes = cost < UINT32_MAX ? (uint32_t)cost : UINT32_MAX;
}

/* Copies s to *at, a NUL behind it, and moves *at on; a span without pointer stays one. */
static struct span put(char **at, struct span s)
{
    struct span copy = {*at, s.n};

    if (!s.p) return s;
    if (s.n) memcpy(*at, s.p, s.n);
    (*at)[s.n] = '\0';
    *at += s.n + 1;
    return copy;
}

/* Words of a bus come from outside: what is no UTF-8 must not reach a client. */
static void scrub(struct span s, char *p)
{
    for (size_t i = 0; s.p && i < s.n;) {
        size_t n = utf8_length(p + i, s.n - i);
        if (n == 0) p[i] = '?';
        i += n ? n : 1;
    }
}

/* ---- worker -> bus --------------------------------------------------------------------------- */

struct mail_ask *mail_ask_new(enum mail_kind kind, struct span channel, struct span topic,
                              struct span key)
{
    size_t size = sizeof(struct mail_ask) + channel.n + topic.n + key.n + 3;
    struct mail_ask *m = mem_alloc(size);
    char *at = (char *)(m + 1);

    *m = (struct mail_ask){.channel = put(&at, channel)};
    m->topic = put(&at, topic);
    m->key = put(&at, key);
    item_init(&m->item, kind, size);
    return m;
}

struct mail_figures *mail_figures_new(struct inbox *answer, uint64_t id, unsigned bus)
{
    struct mail_figures *m = mem_zero(sizeof *m);

    m->answer = answer;
    m->id = id;
    m->bus = bus;
    item_init(&m->item, MAIL_FIGURES, sizeof *m);
    return m;
}

struct mail_leave *mail_leave_new(enum mail_kind kind, unsigned worker, uint64_t id, bool answer)
{
    struct mail_leave *m = mem_alloc(sizeof *m);

    *m = (struct mail_leave){.worker = worker, .id = id, .answer = answer};
    item_init(&m->item, kind, sizeof *m);
    return m;
}

static size_t headers_size(const struct wsbus_publish *p)
{
    size_t n = 0;

    for (uint32_t i = 0; i < p->header_count; i++)
        n += sizeof(struct wsbus_header) + p->headers[i].name_len + p->headers[i].value_len + 2;
    return n;
}

static void put_headers(struct mail_publish *m, struct wsbus_header *to, char **at)
{
    const struct wsbus_header *from = m->publish.headers;

    for (uint32_t i = 0; i < m->publish.header_count; i++) {
        to[i] = from[i];
        to[i].name = put(at, span_of(from[i].name, from[i].name_len)).p;
        to[i].value = put(at, span_of(from[i].value, from[i].value_len)).p;
    }
    m->publish.headers = m->publish.header_count ? to : NULL;
}

struct mail_publish *mail_publish_new(const struct wsbus_publish *from)
{
    size_t size = sizeof(struct mail_publish) + headers_size(from) + from->topic.name_len +
                  from->key_len + from->payload_len + 3;
    struct mail_publish *m = mem_alloc(size);
    struct wsbus_header *headers = (struct wsbus_header *)(void *)(m + 1);
    char *at = (char *)(headers + from->header_count);

    *m = (struct mail_publish){.publish = *from};
    put_headers(m, headers, &at);
    m->publish.topic.name = put(&at, span_of(from->topic.name, from->topic.name_len)).p;
    m->publish.key = put(&at, span_of(from->key, from->key_len)).p;
    m->publish.payload = put(&at, span_of(from->payload, from->payload_len)).p;
    item_init(&m->item, MAIL_PUBLISH, size);
    return m;
}

/* ---- bus -> worker --------------------------------------------------------------------------- */

static void frame_done(struct slip *slip)
{
    frame_unref(slip->frame);
    free(CONTAINER_OF(slip, struct mail_frame, slip));
}

struct mail_frame *mail_frame_new(enum mail_kind kind, uint64_t id, struct frame *frame)
{
    struct mail_frame *m = mem_alloc(sizeof *m);

    *m = (struct mail_frame){.id = id, .slip = {.refs = 1, .done = frame_done}};
    m->slip.frame = frame;
    item_init(&m->item, kind, sizeof *m + frame->len);
    return m;
}

struct mail_subscribed *mail_subscribed_new(uint64_t id, struct span cursor)
{
    size_t size = sizeof(struct mail_subscribed) + cursor.n + 1;
    struct mail_subscribed *m = mem_alloc(size);
    char *at = (char *)(m + 1);

    *m = (struct mail_subscribed){.id = id, .cursor = put(&at, cursor)};
    item_init(&m->item, MAIL_SUBSCRIBED, size);
    return m;
}

struct mail_chunk *mail_chunk_new(uint64_t id, uint64_t channel)
{
    struct mail_chunk *m = mem_alloc(sizeof *m);

    *m = (struct mail_chunk){.id = id, .channel = channel};
    item_init(&m->item, MAIL_CHUNK, sizeof *m);
    return m;
}

struct mail_left *mail_left_new(uint64_t id, bool answer, struct span reason)
{
    size_t size = sizeof(struct mail_left) + reason.n + 1;
    struct mail_left *m = mem_alloc(size);
    char *at = (char *)(m + 1);

    *m = (struct mail_left){.id = id, .answer = answer, .reason = put(&at, reason)};
    scrub(m->reason, (char *)(m + 1));
    item_init(&m->item, MAIL_LEFT, size);
    return m;
}

struct mail_done *mail_done_new(enum mail_kind kind, uint64_t id, enum error_code error,
                                struct span text)
{
    size_t size = sizeof(struct mail_done) + text.n + 1;
    struct mail_done *m = mem_alloc(size);
    char *at = (char *)(m + 1);

    *m = (struct mail_done){.id = id, .error = error, .text = put(&at, text)};
    if (error != ERR_NONE) scrub(m->text, (char *)(m + 1));
    item_init(&m->item, kind, size);
    return m;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void ask_free(struct mail_ask *m)
{
    cursor_free(m->cursor);
    cursor_free(m->until);
    free(m);
}

/* The item is the first member of each of the others, so they are one allocation with it. */
void mail_free(struct inbox_item *item)
{
    if (!item) return;
    switch ((enum mail_kind)item->kind) {
    case MAIL_SUBSCRIBE:
    case MAIL_HISTORY: ask_free(CONTAINER_OF(item, struct mail_ask, item)); return;
    case MAIL_LIVE:
    case MAIL_FRAME: slip_unref(&CONTAINER_OF(item, struct mail_frame, item)->slip); return;
    case MAIL_UNSUBSCRIBE:
    case MAIL_PULL:
    case MAIL_PUBLISH:
    case MAIL_DRAINED:
    case MAIL_FIGURES:
    case MAIL_SUBSCRIBED:
    case MAIL_REFUSED:
    case MAIL_CHUNK:
    case MAIL_LEFT:
    case MAIL_HISTORY_DONE:
    case MAIL_PUBLISHED: free(item); return;
    }
}
