/* Frames from the client, text to struct. Pure: no I/O, no clock; fuzzed.
 *
 * Section 1 and 3 of docs/protocol.md. Spans of the result point into the text or into the
 * parser's scratch memory: they live until the next request_parse() with the same parser, and
 * the text must outlive them. */
#ifndef PROTOCOL_REQUEST_H
#define PROTOCOL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/span.h"
#include "protocol/codes.h"

enum request_type {
    REQUEST_UNKNOWN,
    REQUEST_AUTH,
    REQUEST_SUBSCRIBE,
    REQUEST_UNSUBSCRIBE,
    REQUEST_PUBLISH,
    REQUEST_HISTORY,
    REQUEST_PING,
};

enum from_kind {
    FROM_ABSENT, /* subscribe: now; history: earliest */
    FROM_NOW,
    FROM_EARLIEST,
    FROM_AFTER,
    FROM_TIME,
    FROM_AGO,
    FROM_LAST,
    FROM_SNAPSHOT,
};

struct from {
    enum from_kind kind;
    int64_t number;     /* time, ago, last */
    struct span cursor; /* after: the JSON array, for cursor_parse() */
};

struct request {
    enum request_type type;
    struct span id;      /* as it stands in the frame, with quotes if a string; p NULL: none */
    struct span channel; /* decoded and valid; p NULL: none */
    struct from from;
    bool has_filter;
    struct span policy; /* decoded; p NULL: none */
    bool has_interval;
    int64_t interval;
    struct span token; /* auth */

    struct span payload;                /* publish; decoded; p NULL: tombstone */
    struct span key;                    /* p NULL: none (empty key: p set, n 0) */
    const struct wsbus_header *headers; /* in the parser's memory */
    uint32_t header_count;
    int32_t partition; /* -1: none */

    struct span until; /* history: the JSON array; p NULL: none */
    int64_t limit;     /* history: 0: none given */
};

/* What is wrong with a frame. `id` and `channel` are filled as far as they could be read. */
struct request_error {
    enum error_code code;
    char message[160];
    struct span id;
    struct span channel;
};

struct request_parser {
    struct buf text; /* decoded strings */
    struct wsbus_header *headers;
    uint32_t header_size;
};

void request_parser_init(struct request_parser *p);
void request_parser_free(struct request_parser *p);
void request_parser_shrink(struct request_parser *p); /* gives large memory back */

/* 0, or -1 with *err filled. `text` must be valid UTF-8 or it is refused as bad_request like any
 * other text that is no JSON. A frame of an unknown type is an error too (unknown_type). */
int request_parse(struct request_parser *p, struct span text, struct request *ret,
                  struct request_error *err);

#endif
