/* Frames of clients, and the cursors in them. */
#include "fuzz.h"

#include "base/json_scan.h"
#include "base/text.h"
#include "bus/registry.h"
#include "protocol/channel.h"
#include "protocol/cursor.h"
#include "protocol/reply.h"
#include "protocol/request.h"

static void try_cursor(struct span json)
{
    for (const struct wsbus_backend *const *b = bus_registry; *b; b++) {
        struct wsbus_cursor *cursor = NULL, *again = NULL;
        const char *why = NULL;
        struct buf out;
        if (!(*b)->pos_parse) continue;
        if (cursor_parse(json, *b, &cursor, &why) != 0) {
            HOLDS(why && *why);
            continue;
        }
        buf_init(&out, BUF_UNLIMITED);
        cursor_write(&out, cursor, *b);
        HOLDS(cursor_parse(buf_view(&out), *b, &again, &why) == 0);
        HOLDS(again->count == cursor->count);
        for (uint32_t i = 0; i < again->count; i++)
            HOLDS(pos_compare(&again->pos[i], &cursor->pos[i]) == 0);
        cursor_free(again);
        cursor_free(cursor);
        buf_free(&out);
    }
}

/* A reply that repeats what the client said is JSON whatever that was. */
static void check_error(const struct request_error *err)
{
    struct reply_error e = {.id = err->id, .channel = err->channel, .code = err->code};
    struct buf out;
    e.message = span_str(err->message);
    buf_init(&out, BUF_UNLIMITED);
    reply_error(&out, &e);
    HOLDS(json_valid(buf_view(&out)));
    buf_free(&out);
}

static void check_request(const struct request *r)
{
    HOLDS(r->type != REQUEST_UNKNOWN);
    if (r->channel.p) HOLDS(channel_valid(r->channel) && utf8_valid(r->channel));
    if (r->id.p) HOLDS(r->id.n > 0 && json_valid(r->id));
    if (r->from.kind == FROM_AFTER) try_cursor(r->from.cursor);
    if (r->until.p) try_cursor(r->until);
    for (uint32_t i = 0; i < r->header_count; i++)
        HOLDS(r->headers[i].name && r->headers[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct request_parser parser;
    static bool ready;
    struct request_error err;
    struct request r;

    if (!ready) request_parser_init(&parser);
    ready = true;
    if (request_parse(&parser, span_of((const char *)data, size), &r, &err) == 0)
        check_request(&r);
    else
        check_error(&err);
    request_parser_shrink(&parser);
    return 0;
}
