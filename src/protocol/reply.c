#include "protocol/reply.h"

#include "base/text.h"

/* ---- members: each with the comma before it, none where there is no value ------------------- */

static void open_frame(struct buf *out, struct span type)
{
    buf_span(out, SPAN("{\"type\":\""));
    buf_span(out, type);
    buf_byte(out, '"');
}

static void put_name(struct buf *out, const char *name)
{
    buf_span(out, SPAN(",\""));
    buf_str(out, name);
    buf_span(out, SPAN("\":"));
}

static void put_raw(struct buf *out, const char *name, struct span json)
{
    if (json.p == NULL) return;
    put_name(out, name);
    buf_span(out, json);
}

static void put_text(struct buf *out, const char *name, struct span text)
{
    if (text.p == NULL) return;
    put_name(out, name);
    buf_json(out, text);
}

static void put_str(struct buf *out, const char *name, const char *text)
{
    put_text(out, name, span_str(text));
}

static void put_number(struct buf *out, const char *name, uint64_t v)
{
    put_name(out, name);
    buf_u64(out, v);
}

static void put_bool(struct buf *out, const char *name, bool v)
{
    put_raw(out, name, v ? SPAN("true") : SPAN("false"));
}

/* A cursor that is always there: null on a bus without a log. */
static void put_cursor(struct buf *out, const char *name, struct span cursor)
{
    put_raw(out, name, cursor.p != NULL ? cursor : SPAN("null"));
}

static void put_recovered(struct buf *out, enum recovered recovered, const char *reason)
{
    if (recovered == RECOVERED_ABSENT) return;
    put_bool(out, "recovered", recovered == RECOVERED_YES);
    if (recovered == RECOVERED_NO) put_str(out, "reason", reason);
}

/* The words of a bus may be in any encoding: what is not UTF-8 becomes U+FFFD. */
static void put_words(struct buf *out, const char *name, struct span words)
{
    if (utf8_valid(words)) {
        put_text(out, name, words);
        return;
    }
    struct buf clean;
    buf_init(&clean, BUF_UNLIMITED);
    for (size_t i = 0; i < words.n;) {
        size_t length = utf8_length(words.p + i, words.n - i);
        if (length > 0)
            buf_append(&clean, words.p + i, length);
        else
            buf_span(&clean, SPAN("\xef\xbf\xbd"));
        i += length > 0 ? length : 1;
    }
    put_text(out, name, buf_view(&clean));
    buf_free(&clean);
}

/* ---- frames --------------------------------------------------------------------------------- */

void reply_welcome(struct buf *out, const struct reply_welcome *w)
{
    open_frame(out, SPAN("welcome"));
    put_str(out, "server", "wsbus/" WSBUS_VERSION);
    put_str(out, "session", w->session);
    put_number(out, "ping", w->ping_ms);
    put_str(out, "auth", w->auth);
    buf_span(out, SPAN(",\"limits\":{\"message_bytes\":"));
    buf_u64(out, w->message_bytes);
    put_number(out, "frame_bytes", w->frame_bytes);
    put_number(out, "subscriptions", w->subscriptions);
    put_number(out, "history", w->history);
    buf_span(out, SPAN("}}"));
}

void reply_subscribed(struct buf *out, const struct reply_subscribed *r)
{
    open_frame(out, SPAN("subscribed"));
    put_raw(out, "id", r->id);
    put_text(out, "channel", r->channel);
    put_cursor(out, "cursor", r->cursor);
    put_recovered(out, r->recovered, r->reason);
    buf_byte(out, '}');
}

void reply_unsubscribed(struct buf *out, struct span id, struct span channel, const char *reason)
{
    open_frame(out, SPAN("unsubscribed"));
    put_raw(out, "id", id);
    put_text(out, "channel", channel);
    put_str(out, "reason", reason);
    buf_byte(out, '}');
}

static void place_frame(struct buf *out, struct span type, struct span channel, struct span cursor)
{
    open_frame(out, type);
    put_text(out, "channel", channel);
    put_cursor(out, "cursor", cursor);
    buf_byte(out, '}');
}

void reply_live(struct buf *out, struct span channel, struct span cursor)
{
    place_frame(out, SPAN("live"), channel, cursor);
}

void reply_position(struct buf *out, struct span channel, struct span cursor)
{
    place_frame(out, SPAN("position"), channel, cursor);
}

struct span reply_position_cursor(struct span frame, struct span channel)
{
    struct span cursor = {NULL, 0};
    struct buf head;
    buf_init(&head, BUF_UNLIMITED);
    open_frame(&head, SPAN("position"));
    put_text(&head, "channel", channel);
    put_name(&head, "cursor");
    if (frame.n > head.n && memcmp(frame.p, head.p, head.n) == 0)
        cursor = span_of(frame.p + head.n, frame.n - head.n - 1);
    buf_free(&head);
    return cursor;
}

void reply_gap(struct buf *out, const struct reply_gap *g)
{
    open_frame(out, SPAN("gap"));
    put_text(out, "channel", g->channel);
    put_str(out, "reason", g->reason);
    put_raw(out, "after", g->after);
    put_raw(out, "until", g->until);
    if (g->lost >= 0) put_number(out, "lost", (uint64_t)g->lost);
    buf_byte(out, '}');
}

void reply_published(struct buf *out, struct span id, struct span pos, int64_t receivers)
{
    open_frame(out, SPAN("published"));
    put_raw(out, "id", id);
    put_raw(out, "pos", pos);
    if (pos.p == NULL) put_number(out, "receivers", receivers > 0 ? (uint64_t)receivers : 0);
    buf_byte(out, '}');
}

void reply_history(struct buf *out, struct span id, struct span channel, struct span body)
{
    open_frame(out, SPAN("history"));
    put_raw(out, "id", id);
    put_text(out, "channel", channel);
    buf_byte(out, ',');
    buf_span(out, body);
    buf_byte(out, '}');
}

void reply_history_body(struct buf *out, const struct reply_history *h)
{
    buf_span(out, SPAN("\"messages\":["));
    buf_span(out, h->messages);
    buf_byte(out, ']');
    put_cursor(out, "cursor", h->cursor);
    put_cursor(out, "before", h->before);
    put_bool(out, "more", h->more);
    put_recovered(out, h->recovered, h->reason);
}

void reply_pong(struct buf *out, struct span id)
{
    open_frame(out, SPAN("pong"));
    put_raw(out, "id", id);
    buf_byte(out, '}');
}

void reply_goaway(struct buf *out, const char *reason, uint64_t retry_after_ms)
{
    open_frame(out, SPAN("goaway"));
    put_str(out, "reason", reason);
    put_number(out, "retry_after", retry_after_ms);
    buf_byte(out, '}');
}

void reply_error(struct buf *out, const struct reply_error *e)
{
    open_frame(out, SPAN("error"));
    put_raw(out, "id", e->id);
    put_text(out, "channel", e->channel);
    put_str(out, "code", error_name(e->code));
    put_words(out, "message", e->message.p != NULL ? e->message : span_str(error_default(e->code)));
    put_bool(out, "retry", error_retry(e->code));
    if (e->retry_after > 0) put_number(out, "retry_after", e->retry_after);
    put_str(out, "limit", e->limit);
    buf_byte(out, '}');
}
