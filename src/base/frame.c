#include "base/frame.h"

#include <stdlib.h>

#include "base/ceiling.h"
#include "base/mem.h"

#define FIN 0x80U
#define LENGTH_16 126
#define LENGTH_64 127

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

struct frame *frame_new(enum frame_opcode opcode, struct span payload)
{
    uint32_t head = header_size(payload.n);
    struct frame *f = mem_alloc(sizeof(*f) + head + payload.n);
    ceiling_count((ptrdiff_t)(sizeof(*f) + head + payload.n));
    atomic_init(&f->refs, 1);
    f->head = head;
    f->len = head + payload.n;
    f->bytes[0] = (unsigned char)(FIN | (unsigned)opcode);
    write_length(f->bytes + 1, payload.n, head);
    if (payload.n) memcpy(f->bytes + head, payload.p, payload.n);
    return f;
}

struct frame *frame_ref(struct frame *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void frame_unref(struct frame *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
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
