#include "base/frame.h"

#include <stdlib.h>

#include "base/ceiling.h"
#include "base/mem.h"

#define FIN 0x80U
#define LENGTH_16 126
#define LENGTH_64 127
#define HEAD_MAX 10

static uint32_t header_size(size_t n)
{
    return n < LENGTH_16 ? 2 : n <= UINT16_MAX ? 4 : 10;
}

static void write_length(unsigned char *p, size_t n, uint32_t head)
{
    if (head == 2) {
        p[0] = (unsigned char)n;
        return;
    }
    p[0] = head == 4 ? LENGTH_16 : LENGTH_64;
    for (uint32_t i = head - 2; i > 0; i--) {
        p[i] = (unsigned char)(n & 0xff);
        n >>= 8;
    }
}

static void write_head(unsigned char *p, enum frame_opcode opcode, size_t n, uint32_t head)
{
    p[0] = (unsigned char)(FIN | (unsigned)opcode);
    write_length(p + 1, n, head);
}

/* The length of the payload; *ret_head: of what stands in front of it. */
static size_t read_head(const unsigned char *p, uint32_t *ret_head)
{
    size_t n = p[1];
    if (n < LENGTH_16) {
        *ret_head = 2;
        return n;
    }
    *ret_head = n == LENGTH_16 ? 4 : 10;
    n = 0;
    for (uint32_t i = 2; i < *ret_head; i++)
        n = n << 8 | p[i];
    return n;
}

static struct frame *frame_alloc(size_t len, uint32_t head)
{
    struct frame *f = mem_alloc(sizeof(*f) + len);
    ceiling_count((ptrdiff_t)(sizeof(*f) + len));
    atomic_init(&f->refs, 1);
    atomic_init(&f->packed, NULL);
    f->head = head;
    f->count = 1;
    f->window = 0;
    f->len = len;
    return f;
}

struct frame *frame_new(enum frame_opcode opcode, struct span payload)
{
    uint32_t head = header_size(payload.n);
    struct frame *f = frame_alloc(head + payload.n, head);
    write_head(f->bytes, opcode, payload.n, head);
    if (payload.n) memcpy(f->bytes + head, payload.p, payload.n);
    return f;
}

void frame_append(struct buf *out, enum frame_opcode opcode, struct span payload)
{
    unsigned char head[HEAD_MAX];
    uint32_t n = header_size(payload.n);
    write_head(head, opcode, payload.n, n);
    buf_append(out, head, n);
    buf_span(out, payload);
}

struct frame *frame_run(struct span bytes, uint32_t count)
{
    uint32_t head;
    (void)read_head((const unsigned char *)bytes.p, &head);
    struct frame *f = frame_alloc(bytes.n, head);
    f->count = count;
    memcpy(f->bytes, bytes.p, bytes.n);
    return f;
}

struct frame *frame_join(struct frame *const *frames, uint32_t count)
{
    size_t len = 0, at = 0;
    for (uint32_t i = 0; i < count; i++)
        len += frames[i]->len;
    struct frame *f = frame_alloc(len, frames[0]->head);
    f->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(f->bytes + at, frames[i]->bytes, frames[i]->len);
        at += frames[i]->len;
        f->count += frames[i]->count;
    }
    return f;
}

bool frame_next(const struct frame *f, size_t *at, struct span *payload)
{
    uint32_t head;
    if (*at >= f->len) return false;
    size_t n = read_head(f->bytes + *at, &head);
    *payload = span_of((const char *)f->bytes + *at + head, n);
    *at += head + n;
    return true;
}

struct frame *frame_ref(struct frame *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void frame_unref(struct frame *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    struct frame *packed = atomic_load_explicit(&f->packed, memory_order_relaxed);
    if (packed && packed != f) frame_unref(packed);
    ceiling_count(-(ptrdiff_t)(sizeof(*f) + f->len));
    free(f);
}

struct slip *slip_new(struct frame *f)
{
    struct slip *s = mem_alloc(sizeof(*s));
    *s = (struct slip){.frame = f, .refs = 1};
    return s;
}

void slip_unref(struct slip *s)
{
    if (--s->refs > 0) return;
    if (s->done) {
        s->done(s);
        return;
    }
    frame_unref(s->frame);
    free(s);
}
