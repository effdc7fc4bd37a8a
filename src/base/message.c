#include <wsbus/backend.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static size_t message_size(const struct wsbus_message *m)
{
    size_t n = sizeof(*m) + m->header_count * sizeof(*m->headers);
    for (uint32_t i = 0; i < m->header_count; i++)
        n += (size_t)m->headers[i].name_len + m->headers[i].value_len;
    return n + (m->key ? m->key_len : 0) + (m->payload ? m->payload_len : 0);
}

/* Copies n bytes to *at and moves it on. */
static const char *put(char **at, const char *p, uint32_t n)
{
    char *copy = *at;
    if (n) memcpy(copy, p, n);
    *at += n;
    return copy;
}

struct wsbus_message *wsbus_message_new(const struct wsbus_message *from)
{
    size_t size = message_size(from);
    struct wsbus_message *m = mem_alloc(size);
    *m = *from;
    m->refs = 1;
    m->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    struct wsbus_header *headers = (struct wsbus_header *)(m + 1);
    char *at = (char *)(headers + from->header_count);
    for (uint32_t i = 0; i < from->header_count; i++) {
        headers[i] = from->headers[i];
        headers[i].name = put(&at, from->headers[i].name, from->headers[i].name_len);
        headers[i].value = put(&at, from->headers[i].value, from->headers[i].value_len);
    }
    m->headers = from->header_count ? headers : NULL;
    if (!m->key) m->key_len = 0;
    if (!m->payload) m->payload_len = 0;
    if (m->key) m->key = put(&at, from->key, m->key_len);
    if (m->payload) m->payload = put(&at, from->payload, m->payload_len);
    return m;
}

struct wsbus_message *wsbus_message_ref(struct wsbus_message *m)
{
    m->refs++;
    return m;
}

void wsbus_message_unref(struct wsbus_message *m)
{
    if (m && --m->refs == 0) free(m);
}
