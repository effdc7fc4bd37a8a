#include "protocol/cursor.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/mem.h"

#define PARTITION_DIGITS 10
#define POS_TEXT_MAX (PARTITION_DIGITS + 1 + WSBUS_POS_TEXT_MAX)

static size_t cursor_size(size_t count)
{
    return sizeof(struct wsbus_cursor) + count * sizeof(struct wsbus_pos);
}

struct wsbus_cursor *cursor_new(uint32_t count)
{
    struct wsbus_cursor *c = mem_zero(cursor_size(count));
    c->count = count;
    for (uint32_t i = 0; i < count; i++)
        c->pos[i].partition = (int32_t)i;
    return c;
}

struct wsbus_cursor *cursor_copy(const struct wsbus_cursor *c)
{
    if (c == NULL) return NULL;
    struct wsbus_cursor *copy = mem_alloc(cursor_size(c->count));
    memcpy(copy, c, cursor_size(c->count));
    return copy;
}

void cursor_free(struct wsbus_cursor *c)
{
    free(c);
}

/* The index of the partition, or where it would have to stand. */
static uint32_t cursor_place(const struct wsbus_cursor *c, int32_t partition)
{
    uint32_t low = 0, high = c->count;
    /* Mostly all partitions are there, each at its own index. */
    if (partition >= 0 && (uint32_t)partition < high && c->pos[partition].partition == partition)
        return (uint32_t)partition;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->pos[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct wsbus_pos *cursor_get(const struct wsbus_cursor *c, int32_t partition)
{
    if (c == NULL) return NULL;
    uint32_t i = cursor_place(c, partition);
    return i < c->count && c->pos[i].partition == partition ? &c->pos[i] : NULL;
}

struct wsbus_pos *cursor_find(struct wsbus_cursor *c, int32_t partition)
{
    if (c == NULL) return NULL;
    uint32_t i = cursor_place(c, partition);
    return i < c->count && c->pos[i].partition == partition ? &c->pos[i] : NULL;
}

void cursor_put(struct wsbus_cursor **c, const struct wsbus_pos *pos)
{
    struct wsbus_pos put = *pos; /* may point into the cursor that is about to move */
    struct wsbus_pos *known = cursor_find(*c, put.partition);
    if (known != NULL) {
        *known = put;
        return;
    }
    uint32_t count = *c != NULL ? (*c)->count : 0;
    struct wsbus_cursor *grown = mem_grow(*c, cursor_size((size_t)count + 1));
    grown->count = count;
    uint32_t i = cursor_place(grown, put.partition);
    memmove(&grown->pos[i + 1], &grown->pos[i], (count - i) * sizeof(grown->pos[0]));
    grown->pos[i] = put;
    grown->count = count + 1;
    *c = grown;
}

void cursor_advance(struct wsbus_cursor **c, const struct wsbus_pos *pos)
{
    const struct wsbus_pos *known = cursor_get(*c, pos->partition);
    if (known != NULL && pos_comparable(known, pos) && pos_compare(pos, known) <= 0) return;
    cursor_put(c, pos);
}

int pos_compare(const struct wsbus_pos *a, const struct wsbus_pos *b)
{
    if (a->hi != b->hi) return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo) return a->lo < b->lo ? -1 : 1;
    return 0;
}

bool pos_comparable(const struct wsbus_pos *a, const struct wsbus_pos *b)
{
    return a->epoch == b->epoch;
}

struct wsbus_pos pos_before(struct wsbus_pos pos)
{
    if (pos.lo == 0 && pos.hi == 0) return pos;
    if (pos.lo == 0) pos.hi--;
    pos.lo--;
    return pos;
}

/* ---- text ----------------------------------------------------------------------------------- */

static size_t write_partition(char *to, int32_t partition)
{
    char digits[PARTITION_DIGITS];
    uint32_t v = partition > 0 ? (uint32_t)partition : 0;
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    memcpy(to, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

void pos_write(struct buf *out, const struct wsbus_pos *pos, const struct wsbus_backend *b)
{
    char text[POS_TEXT_MAX];
    size_t n = write_partition(text, pos->partition);
    text[n++] = '/';
    n += b->pos_format(pos, text + n);
    buf_json(out, (struct span){text, n});
}

void cursor_write(struct buf *out, const struct wsbus_cursor *c, const struct wsbus_backend *b)
{
    if (c == NULL) {
        buf_span(out, SPAN("null"));
        return;
    }
    buf_byte(out, '[');
    for (uint32_t i = 0; i < c->count; i++) {
        if (i > 0) buf_byte(out, ',');
        pos_write(out, &c->pos[i], b);
    }
    buf_byte(out, ']');
}

/* The decimal number before the slash; the number of digits, 0 if there is none. */
static size_t read_partition(struct span s, int32_t *ret)
{
    int64_t v = 0;
    size_t n = 0;
    for (; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++) {
        v = v * 10 + (s.p[n] - '0');
        if (n == PARTITION_DIGITS || v > INT32_MAX) return 0;
    }
    if (n > 1 && s.p[0] == '0') return 0;
    *ret = (int32_t)v;
    return n;
}

int pos_read(struct span s, const struct wsbus_backend *b, struct wsbus_pos *ret)
{
    struct wsbus_pos pos = {0};
    size_t n = read_partition(s, &pos.partition);
    if (n == 0 || n == s.n || s.p[n] != '/') return -1;
    n++;
    int32_t partition = pos.partition;
    if (s.n == n || s.n - n >= WSBUS_POS_TEXT_MAX || b->pos_parse == NULL) return -1;
    if (b->pos_parse(s.p + n, s.n - n, &pos) != 0) return -1;
    pos.partition = partition;
    *ret = pos;
    return 0;
}

static int pos_unescape(struct span value, const struct wsbus_backend *b, struct buf *scratch,
                        struct wsbus_pos *ret)
{
    buf_clear(scratch);
    if (json_unescape(value, scratch) != 0 || scratch->failed) return -1;
    return pos_read(buf_view(scratch), b, ret);
}

static int by_partition(const void *a, const void *b)
{
    int32_t x = ((const struct wsbus_pos *)a)->partition;
    int32_t y = ((const struct wsbus_pos *)b)->partition;
    return (x > y) - (x < y);
}

/* Fills a cursor that has room for all that may come. NULL, or what is wrong. */
static const char *cursor_read(struct span json, const struct wsbus_backend *b,
                               struct wsbus_cursor *c)
{
    const char *wrong = NULL;
    struct buf scratch;
    struct span value;
    struct json_iter it = json_open(json);
    buf_init(&scratch, POS_TEXT_MAX);
    c->count = 0;
    while (wrong == NULL && json_element(&it, &value)) {
        if (json_kind(value) != JSON_STRING)
            wrong = "A cursor must be an array of strings.";
        else if (c->count == WSBUS_PARTITIONS_MAX)
            wrong = "A cursor has at most 1024 positions.";
        else if (pos_unescape(value, b, &scratch, &c->pos[c->count]) != 0)
            wrong = "A position of the cursor is broken.";
        else
            c->count++;
    }
    buf_free(&scratch);
    if (wrong != NULL) return wrong;
    qsort(c->pos, c->count, sizeof(c->pos[0]), by_partition);
    for (uint32_t i = 1; i < c->count; i++)
        if (c->pos[i].partition == c->pos[i - 1].partition)
            return "A cursor names a partition twice.";
    return NULL;
}

int cursor_parse(struct span json, const struct wsbus_backend *b, struct wsbus_cursor **ret,
                 const char **ret_why)
{
    const char *wrong = "A cursor must be an array of strings.";
    if (json_kind(json) == JSON_ARRAY) {
        struct wsbus_cursor *c = cursor_new(WSBUS_PARTITIONS_MAX);
        wrong = cursor_read(json, b, c);
        if (wrong == NULL) {
            *ret = mem_grow(c, cursor_size(c->count));
            return 0;
        }
        cursor_free(c);
    }
    *ret_why = wrong;
    return -1;
}
