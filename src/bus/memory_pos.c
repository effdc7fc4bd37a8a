#include "bus/memory_pos.h"

#include "base/span.h"

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* A number without leading zeros (0 itself is "0"); -1 if it is none or does not fit. */
static int parse_number(struct span s, unsigned base, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0 || (s.n > 1 && s.p[0] == '0')) return -1;
    for (size_t i = 0; i < s.n; i++) {
        const char *d = memchr(digits, s.p[i], base);
        if (!d || __builtin_mul_overflow(v, base, &v) ||
            __builtin_add_overflow(v, (uint64_t)(d - digits), &v))
            return -1;
    }
    *ret = v;
    return 0;
}

int memory_pos_parse(const char *text, size_t len, struct wsbus_pos *ret)
{
    const char *dash = len ? memchr(text, '-', len) : NULL;
    if (!dash) return -1;
    size_t n = (size_t)(dash - text);
    uint64_t epoch, id;
    if (parse_number(span_of(text, n), 36, &epoch) < 0 || epoch == 0) return -1;
    if (parse_number(span_of(dash + 1, len - n - 1), 10, &id) < 0) return -1;
    ret->epoch = epoch;
    ret->hi = 0;
    ret->lo = id;
    return 0;
}

static size_t put_number(char *buf, uint64_t v, unsigned base)
{
    char reverse[24];
    size_t n = 0;
    do
        reverse[n++] = digits[v % base];
    while ((v /= base) > 0);
    for (size_t i = 0; i < n; i++)
        buf[i] = reverse[n - 1 - i];
    return n;
}

size_t memory_pos_format(const struct wsbus_pos *pos, char *buf)
{
    size_t n = put_number(buf, pos->epoch, 36);
    buf[n++] = '-';
    return n + put_number(buf + n, pos->lo, 10);
}
