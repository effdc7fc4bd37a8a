#include "protocol/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/channel.h"

#define ID_MAX 64
#define INTEGER_MAX INT64_C(9007199254740991)
#define INTERVAL_MAX 60000
#define SCRATCH_KEEP 4096
#define HEADERS_KEEP 64

/* The fields of the protocol, whatever frame they belong to. */
enum field {
    FIELD_TYPE,
    FIELD_ID,
    FIELD_CHANNEL,
    FIELD_FROM,
    FIELD_FILTER,
    FIELD_POLICY,
    FIELD_INTERVAL,
    FIELD_TOKEN,
    FIELD_DATA,
    FIELD_TEXT,
    FIELD_BINARY,
    FIELD_TOMBSTONE,
    FIELD_KEY,
    FIELD_HEADERS,
    FIELD_PARTITION,
    FIELD_UNTIL,
    FIELD_LIMIT,
    FIELD_COUNT,
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_TYPE] = "type",         [FIELD_ID] = "id",           [FIELD_CHANNEL] = "channel",
    [FIELD_FROM] = "from",         [FIELD_FILTER] = "filter",   [FIELD_POLICY] = "policy",
    [FIELD_INTERVAL] = "interval", [FIELD_TOKEN] = "token",     [FIELD_DATA] = "data",
    [FIELD_TEXT] = "text",         [FIELD_BINARY] = "binary",   [FIELD_TOMBSTONE] = "tombstone",
    [FIELD_KEY] = "key",           [FIELD_HEADERS] = "headers", [FIELD_PARTITION] = "partition",
    [FIELD_UNTIL] = "until",       [FIELD_LIMIT] = "limit",
};

enum from_member { MEMBER_AFTER, MEMBER_TIME, MEMBER_AGO, MEMBER_LAST, MEMBER_COUNT };

static const char *const member_names[MEMBER_COUNT] = {"after", "time", "ago", "last"};

static const enum from_kind member_kinds[MEMBER_COUNT] = {FROM_AFTER, FROM_TIME, FROM_AGO,
                                                          FROM_LAST};

/* One frame on its way through the parser. A field that is absent has p NULL; so has one that is
 * null, except for data. */
struct parse {
    struct request_parser *parser;
    struct span text;
    struct span field[FIELD_COUNT];
    int twice; /* the first field that was given twice, or -1 */
    struct request r;
    struct request_error *err;
};

static int fail(struct parse *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct parse *f, const char *fmt, ...)
{
    va_list ap;
    f->err->code = ERR_BAD_REQUEST;
    va_start(ap, fmt);
    vsnprintf(f->err->message, sizeof(f->err->message), fmt, ap);
    va_end(ap);
    return -1;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool has(const struct parse *f, enum field field)
{
    return f->field[field].p != NULL;
}

/* The text of a JSON string: in the frame itself where nothing is escaped, else in the scratch
 * memory. False for a lone surrogate. */
static bool decode(struct parse *f, struct span value, struct span *ret)
{
    struct span inside = {value.p + 1, value.n - 2};
    if (inside.n == 0 || memchr(inside.p, '\\', inside.n) == NULL) {
        *ret = inside;
        return true;
    }
    /* All that is decoded from one frame fits into its length, so that nothing moves later. */
    struct buf *b = &f->parser->text;
    if (b->n == 0) buf_reserve(b, f->text.n);
    size_t before = b->n;
    if (json_unescape(value, b) != 0) return false;
    *ret = (struct span){b->p + before, b->n - before};
    return true;
}

static int read_string(struct parse *f, enum field field, struct span *ret)
{
    if (json_kind(f->field[field]) != JSON_STRING)
        return fail(f, "The field \"%s\" must be a string.", field_names[field]);
    if (!decode(f, f->field[field], ret))
        return fail(f, "The field \"%s\" has an escape of a lone surrogate.", field_names[field]);
    return 0;
}

static bool in_range(struct span value, int64_t min, int64_t max, int64_t *ret)
{
    int64_t v;
    if (json_kind(value) != JSON_NUMBER || json_integer(value, &v) != 0) return false;
    if (v < min || v > max) return false;
    *ret = v;
    return true;
}

/* The default stays where the field is absent. */
static int read_integer(struct parse *f, enum field field, int64_t min, int64_t max, int64_t *ret)
{
    if (!has(f, field) || in_range(f->field[field], min, max, ret)) return 0;
    return fail(f, "The field \"%s\" must be an integer from %lld to %lld.", field_names[field],
                (long long)min, (long long)max);
}

static int need_kind(struct parse *f, enum field field, enum json_kind kind, const char *what)
{
    if (!has(f, field) || json_kind(f->field[field]) == kind) return 0;
    return fail(f, "The field \"%s\" must be %s.", field_names[field], what);
}

/* ---- fields of every frame ------------------------------------------------------------------ */

static int name_index(struct span key, const char *const *names, int count)
{
    bool escaped = key.n > 0 && memchr(key.p, '\\', key.n) != NULL;
    for (int i = 0; i < count; i++) {
        if (!escaped && (key.n == 0 || key.p[0] != names[i][0])) continue;
        if (escaped ? json_key_is(key, names[i]) : span_eq(key, span_str(names[i]))) return i;
    }
    return -1;
}

static void collect_fields(struct parse *f)
{
    bool seen[FIELD_COUNT] = {false};
    bool id_twice = false, channel_twice = false;
    struct span key, value;
    struct json_iter it = json_open(f->text);
    while (json_member(&it, &key, &value)) {
        int i = name_index(key, field_names, FIELD_COUNT);
        if (i < 0) continue;
        if (seen[i] && f->twice < 0) f->twice = i;
        id_twice |= seen[i] && i == FIELD_ID;
        channel_twice |= seen[i] && i == FIELD_CHANNEL;
        seen[i] = true;
        if (json_kind(value) != JSON_NULL || i == FIELD_DATA) f->field[i] = value;
    }
    /* Of two ids neither can be trusted to be the one that the client waits for. */
    if (id_twice) f->field[FIELD_ID] = (struct span){NULL, 0};
    if (channel_twice) f->field[FIELD_CHANNEL] = (struct span){NULL, 0};
}

static bool id_valid(struct parse *f, struct span id)
{
    int64_t number;
    struct span text;
    if (json_kind(id) != JSON_STRING) return in_range(id, -INTEGER_MAX, INTEGER_MAX, &number);
    return decode(f, id, &text) && text.n <= ID_MAX;
}

/* What every error wants to carry, before anything else is looked at. A wrong id and a wrong
 * channel are complained about later, in the order of read_request(). */
static void read_address(struct parse *f)
{
    struct span channel = f->field[FIELD_CHANNEL];
    if (has(f, FIELD_ID) && id_valid(f, f->field[FIELD_ID])) f->r.id = f->field[FIELD_ID];
    if (has(f, FIELD_CHANNEL) && json_kind(channel) == JSON_STRING &&
        decode(f, channel, &channel) && channel_valid(channel))
        f->r.channel = channel;
    f->err->id = f->r.id;
    f->err->channel = f->r.channel;
}

static int need_channel(struct parse *f)
{
    if (!has(f, FIELD_CHANNEL)) return fail(f, "The field \"channel\" is missing.");
    if (json_kind(f->field[FIELD_CHANNEL]) != JSON_STRING)
        return fail(f, "The field \"channel\" must be a string.");
    if (f->r.channel.p == NULL)
        return fail(f, "The field \"channel\" is no valid channel name (1 to 255 bytes, no white "
                       "space, no control characters, no '*', '{', '}', no empty segment).");
    return 0;
}

/* ---- from ----------------------------------------------------------------------------------- */

static int read_from_word(struct parse *f)
{
    struct span word;
    if (read_string(f, FIELD_FROM, &word) != 0) return -1;
    if (span_eq(word, SPAN("now")))
        f->r.from.kind = FROM_NOW;
    else if (span_eq(word, SPAN("earliest")))
        f->r.from.kind = FROM_EARLIEST;
    else if (span_eq(word, SPAN("snapshot")))
        f->r.from.kind = FROM_SNAPSHOT;
    else
        return fail(f, "The field \"from\" must be \"now\", \"earliest\", \"snapshot\" or an "
                       "object.");
    return 0;
}

static int read_from_member(struct parse *f, int member, struct span value)
{
    f->r.from.kind = member_kinds[member];
    if (member == MEMBER_AFTER) {
        if (json_kind(value) != JSON_ARRAY)
            return fail(f, "The member \"after\" of \"from\" must be a cursor, an array of "
                           "strings.");
        f->r.from.cursor = value;
        return 0;
    }
    if (in_range(value, 0, INTEGER_MAX, &f->r.from.number)) return 0;
    return fail(f, "The member \"%s\" of \"from\" must be an integer from 0 to %lld.",
                member_names[member], (long long)INTEGER_MAX);
}

static int read_from_object(struct parse *f)
{
    bool seen[MEMBER_COUNT] = {false};
    int chosen = -1;
    struct span chosen_value = {NULL, 0}, key, value;
    struct json_iter it = json_open(f->field[FIELD_FROM]);
    while (json_member(&it, &key, &value)) {
        int i = name_index(key, member_names, MEMBER_COUNT);
        if (i < 0) continue;
        if (seen[i])
            return fail(f, "The member \"%s\" of \"from\" is given twice.", member_names[i]);
        seen[i] = true;
        if (json_kind(value) == JSON_NULL) continue;
        if (chosen >= 0)
            return fail(f, "The field \"from\" has both \"%s\" and \"%s\".", member_names[chosen],
                        member_names[i]);
        chosen = i;
        chosen_value = value;
    }
    if (chosen < 0)
        return fail(f, "The field \"from\" needs one of \"after\", \"time\", \"ago\", \"last\".");
    return read_from_member(f, chosen, chosen_value);
}

static int read_from(struct parse *f)
{
    if (!has(f, FIELD_FROM)) return 0;
    if (json_kind(f->field[FIELD_FROM]) == JSON_OBJECT) return read_from_object(f);
    if (json_kind(f->field[FIELD_FROM]) == JSON_STRING) return read_from_word(f);
    return fail(f, "The field \"from\" must be a string or an object.");
}

static int read_filter(struct parse *f)
{
    f->r.has_filter = has(f, FIELD_FILTER);
    return need_kind(f, FIELD_FILTER, JSON_OBJECT, "an object");
}

/* ---- headers -------------------------------------------------------------------------------- */

/* The array holds twice `header_size`: the second half is for sorting. */
static struct wsbus_header *header_room(struct request_parser *p, uint32_t count)
{
    if (count == p->header_size) {
        p->header_size = count > 0 ? count * 2 : 8;
        p->headers = mem_grow(p->headers, 2 * sizeof(p->headers[0]) * p->header_size);
    }
    return &p->headers[count];
}

static int by_name(const void *a, const void *b)
{
    const struct wsbus_header *x = a, *y = b;
    if (x->name_len != y->name_len) return x->name_len < y->name_len ? -1 : 1;
    return x->name_len > 0 ? memcmp(x->name, y->name, x->name_len) : 0;
}

/* Sorted and not each against each: a frame has room for many thousands. */
static bool header_twice(const struct request_parser *p, uint32_t count)
{
    struct wsbus_header *sorted = p->headers + p->header_size;
    if (count < 2) return false;
    memcpy(sorted, p->headers, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), by_name);
    for (uint32_t i = 1; i < count; i++)
        if (by_name(&sorted[i - 1], &sorted[i]) == 0) return true;
    return false;
}

static int read_headers(struct parse *f)
{
    if (!has(f, FIELD_HEADERS)) return 0;
    if (need_kind(f, FIELD_HEADERS, JSON_OBJECT, "an object of strings") != 0) return -1;
    uint32_t count = 0;
    struct span key, value, name, text;
    struct json_iter it = json_open(f->field[FIELD_HEADERS]);
    while (json_member(&it, &key, &value)) {
        if (json_kind(value) != JSON_STRING)
            return fail(f, "The field \"headers\" must be an object of strings.");
        if (!decode(f, (struct span){key.p - 1, key.n + 2}, &name) || !decode(f, value, &text))
            return fail(f, "The field \"headers\" has an escape of a lone surrogate.");
        *header_room(f->parser, count) = (struct wsbus_header){
            name.p,
            text.p,
            (uint32_t)name.n,
            (uint32_t)text.n,
        };
        count++;
    }
    if (header_twice(f->parser, count)) return fail(f, "The field \"headers\" has a name twice.");
    f->r.headers = f->parser->headers;
    f->r.header_count = count;
    return 0;
}

/* ---- frames --------------------------------------------------------------------------------- */

static int read_binary(struct parse *f)
{
    struct span text;
    struct buf *b = &f->parser->text;
    size_t before = b->n; /* where the text is too, if it had to be unescaped */
    if (read_string(f, FIELD_BINARY, &text) != 0) return -1;
    if (b->n == 0) buf_reserve(b, f->text.n);
    int64_t n = base64_decode(b->p + before, text);
    if (n < 0) return fail(f, "The field \"binary\" is not exact base64.");
    b->n = before + (size_t)n;
    f->r.payload = (struct span){b->p + before, (size_t)n};
    return 0;
}

static int read_payload(struct parse *f)
{
    struct span tombstone = f->field[FIELD_TOMBSTONE];
    if (has(f, FIELD_TOMBSTONE) && json_kind(tombstone) != JSON_TRUE &&
        json_kind(tombstone) != JSON_FALSE)
        return fail(f, "The field \"tombstone\" must be true or false.");
    bool dead = has(f, FIELD_TOMBSTONE) && json_kind(tombstone) == JSON_TRUE;
    bool data = has(f, FIELD_DATA);
    /* "data":null,"tombstone":true is how the server itself writes one. */
    if (dead && data && json_kind(f->field[FIELD_DATA]) == JSON_NULL) data = false;
    int forms = data + has(f, FIELD_TEXT) + has(f, FIELD_BINARY) + dead;
    if (forms != 1)
        return fail(f, "A publish needs exactly one of \"data\", \"text\", \"binary\" and "
                       "\"tombstone\":true.");
    if (data) f->r.payload = f->field[FIELD_DATA];
    if (has(f, FIELD_TEXT)) return read_string(f, FIELD_TEXT, &f->r.payload);
    if (has(f, FIELD_BINARY)) return read_binary(f);
    return 0;
}

static int read_auth(struct parse *f)
{
    if (!has(f, FIELD_TOKEN)) return fail(f, "The field \"token\" is missing.");
    return read_string(f, FIELD_TOKEN, &f->r.token);
}

static int read_subscribe(struct parse *f)
{
    if (need_channel(f) != 0 || read_from(f) != 0 || read_filter(f) != 0) return -1;
    if (has(f, FIELD_POLICY)) {
        if (read_string(f, FIELD_POLICY, &f->r.policy) != 0) return -1;
        if (!span_eq(f->r.policy, SPAN("disconnect")) && !span_eq(f->r.policy, SPAN("drop")) &&
            !span_eq(f->r.policy, SPAN("conflate")))
            return fail(f, "The field \"policy\" must be \"disconnect\", \"drop\" or "
                           "\"conflate\".");
    }
    f->r.has_interval = has(f, FIELD_INTERVAL);
    return read_integer(f, FIELD_INTERVAL, 0, INTERVAL_MAX, &f->r.interval);
}

static int read_unsubscribe(struct parse *f)
{
    return need_channel(f);
}

static int read_publish(struct parse *f)
{
    int64_t partition = -1;
    if (need_channel(f) != 0 || read_payload(f) != 0) return -1;
    if (has(f, FIELD_KEY) && read_string(f, FIELD_KEY, &f->r.key) != 0) return -1;
    if (read_headers(f) != 0) return -1;
    if (read_integer(f, FIELD_PARTITION, 0, INT32_MAX, &partition) != 0) return -1;
    f->r.partition = (int32_t)partition;
    return 0;
}

static int read_history(struct parse *f)
{
    if (f->r.id.p == NULL) return fail(f, "A history needs the field \"id\".");
    if (need_channel(f) != 0 || read_from(f) != 0 || read_filter(f) != 0) return -1;
    if (need_kind(f, FIELD_UNTIL, JSON_ARRAY, "a cursor, an array of strings") != 0) return -1;
    f->r.until = f->field[FIELD_UNTIL];
    return read_integer(f, FIELD_LIMIT, 1, INTEGER_MAX, &f->r.limit);
}

static int read_ping(struct parse *f)
{
    (void)f;
    return 0;
}

static const struct {
    const char *name;
    enum request_type type;
    int (*read)(struct parse *f);
} types[] = {
    {"publish", REQUEST_PUBLISH, read_publish},
    {"subscribe", REQUEST_SUBSCRIBE, read_subscribe},
    {"unsubscribe", REQUEST_UNSUBSCRIBE, read_unsubscribe},
    {"history", REQUEST_HISTORY, read_history},
    {"ping", REQUEST_PING, read_ping},
    {"auth", REQUEST_AUTH, read_auth},
};

static int read_typed(struct parse *f)
{
    struct span name;
    if (!has(f, FIELD_TYPE)) return fail(f, "The field \"type\" is missing.");
    if (read_string(f, FIELD_TYPE, &name) != 0) return -1;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (!span_eq(name, span_str(types[i].name))) continue;
        f->r.type = types[i].type;
        return types[i].read(f);
    }
    fail(f, "%s", error_default(ERR_UNKNOWN_TYPE));
    f->err->code = ERR_UNKNOWN_TYPE;
    return -1;
}

static int read_request(struct parse *f)
{
    size_t where;
    const char *why;
    if (f->text.n > INT32_MAX) return fail(f, "The frame is larger than 2 GiB.");
    if (json_check(f->text, &where, &why) != 0)
        return fail(f, "The frame is no valid JSON: %s at byte %zu.", why, where);
    if (json_kind(f->text) != JSON_OBJECT) return fail(f, "A frame must be a JSON object.");
    collect_fields(f);
    read_address(f);
    if (f->twice >= 0) return fail(f, "The field \"%s\" is given twice.", field_names[f->twice]);
    if (has(f, FIELD_ID) && f->r.id.p == NULL)
        return fail(f, "The field \"id\" must be a string of at most 64 bytes or an integer "
                       "within 2^53-1.");
    return read_typed(f);
}

/* ---- the parser ----------------------------------------------------------------------------- */

void request_parser_init(struct request_parser *p)
{
    *p = (struct request_parser){0};
    buf_init(&p->text, BUF_UNLIMITED);
}

void request_parser_free(struct request_parser *p)
{
    buf_free(&p->text);
    free(p->headers);
    request_parser_init(p);
}

void request_parser_shrink(struct request_parser *p)
{
    buf_shrink(&p->text, SCRATCH_KEEP);
    if (p->header_size <= HEADERS_KEEP) return;
    free(p->headers);
    p->headers = NULL;
    p->header_size = 0;
}

int request_parse(struct request_parser *p, struct span text, struct request *ret,
                  struct request_error *err)
{
    struct parse f = {.parser = p, .text = text, .twice = -1, .err = err};
    f.r.partition = -1;
    err->code = ERR_NONE;
    err->message[0] = '\0';
    err->id = err->channel = (struct span){NULL, 0};
    buf_clear(&p->text);
    if (read_request(&f) != 0) return -1;
    *ret = f.r;
    return 0;
}
