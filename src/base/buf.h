/* A growing byte buffer that is born with its cap.
 *
 * Appending beyond the cap sets `failed` and leaves the content as it was; every later append is
 * ignored then, so that a writer checks once, at the end. Out of memory ends the process. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct buf {
    char *p;     /* not NUL-terminated; NULL while nothing was ever appended */
    size_t n;    /* bytes in use */
    size_t size; /* bytes allocated */
    size_t max;  /* the cap */
    bool failed;
};

#define BUF_UNLIMITED SIZE_MAX

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);                /* back to the state after buf_init() */
void buf_clear(struct buf *b);               /* n = 0, failed = false; memory is kept */
void buf_shrink(struct buf *b, size_t keep); /* clear, and give memory back if size > keep */

void buf_append(struct buf *b, const void *p, size_t n);
void buf_span(struct buf *b, struct span s);
void buf_str(struct buf *b, const char *s);
void buf_byte(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v); /* decimal */
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. The input must be valid UTF-8; control characters, '"' and '\'
 * are escaped, everything else stands as it is. */
void buf_json(struct buf *b, struct span s);
void buf_base64(struct buf *b, struct span s); /* RFC 4648 section 4, padded */
/* Room for n more bytes at the end (NULL: over the cap); buf_added() then makes them count. */
char *buf_reserve(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
/* NUL-terminated copy of the content on the heap; the buffer is empty then. */
char *buf_steal(struct buf *b);

static inline struct span buf_view(const struct buf *b)
{
    return (struct span){b->p, b->n};
}

#endif
