#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/plain.h"
#include "base/text.h"

#define BUF_FIRST 256

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (b->size > keep) buf_free(b);
    buf_clear(b);
}

/* Doubles, so that appending stays linear; the last step is cut to the cap. */
static void buf_enlarge(struct buf *b, size_t need)
{
    size_t size = b->size > 0 ? b->size : BUF_FIRST;
    while (size < need)
        size = size > SIZE_MAX / 2 ? need : size * 2;
    if (size > b->max) size = b->max;
    b->p = mem_grow(b->p, size);
    b->size = size;
}

/* Is there memory for these bytes, at least one, without a look at the cap? */
static bool buf_fits(const struct buf *b, size_t n)
{
    return n <= b->size - b->n && !b->failed;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->n) {
        b->failed = true;
        return NULL;
    }
    if (n > b->size - b->n || b->p == NULL) buf_enlarge(b, b->n + n);
    return b->p + b->n;
}

void buf_added(struct buf *b, size_t n)
{
    b->n += n;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0) return;
    char *to = buf_fits(b, n) ? b->p + b->n : buf_reserve(b, n);
    if (to == NULL) return;
    memcpy(to, p, n);
    b->n += n;
}

void buf_span(struct buf *b, struct span s)
{
    buf_append(b, s.p, s.n);
}

void buf_str(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_byte(struct buf *b, char c)
{
    char *to = buf_fits(b, 1) ? b->p + b->n : buf_reserve(b, 1);
    if (to == NULL) return;
    *to = c;
    b->n++;
}

void buf_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_append(b, digits + at, sizeof(digits) - at);
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v >= 0) {
        buf_u64(b, (uint64_t)v);
        return;
    }
    /* One append, so that a cap in between leaves no lone sign. */
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t u = 0 - (uint64_t)v;
    do {
        digits[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u > 0);
    digits[--at] = '-';
    buf_append(b, digits + at, sizeof(digits) - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    if ((size_t)n < sizeof(small)) {
        buf_append(b, small, (size_t)n);
        return;
    }
    /* The NUL that vsnprintf() writes does not count against the cap, hence not in place. */
    char *text = mem_alloc((size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf_append(b, text, (size_t)n);
    free(text);
}

/* What stands behind the backslash, 'u' for the long form, 0 for a byte that needs no escape. */
static char buf_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\': return (char)c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return c < 0x20 ? 'u' : 0;
    }
}

/* The first byte that needs an escape, or end. */
static const char *buf_unescaped(const char *p, const char *end)
{
    for (;;) {
        p = plain_skip(p, end);
        while (p < end && (unsigned char)*p >= 0x80)
            p++;
        if (p == end || !plain_is(*p)) return p;
    }
}

/* All or nothing, so that a cap never cuts through a string. */
void buf_json(struct buf *b, struct span s)
{
    static const char hex[] = "0123456789abcdef";
    const char *p = s.n > 0 ? s.p : "", *end = p + s.n, *done = p;
    size_t before = b->n;
    buf_byte(b, '"');
    while ((p = buf_unescaped(p, end)) < end) {
        unsigned char c = (unsigned char)*p;
        char e = buf_escape(c);
        char text[6] = {'\\', e, '0', '0', hex[c >> 4], hex[c & 15]};
        buf_append(b, done, (size_t)(p - done));
        buf_append(b, text, e == 'u' ? 6 : 2);
        done = ++p;
    }
    if (done < end) buf_append(b, done, (size_t)(end - done));
    buf_byte(b, '"');
    if (b->failed) b->n = before;
}

void buf_base64(struct buf *b, struct span s)
{
    char *to = buf_reserve(b, base64_encoded(s.n));
    if (to != NULL) b->n += base64_encode(to, s);
}

char *buf_steal(struct buf *b)
{
    char *text = mem_grow(b->p, b->n + 1);
    text[b->n] = '\0';
    buf_init(b, b->max);
    return text;
}
