#include "protocol/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/cursor.h"

#define HEADERS_FEW 16

static const struct span message_start = {"{\"type\":\"message\"", 17};

static struct span header_name(const struct wsbus_header *h)
{
    return (struct span){h->name, h->name_len};
}

static struct span header_value(const struct wsbus_header *h)
{
    return (struct span){h->value, h->value_len};
}

static void write_binary(struct buf *out, struct span bytes)
{
    buf_byte(out, '"');
    buf_base64(out, bytes);
    buf_byte(out, '"');
}

static void write_header(struct buf *out, const struct wsbus_header *h, bool *first)
{
    if (!utf8_valid(header_name(h))) return;
    if (!*first) buf_byte(out, ',');
    *first = false;
    buf_json(out, header_name(h));
    buf_byte(out, ':');
    if (utf8_valid(header_value(h))) {
        buf_json(out, header_value(h));
        return;
    }
    buf_span(out, SPAN("{\"binary\":"));
    write_binary(out, header_value(h));
    buf_byte(out, '}');
}

static bool named_again(const struct wsbus_message *m, uint32_t at)
{
    for (uint32_t i = at + 1; i < m->header_count; i++)
        if (span_eq(header_name(&m->headers[i]), header_name(&m->headers[at]))) return true;
    return false;
}

/* By name, those of one name in the order of the message. */
static int by_name(const void *a, const void *b)
{
    const struct wsbus_header *x = *(const struct wsbus_header *const *)a;
    const struct wsbus_header *y = *(const struct wsbus_header *const *)b;
    uint32_t shorter = x->name_len < y->name_len ? x->name_len : y->name_len;
    int order = shorter > 0 ? memcmp(x->name, y->name, shorter) : 0;
    if (order != 0) return order;
    if (x->name_len != y->name_len) return x->name_len < y->name_len ? -1 : 1;
    return (x > y) - (x < y);
}

/* A message with thousands of headers must not cost their square. */
static void write_many(struct buf *out, const struct wsbus_message *m)
{
    uint32_t count = m->header_count;
    const struct wsbus_header **sorted = mem_alloc(count * sizeof(*sorted));
    bool first = true;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &m->headers[i];
    qsort(sorted, count, sizeof(*sorted), by_name);
    for (uint32_t i = 0; i < count; i++)
        if (i + 1 == count || !span_eq(header_name(sorted[i]), header_name(sorted[i + 1])))
            write_header(out, sorted[i], &first);
    free(sorted);
}

static void write_headers(struct buf *out, const struct wsbus_message *m)
{
    bool first = true;
    buf_span(out, SPAN(",\"headers\":{"));
    if (m->header_count > HEADERS_FEW) {
        write_many(out, m);
    } else {
        for (uint32_t i = 0; i < m->header_count; i++)
            if (!named_again(m, i)) write_header(out, &m->headers[i], &first);
    }
    buf_byte(out, '}');
}

static void write_key(struct buf *out, struct span key)
{
    if (utf8_valid(key)) {
        buf_span(out, SPAN(",\"key\":"));
        buf_json(out, key);
    } else {
        buf_span(out, SPAN(",\"key_binary\":"));
        write_binary(out, key);
    }
}

static void write_payload(struct buf *out, struct span payload)
{
    if (payload.p == NULL) {
        buf_span(out, SPAN(",\"data\":null,\"tombstone\":true}"));
        return;
    }
    if (json_valid(payload)) {
        buf_span(out, SPAN(",\"data\":"));
        buf_span(out, payload);
    } else if (utf8_valid(payload)) {
        buf_span(out, SPAN(",\"text\":"));
        buf_json(out, payload);
    } else {
        buf_span(out, SPAN(",\"binary\":"));
        write_binary(out, payload);
    }
    buf_byte(out, '}');
}

void message_open(struct buf *out, struct span channel)
{
    buf_span(out, message_start);
    buf_span(out, SPAN(",\"channel\":"));
    buf_json(out, channel);
}

bool message_is(struct span frame)
{
    return frame.n > message_start.n && memcmp(frame.p, message_start.p, message_start.n) == 0;
}

void message_write(struct buf *out, struct span channel, const struct wsbus_message *m,
                   const struct wsbus_backend *b, bool log)
{
    message_open(out, channel);
    if (log) {
        buf_span(out, SPAN(",\"pos\":"));
        pos_write(out, &m->pos, b);
    }
    buf_span(out, SPAN(",\"ts\":"));
    buf_i64(out, m->ts);
    if (m->key != NULL) write_key(out, (struct span){m->key, m->key_len});
    if (m->header_count > 0) write_headers(out, m);
    write_payload(out, (struct span){m->payload, m->payload_len});
}
