#include "bus/redis_id.h"

#include <string.h>

#include "base/span.h"

/* A number without leading zeros; -1 if it is none or does not fit. */
static int parse_number(struct span s, uint64_t *ret)
{
    uint64_t v = 0;

    if (s.n == 0 || (s.n > 1 && s.p[0] == '0')) return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return -1;
        if (__builtin_mul_overflow(v, 10U, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return -1;
    }
    *ret = v;
    return 0;
}

int redis_pos_parse(const char *text, size_t len, struct wsbus_pos *ret)
{
    const char *dash = len ? memchr(text, '-', len) : NULL;
    uint64_t ms, sequence;

    if (!dash) return -1;
    if (parse_number(span_of(text, (size_t)(dash - text)), &ms) < 0) return -1;
    if (parse_number(span_of(dash + 1, len - (size_t)(dash + 1 - text)), &sequence) < 0) return -1;
    ret->epoch = 0;
    ret->hi = ms;
    ret->lo = sequence;
    return 0;
}

static size_t put_number(char *buf, uint64_t v)
{
    char reverse[20];
    size_t n = 0;

    do
        reverse[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        buf[i] = reverse[n - 1 - i];
    return n;
}

size_t redis_pos_format(const struct wsbus_pos *pos, char *buf)
{
    size_t n = put_number(buf, pos->hi);

    buf[n++] = '-';
    return n + put_number(buf + n, pos->lo);
}

const char *redis_id_text(const struct wsbus_pos *pos, char *buf)
{
    buf[redis_pos_format(pos, buf)] = '\0';
    return buf;
}

struct wsbus_pos redis_id_next(struct wsbus_pos pos)
{
    if (pos.lo == UINT64_MAX && pos.hi == UINT64_MAX) return pos;
    if (pos.lo++ == UINT64_MAX) pos.hi++;
    return pos;
}

struct wsbus_pos redis_id_at(int64_t ms)
{
    return (struct wsbus_pos){.hi = ms > 0 ? (uint64_t)ms : 0};
}
