/* Frames to the client, struct to text (section 4 of docs/protocol.md). Pure: each appends one
 * JSON object to a buffer. `id` is the raw JSON of the request's id; p NULL leaves it out. Cursors
 * are JSON text that cursor_write() made. Message frames: protocol/message.h. */
#ifndef PROTOCOL_REPLY_H
#define PROTOCOL_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "protocol/codes.h"

struct reply_welcome {
    const char *session;
    uint64_t ping_ms;
    const char *auth; /* "ok", "anonymous", "required" */
    uint64_t message_bytes, frame_bytes, subscriptions, history;
};
void reply_welcome(struct buf *out, const struct reply_welcome *w);

enum recovered { RECOVERED_ABSENT, RECOVERED_YES, RECOVERED_NO };
struct reply_subscribed {
    struct span id, channel, cursor;
    enum recovered recovered;
    const char *reason; /* with RECOVERED_NO; NULL: left out */
};
void reply_subscribed(struct buf *out, const struct reply_subscribed *r);

void reply_unsubscribed(struct buf *out, struct span id, struct span channel, const char *reason);
void reply_live(struct buf *out, struct span channel, struct span cursor);
void reply_position(struct buf *out, struct span channel, struct span cursor);
/* The cursor in the text of such a `position` frame; p NULL: it is another. */
struct span reply_position_cursor(struct span frame, struct span channel);

struct reply_gap {
    struct span channel;
    const char *reason;       /* slow, bus, expired, limit */
    struct span after, until; /* p NULL: left out */
    int64_t lost;             /* -1: not known, left out */
};
void reply_gap(struct buf *out, const struct reply_gap *g);

/* pos: JSON text of a position (with quotes), or p NULL: then `receivers`. */
void reply_published(struct buf *out, struct span id, struct span pos, int64_t receivers);
/* body: the members after `channel`, without braces, as reply_history_body() made it. */
void reply_history(struct buf *out, struct span id, struct span channel, struct span body);
struct reply_history {
    struct span messages; /* message frames separated by commas, may be empty */
    struct span cursor, before;
    bool more;
    enum recovered recovered;
    const char *reason;
};
void reply_history_body(struct buf *out, const struct reply_history *h);
void reply_pong(struct buf *out, struct span id);
void reply_goaway(struct buf *out, const char *reason, uint64_t retry_after_ms);

struct reply_error {
    struct span id, channel;
    enum error_code code;
    struct span message;  /* p NULL: error_default() */
    uint64_t retry_after; /* ms; 0: left out */
    const char *limit;    /* the option, with ERR_LIMIT and ERR_RATE_LIMITED; NULL: left out */
};
void reply_error(struct buf *out, const struct reply_error *e);

#endif
