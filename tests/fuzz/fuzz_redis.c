/* What a Redis answers (its reader is the library's): entries of streams, and what XINFO says. The
 * reply is made of the input: a byte for the kind, one for the size, then what it says. */
#include "fuzz.h"

#include <hiredis/hiredis.h>

#include "base/json_scan.h"
#include "bus/redis_entry.h"
#include "bus/redis_info.h"
#include "protocol/message.h"

struct input {
    const uint8_t *p;
    size_t n;
};

static unsigned byte(struct input *in)
{
    if (in->n == 0) return 0;
    in->n--;
    return *in->p++;
}

static redisReply *make(struct input *in, unsigned depth)
{
    static const int kinds[] = {REDIS_REPLY_ARRAY,   REDIS_REPLY_STRING, REDIS_REPLY_STRING,
                                REDIS_REPLY_INTEGER, REDIS_REPLY_NIL,    REDIS_REPLY_ERROR,
                                REDIS_REPLY_STATUS,  REDIS_REPLY_ARRAY};
    redisReply *r = calloc(1, sizeof *r);
    HOLDS(r);
    r->type = kinds[byte(in) % 8];
    unsigned size = byte(in);
    if (r->type == REDIS_REPLY_ARRAY) {
        r->elements = depth < 6 ? size % 24 : 0;
        r->element = calloc(r->elements + 1, sizeof(redisReply *));
        HOLDS(r->element);
        for (size_t i = 0; i < r->elements; i++)
            r->element[i] = make(in, depth + 1);
    } else if (r->type == REDIS_REPLY_INTEGER) {
        r->integer = (long long)size - 3;
    } else if (r->type != REDIS_REPLY_NIL) {
        size_t n = size < in->n ? size : in->n;
        r->str = fuzz_text(in->p, n);
        r->len = n;
        in->p += n;
        in->n -= n;
    }
    return r;
}

static void drop(redisReply *r)
{
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements; i++)
        drop(r->element[i]);
    free(r->element);
    free(r->str);
    free(r);
}

static void try_entry(const redisReply *r, const struct redis_rule *rule)
{
    static struct entry_room room;
    struct redis_entry e;
    struct buf out;

    if (entry_parse(r, &room, &e) != 0) return;
    struct redis_entry *copy = entry_copy(&e);
    struct wsbus_message *m = entry_message(copy, rule);
    HOLDS(m && m->refs == 1 && m->ts >= 0);
    struct span key = entry_key(copy, rule);
    HOLDS((key.p != NULL) == (m->key != NULL) && (!key.p || key.n == m->key_len));
    buf_init(&out, BUF_UNLIMITED);
    message_write(&out, SPAN("channel"), m, NULL, false);
    HOLDS(json_valid(buf_view(&out)));
    buf_free(&out);
    wsbus_message_unref(m);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    redisReply *r = make(&in, 0);
    struct redis_rule rule = {.stream = true, .payload = "data", .key = "key"};
    struct redis_info info;
    struct wsbus_pos pos;

    (void)entry_pos(r, &pos);
    try_entry(r, &rule);
    if (info_parse(r, &info) == 0 && info.exists) {
        pos = info_floor(&info);
        (void)info_lost(&info, &pos);
        (void)info_end(&info);
    }
    drop(r);
    return 0;
}
