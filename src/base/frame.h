/* A finished WebSocket frame, built once and sent to any number of sockets.
 *
 * A frame never changes after it was built, but for the compressed form that it may be given
 * (base/packer.h), and has one atomic reference for each thread that holds it. Inside a worker it is
 * held by a slip, which counts plainly: queues of sessions refer to the slip, so that fan-out touches
 * no atomic. */
#ifndef BASE_FRAME_H
#define BASE_FRAME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

struct frame {
    atomic_uint refs;
    uint32_t head;  /* bytes of WebSocket header in front of the payload (of a run: of the first) */
    uint32_t count; /* of WebSocket frames: 1, or more in a run */
    uint32_t window; /* of a compressed form: bits of the smallest window that it is for */
    size_t len;      /* header and payload */
    struct frame *_Atomic packed; /* its compressed form (base/packer.h), or itself: there is none
                                     smaller. NULL: nobody has asked. One reference */
    unsigned char bytes[];
};

enum frame_opcode {
    FRAME_TEXT = 1,
    FRAME_BINARY = 2,
    FRAME_PING = 9,
    FRAME_PONG = 10,
    FRAME_COMPRESSED = 0x40 /* beside one of the first two: RSV1 (RFC 7692 section 6) */
};

/* One reference. The payload is copied behind an unmasked header with FIN (RFC 6455 5.2). */
struct frame *frame_new(enum frame_opcode opcode, struct span payload);

/* A run: several WebSocket frames one behind the other in one struct frame, for those that would be
 * sent in one go anyway (replays). frame_append() writes one of them; frame_run() makes the run of
 * what was written. frame_next() walks over a run, or over the one frame that it is: `at` begins at
 * 0; false at the end. */
void frame_append(struct buf *out, enum frame_opcode opcode, struct span payload);
struct frame *frame_run(struct span bytes, uint32_t count);
bool frame_next(const struct frame *f, size_t *at, struct span *payload);
/* The run of frames that are there. */
struct frame *frame_join(struct frame *const *frames, uint32_t count);

struct frame *frame_ref(struct frame *f); /* any thread that holds a reference */
void frame_unref(struct frame *f);

/* Not of a run. */
static inline struct span frame_payload(const struct frame *f)
{
    return (struct span){(const char *)f->bytes + f->head, f->len - f->head};
}

struct slip {
    struct frame *frame;
    uint32_t refs;                /* of one thread */
    void (*done)(struct slip *s); /* the last reference is gone: gives back the frame and the
                                     memory that the slip is in; NULL: a slip of slip_new() */
};

/* Takes over the caller's reference of the frame. One reference. */
struct slip *slip_new(struct frame *f);
static inline struct slip *slip_ref(struct slip *s)
{
    s->refs++;
    return s;
}
void slip_unref(struct slip *s);

#endif
