#include "bus/redis_entry.h"

#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "bus/redis_id.h"

#define NONE UINT32_MAX

/* ---- from a reply ------------------------------------------------------------------------------- */

void entry_room_done(struct entry_room *room)
{
    free(room->fields);
    *room = (struct entry_room){0};
}

static bool is_text(const struct redisReply *r)
{
    return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

int entry_pos(const struct redisReply *r, struct wsbus_pos *ret)
{
    struct wsbus_pos pos = {0};

    if (r->type != REDIS_REPLY_ARRAY || r->elements < 1 || !is_text(r->element[0])) return -1;
    if (redis_pos_parse(r->element[0]->str, r->element[0]->len, &pos) < 0) return -1;
    *ret = pos;
    return 0;
}

static struct span *room_for(struct entry_room *room, size_t count)
{
    if (count > room->size) {
        room->size = count * 2;
        room->fields = mem_grow(room->fields, room->size * sizeof *room->fields);
    }
    return room->fields;
}

int entry_parse(const struct redisReply *r, struct entry_room *room, struct redis_entry *ret)
{
    const struct redisReply *list;
    struct redis_entry e = {0};
    struct span *fields;

    *ret = e;
    if (entry_pos(r, &ret->pos) < 0) return -1;
    e.pos = ret->pos;
    list = r->elements > 1 ? r->element[1] : NULL;
    if (!list || list->type != REDIS_REPLY_ARRAY || list->elements % 2) return -1;
    if (list->elements > ENTRY_BYTES_MAX / sizeof(struct wsbus_header)) return -1;
    fields = room_for(room, list->elements);
    for (size_t i = 0; i < list->elements; i++) {
        if (!is_text(list->element[i])) return -1;
        fields[i] = span_of(list->element[i]->str, list->element[i]->len);
        e.bytes += fields[i].n;
    }
    if (e.bytes > ENTRY_BYTES_MAX) return -1;
    e.count = (uint32_t)(list->elements / 2);
    e.fields = fields;
    *ret = e;
    return 0;
}

struct redis_entry *entry_copy(const struct redis_entry *e)
{
    size_t table = 2 * (size_t)e->count * sizeof(struct span);
    struct redis_entry *copy = mem_alloc(sizeof *copy + table + e->bytes);
    struct span *fields = (struct span *)(void *)(copy + 1);
    char *at = (char *)fields + table;

    *copy = *e;
    copy->fields = fields;
    for (size_t i = 0; i < 2 * (size_t)e->count; i++) {
        if (e->fields[i].n) memcpy(at, e->fields[i].p, e->fields[i].n);
        fields[i] = span_of(at, e->fields[i].n);
        at += e->fields[i].n;
    }
    return copy;
}

/* ---- a JSON object of all fields --------------------------------------------------------------- */

/* A field, to be sorted by name and then by its place. */
struct named {
    struct span name;
    uint32_t place;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    size_t shorter = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = shorter ? memcmp(x->name.p, y->name.p, shorter) : 0;

    if (order) return order;
    if (x->name.n != y->name.n) return x->name.n < y->name.n ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* For each field the next one with its name (NONE: there is none), and whether it is the first. */
struct chain {
    uint32_t next;
    bool first;
};

static struct chain *chain_names(const struct redis_entry *e)
{
    struct named *sorted = mem_alloc((e->count + 1) * sizeof *sorted);
    struct chain *chain = mem_alloc((e->count + 1) * sizeof *chain);

    for (uint32_t i = 0; i < e->count; i++)
        sorted[i] = (struct named){e->fields[2 * (size_t)i], i};
    qsort(sorted, e->count, sizeof *sorted, by_name);
    for (uint32_t i = 0; i < e->count; i++) {
        bool last = i + 1 == e->count || !span_eq(sorted[i].name, sorted[i + 1].name);
        chain[sorted[i].place].next = last ? NONE : sorted[i + 1].place;
        chain[sorted[i].place].first = i == 0 || !span_eq(sorted[i].name, sorted[i - 1].name);
    }
    free(sorted);
    return chain;
}

static void write_value(struct buf *out, struct span value)
{
    if (utf8_valid(value)) {
        buf_json(out, value);
        return;
    }
    buf_str(out, "{\"binary\":\"");
    buf_base64(out, value);
    buf_str(out, "\"}");
}

static void write_values(struct buf *out, const struct redis_entry *e, const struct chain *chain,
                         uint32_t first)
{
    if (chain[first].next == NONE) {
        write_value(out, e->fields[2 * (size_t)first + 1]);
        return;
    }
    for (uint32_t i = first; i != NONE; i = chain[i].next) {
        buf_byte(out, i == first ? '[' : ',');
        write_value(out, e->fields[2 * (size_t)i + 1]);
    }
    buf_byte(out, ']');
}

static void write_object(struct buf *out, const struct redis_entry *e)
{
    struct chain *chain = chain_names(e);
    bool some = false;

    buf_byte(out, '{');
    for (uint32_t i = 0; i < e->count; i++) {
        struct span name = e->fields[2 * (size_t)i];
        if (!chain[i].first || !utf8_valid(name)) continue;
        if (some) buf_byte(out, ',');
        some = true;
        buf_json(out, name);
        buf_byte(out, ':');
        write_values(out, e, chain, i);
    }
    buf_byte(out, '}');
    free(chain);
}

/* ---- the message -------------------------------------------------------------------------------- */

/* The place of the first field with this name, or NONE. */
static uint32_t find_field(const struct redis_entry *e, const char *name)
{
    struct span wanted = span_str(name);

    for (uint32_t i = 0; i < e->count; i++)
        if (span_eq(e->fields[2 * (size_t)i], wanted)) return i;
    return NONE;
}

struct span entry_key(const struct redis_entry *e, const struct redis_rule *rule)
{
    uint32_t key = find_field(e, rule->key);

    return key == NONE ? span_of(NULL, 0) : e->fields[2 * (size_t)key + 1];
}

/* An empty value is not NULL: that would be no key, or a tombstone. */
static const char *not_null(struct span s)
{
    return s.p ? s.p : "";
}

static uint32_t other_fields(const struct redis_entry *e, uint32_t payload, uint32_t key,
                             struct wsbus_header *ret)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < e->count; i++) {
        struct span name = e->fields[2 * (size_t)i], value = e->fields[2 * (size_t)i + 1];
        if (i == payload || i == key) continue;
        ret[n++] = (struct wsbus_header){.name = not_null(name),
                                         .value = not_null(value),
                                         .name_len = (uint32_t)name.n,
                                         .value_len = (uint32_t)value.n};
    }
    return n;
}

static int64_t time_of(const struct wsbus_pos *pos)
{
    return pos->hi > INT64_MAX ? INT64_MAX : (int64_t)pos->hi;
}

struct wsbus_message *entry_message(const struct redis_entry *e, const struct redis_rule *rule)
{
    uint32_t payload = find_field(e, rule->payload), key = find_field(e, rule->key);
    struct wsbus_message from = {.pos = e->pos, .ts = time_of(&e->pos)}, *m;
    struct wsbus_header few[8], *headers = few;
    struct buf object;

    buf_init(&object, BUF_UNLIMITED);
    if (key != NONE) {
        struct span value = e->fields[2 * (size_t)key + 1];
        from.key = not_null(value);
        from.key_len = (uint32_t)value.n;
    }
    if (payload != NONE) {
        struct span value = e->fields[2 * (size_t)payload + 1];
        from.payload = not_null(value);
        from.payload_len = (uint32_t)value.n;
        if (e->count > sizeof few / sizeof few[0]) headers = mem_alloc(e->count * sizeof *headers);
        from.header_count = other_fields(e, payload, key, headers);
        from.headers = headers;
    } else {
        write_object(&object, e);
        from.payload = object.p;
        from.payload_len = (uint32_t)object.n;
    }
    m = wsbus_message_new(&from);
    if (headers != few) free(headers);
    buf_free(&object);
    return m;
}
