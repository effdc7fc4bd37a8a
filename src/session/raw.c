#include "session/raw.h"

#include <stdio.h>
#include <stdlib.h>

#include "access/access.h"
#include "base/json_scan.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/channel.h"
#include "protocol/cursor.h"
#include "session/inside.h"

#define REASON_MAX 123 /* RFC 6455 5.5 */

struct raw {
    char *subscribe; /* the frame, as a client of /ws would send it; NULL: none */
    size_t subscribe_len;
    char *publish; /* the channel; NULL: none */
    size_t publish_len;
    bool binary;                 /* the form of all that goes out */
    enum close_code left;        /* what the client has closed with; 0: it has not */
    char reason[REASON_MAX + 1]; /* of the close; empty: what is usual for its code */
};

/* ---- before the upgrade ---------------------------------------------------------------------- */

static bool refuse(struct raw_refusal *ret, enum error_code code, struct span channel,
                   const char *message)
{
    ret->code = code;
    ret->channel = channel;
    snprintf(ret->message, sizeof ret->message, "%s", message ? message : error_default(code));
    return false;
}

static bool is_word(struct span from)
{
    return span_eq(from, SPAN("now")) || span_eq(from, SPAN("earliest")) ||
           span_eq(from, SPAN("snapshot"));
}

/* {"type":"subscribe","channel":…,"from":…}: the parser of /ws then says what is wrong with it. */
static bool write_subscribe(const struct raw_query *q, struct buf *out, struct raw_refusal *ret)
{
    buf_span(out, SPAN("{\"type\":\"subscribe\",\"channel\":"));
    buf_json(out, q->subscribe);
    if (q->from.p) {
        buf_span(out, SPAN(",\"from\":"));
        if (is_word(q->from))
            buf_json(out, q->from);
        else if (json_valid(q->from))
            buf_span(out, q->from);
        else
            return refuse(ret, ERR_BAD_REQUEST, q->subscribe,
                          "from is now, earliest, snapshot or an object like {\"last\":10}.");
    }
    buf_byte(out, '}');
    return true;
}

static bool find(struct session_worker *w, enum access_right right, struct span channel,
                 struct route *route, struct raw_refusal *ret)
{
    if (!utf8_valid(channel) || !channel_valid(channel))
        return refuse(ret, ERR_BAD_REQUEST, span_of(NULL, 0), "This is no name of a channel.");
    if (!route_find(w->spec.routes, channel, &w->topic, route))
        return refuse(ret, ERR_UNKNOWN_CHANNEL, channel, NULL);
    if (!access_channel(w->spec.access, right, channel))
        return refuse(ret, ERR_FORBIDDEN, channel, NULL);
    return true;
}

static bool may_begin(struct session_worker *w, const struct request *r, const struct route *route,
                      struct raw_refusal *ret)
{
    const struct wsbus_backend *b = w->spec.config->buses[route->rule->bus].backend;
    enum from_kind from = r->from.kind;
    struct wsbus_cursor *cursor = NULL;
    const char *why = NULL;

    if (from == FROM_ABSENT || from == FROM_NOW) return true;
    if (!route->rule->history)
        return refuse(ret, ERR_FORBIDDEN, r->channel, "The history of this channel is not open.");
    if (!(route->caps & WSBUS_CAP_LOG))
        return refuse(ret, ERR_UNSUPPORTED, r->channel,
                      "The bus of this channel keeps no history.");
    if ((from == FROM_TIME || from == FROM_AGO) && !(route->caps & WSBUS_CAP_TIME))
        return refuse(ret, ERR_UNSUPPORTED, r->channel,
                      "The bus of this channel cannot look up times.");
    if (from == FROM_SNAPSHOT && !(route->caps & WSBUS_CAP_SNAPSHOT))
        return refuse(ret, ERR_UNSUPPORTED, r->channel, "Snapshots are not supported yet.");
    if (from == FROM_AFTER && cursor_parse(r->from.cursor, b, &cursor, &why) != 0)
        return refuse(ret, ERR_BAD_REQUEST, r->channel, why);
    cursor_free(cursor);
    return true;
}

static bool check_subscribe(struct session_worker *w, const struct raw_query *q, struct buf *text,
                            struct raw_refusal *ret)
{
    struct request_error err;
    struct route route;
    struct request r;
    bool good;

    if (!find(w, ACCESS_SUBSCRIBE, q->subscribe, &route, ret)) return false;
    if (!write_subscribe(q, text, ret)) return false;
    if (request_parse(&w->parser, buf_view(text), &r, &err) != 0)
        return refuse(ret, err.code, q->subscribe, err.message);
    good = may_begin(w, &r, &route, ret);
    if (!good && ret->channel.p) ret->channel = q->subscribe;
    request_parser_shrink(&w->parser);
    return good;
}

static bool check_publish(struct session_worker *w, const struct raw_query *q,
                          struct raw_refusal *ret)
{
    struct route route;

    if (!find(w, ACCESS_PUBLISH, q->publish, &route, ret)) return false;
    return route.rule->publish || refuse(ret, ERR_FORBIDDEN, q->publish, NULL);
}

struct raw *raw_new(struct session_worker *w, const struct raw_query *q, struct raw_refusal *ret)
{
    static const struct span none = {NULL, 0};
    struct raw *raw = NULL;
    struct buf text;
    bool good;

    buf_init(&text, BUF_UNLIMITED); /* bounded by the head of the request */
    if (!q->subscribe.p && !q->publish.p)
        good = refuse(ret, ERR_BAD_REQUEST, none,
                      "Say what for: /raw?subscribe=CHANNEL, /raw?publish=CHANNEL, or both.");
    else if ((q->from.p || q->form.p) && !q->subscribe.p)
        good = refuse(ret, ERR_BAD_REQUEST, none, "from and form are for subscribe.");
    else if (q->form.p && !span_eq(q->form, SPAN("binary")))
        good = refuse(ret, ERR_BAD_REQUEST, none, "form is binary, or is left out.");
    else
        good = (!q->subscribe.p || check_subscribe(w, q, &text, ret)) &&
               (!q->publish.p || check_publish(w, q, ret));
    if (good) {
        raw = mem_zero(sizeof *raw);
        raw->subscribe_len = text.n;
        raw->subscribe = text.n ? mem_dup(text.p, text.n) : NULL;
        raw->binary = q->form.p != NULL;
        raw->publish_len = q->publish.n;
        raw->publish = q->publish.p ? mem_dup(q->publish.p, q->publish.n) : NULL;
    }
    buf_free(&text);
    return raw;
}

void raw_free(struct raw *r)
{
    if (!r) return;
    free(r->subscribe);
    free(r->publish);
    free(r);
}

/* ---- what goes in ---------------------------------------------------------------------------- */

void raw_begin(struct session *s)
{
    struct raw *raw = s->raw;

    if (raw->subscribe) session_command(s, span_of(raw->subscribe, raw->subscribe_len));
    free(raw->subscribe);
    raw->subscribe = NULL;
}

void raw_message(struct session *s, struct span payload)
{
    struct request r = {.type = REQUEST_PUBLISH, .partition = -1};

    if (!s->raw->publish) {
        session_fail(s, CLOSE_UNSUPPORTED_DATA);
        return;
    }
    r.channel = span_of(s->raw->publish, s->raw->publish_len);
    r.payload = payload.p ? payload : SPAN(""); /* an empty message is no tombstone */
    session_request(s, &r);
}

void raw_progress(struct session *s)
{
    if (s->raw->left != 0 && list_empty(&s->errands)) session_fail(s, s->raw->left);
}

void session_leave_raw(struct session *s, enum close_code code)
{
    if (s->raw->left == 0) s->raw->left = code;
    raw_progress(s);
}

/* ---- what ends it ---------------------------------------------------------------------------- */

/* Words of a bus may be long and in any encoding: a reason is cut to what fits, and one that is not
 * UTF-8 is left out. The first one stays. */
static void end(struct session *s, enum close_code code, struct span why)
{
    struct raw *raw = s->raw;
    size_t n = why.n < REASON_MAX ? why.n : REASON_MAX;

    while (n > 0 && n < why.n && ((unsigned char)why.p[n] & 0xC0U) == 0x80U)
        n--;
    if (s->code == 0 && n > 0 && utf8_valid(span_of(why.p, n))) {
        memcpy(raw->reason, why.p, n);
        raw->reason[n] = '\0';
    }
    session_fail(s, code);
}

const char *raw_reason(const struct session *s)
{
    return s->raw && s->raw->reason[0] ? s->raw->reason : NULL;
}

void raw_error(struct session *s, const struct reply_error *e)
{
    end(s, e->code == ERR_TOO_LARGE ? CLOSE_TOO_BIG : CLOSE_SERVER_ERROR,
        e->message.p ? e->message : span_str(error_default(e->code)));
}

static void lost(struct session *s, struct span reason)
{
    struct span why = SPAN("Messages have been lost.");

    if (span_eq(reason, SPAN("limit")))
        why = SPAN("More messages than replay.max_messages: ask for fewer with from.");
    else if (span_eq(reason, SPAN("expired")))
        why = SPAN("Messages were trimmed on the bus before they could be read.");
    else if (span_eq(reason, SPAN("epoch")))
        why = SPAN("The cursor is of another log, or beyond the end of this one.");
    else if (span_eq(reason, SPAN("bus")))
        why = SPAN("The connection to the bus was lost, and messages with it, maybe.");
    end(s, CLOSE_SERVER_ERROR, why);
}

void raw_subscribed(struct session *s, enum recovered recovered, const char *reason)
{
    if (recovered == RECOVERED_NO) lost(s, span_str(reason));
}

void raw_left(struct session *s, struct span reason)
{
    end(s, CLOSE_SERVER_ERROR, reason.n > 0 ? reason : SPAN("The bus has ended the subscription."));
}

/* ---- what comes out -------------------------------------------------------------------------- */

static struct slip *payload_slip(enum frame_opcode opcode, struct span payload)
{
    return slip_new(frame_new(opcode, payload));
}

static struct slip *text_slip(struct span value)
{
    struct slip *slip = NULL;
    struct buf text;

    buf_init(&text, BUF_UNLIMITED);
    if (json_unescape(value, &text) == 0) slip = payload_slip(FRAME_TEXT, buf_view(&text));
    buf_free(&text);
    return slip;
}

static struct slip *binary_slip(struct span value)
{
    struct slip *slip = NULL;
    struct span base64 = span_of(value.p + 1, value.n - 2);
    char *bytes = mem_alloc(base64.n / 4 * 3 + 1);
    int64_t n = base64_decode(bytes, base64);

    if (n >= 0) slip = payload_slip(FRAME_BINARY, span_of(bytes, (size_t)n));
    free(bytes);
    return slip;
}

/* The payload is the last member (protocol/message.h), as it came, also with white space around
 * it. Behind the data of a tombstone there is another member. */
static struct slip *read_payload(struct span frame)
{
    struct json_iter it = json_open(frame);
    struct span key, value, other, more;

    while (json_member(&it, &key, &value)) {
        if (span_eq(key, SPAN("text"))) return text_slip(value);
        if (span_eq(key, SPAN("binary"))) return binary_slip(value);
        if (!span_eq(key, SPAN("data"))) continue;
        if (json_member(&it, &other, &more)) return NULL;
        const char *begin = key.p + key.n + 2; /* behind the quote and the colon */
        return payload_slip(FRAME_TEXT, span_of(begin, (size_t)(frame.p + frame.n - 1 - begin)));
    }
    return NULL;
}

/* A frame of the hub: its type is the first member. */
static void read_frame(struct raw_form *form, struct span frame)
{
    struct json_iter it = json_open(frame);
    struct span key, type, value;

    form->kind = RAW_NOTHING;
    if (!json_member(&it, &key, &type)) return;
    if (span_eq(type, SPAN("\"message\""))) {
        form->slip = read_payload(frame);
        if (form->slip) form->kind = RAW_PAYLOAD;
    } else if (span_eq(type, SPAN("\"gap\""))) {
        form->kind = RAW_GAP;
        while (json_member(&it, &key, &value))
            if (span_eq(key, SPAN("reason"))) form->reason = span_of(value.p + 1, value.n - 2);
    }
}

static struct slip *in_binary(struct raw_form *form)
{
    if (!form->binary) form->binary = payload_slip(FRAME_BINARY, frame_payload(form->slip->frame));
    return form->binary;
}

void raw_push(struct session *s, struct raw_form *form, struct slip *slip,
              const struct raw_way *way)
{
    if (form->kind == RAW_UNREAD) read_frame(form, frame_payload(slip->frame));
    if (form->kind == RAW_PAYLOAD)
        session_push(s, s->raw->binary ? in_binary(form) : form->slip, way->kind, way->group);
    if (form->kind == RAW_GAP) lost(s, form->reason);
}

void raw_form_done(struct raw_form *form)
{
    if (form->slip) slip_unref(form->slip);
    if (form->binary) slip_unref(form->binary);
}
