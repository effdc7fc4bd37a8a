#include "base/packer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

#define OPCODE 0x0FU
#define TAIL 4U         /* 00 00 ff ff, which is not sent (7.2.1) */
#define SLACK 16U       /* room for what is a little larger than the message */
#define MOST (1U << 30) /* larger messages are left as they are */
#define MEMORY_LEVEL 8  /* zlib's default */
#define KEEP 65536U     /* memory that the buffers keep */
#define STRIPES 16U     /* locks */
#define STRIPE_SHIFT 6  /* frames lie so many bits apart, at least */

struct packer {
    z_stream z;
    bool ready; /* z is */
    int level;
    size_t least;
    struct buf message, form; /* one message; all of the frame */
};

/* Whoever makes a form holds the one of its frame. Frames that share one wait without need, which
 * costs less than a lock in each. */
#define UNLOCKED PTHREAD_MUTEX_INITIALIZER
static pthread_mutex_t locks[STRIPES] = {
    UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED,
    UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED, UNLOCKED,
};

struct packer *packer_new(int level, size_t least)
{
    struct packer *p = mem_zero(sizeof(*p));
    p->z.zalloc = mem_library_alloc;
    p->z.zfree = mem_library_free;
    p->level = level;
    p->least = least;
    buf_init(&p->message, BUF_UNLIMITED); /* both are bounded by the frame */
    buf_init(&p->form, BUF_UNLIMITED);
    return p;
}

void packer_free(struct packer *p)
{
    if (!p) return;
    if (p->ready) deflateEnd(&p->z);
    buf_free(&p->message);
    buf_free(&p->form);
    free(p);
}

/* A raw stream has no header: that is what the minus says. */
static bool begin(struct packer *p)
{
    if (p->ready) return deflateReset(&p->z) == Z_OK;
    p->ready = deflateInit2(&p->z, p->level, Z_DEFLATED, -(int)PACKER_WINDOW_MOST, MEMORY_LEVEL,
                            Z_DEFAULT_STRATEGY) == Z_OK;
    return p->ready;
}

/* To p->message. False: it is not smaller. */
static bool compress_message(struct packer *p, struct span plain)
{
    size_t room = plain.n + SLACK;
    if (plain.n < p->least || plain.n > MOST || !begin(p)) return false;
    buf_clear(&p->message);
    char *to = buf_reserve(&p->message, room);
    p->z.next_in = (Bytef *)(size_t)plain.p; /* zlib only reads there */
    p->z.avail_in = (uInt)plain.n;
    p->z.next_out = (Bytef *)to;
    p->z.avail_out = (uInt)room;
    int rc = deflate(&p->z, Z_SYNC_FLUSH);
    /* With room left all of it has been flushed. */
    if (rc != Z_OK || p->z.avail_in > 0 || p->z.avail_out == 0) return false;
    size_t n = room - p->z.avail_out - TAIL;
    buf_added(&p->message, n);
    return n < plain.n;
}

static unsigned bits_of(size_t n)
{
    unsigned bits = PACKER_WINDOW_LEAST;
    while (bits < PACKER_WINDOW_MOST && (size_t)1 << bits < n)
        bits++;
    return bits;
}

/* One reference, or the frame itself: there is none smaller. */
static struct frame *make(struct packer *p, struct frame *f)
{
    size_t at = 0, from = 0;
    unsigned window = 0;
    struct span payload;
    buf_clear(&p->form);
    for (; frame_next(f, &at, &payload); from = at) {
        unsigned opcode = f->bytes[from] & OPCODE;
        bool data = opcode == FRAME_TEXT || opcode == FRAME_BINARY;
        if (!data || !compress_message(p, payload)) {
            buf_append(&p->form, f->bytes + from, at - from);
            continue;
        }
        frame_append(&p->form, (enum frame_opcode)(opcode | FRAME_COMPRESSED),
                     buf_view(&p->message));
        if (bits_of(payload.n) > window) window = bits_of(payload.n);
    }
    if (p->form.n >= f->len) return f;
    struct frame *form = frame_run(buf_view(&p->form), f->count);
    form->window = window;
    buf_shrink(&p->form, KEEP);
    buf_shrink(&p->message, KEEP);
    return form;
}

/* To all others a frame never changes: this is the one place that writes to it. */
static const struct frame *find(struct packer *p, struct frame *f)
{
    struct frame *form = atomic_load_explicit(&f->packed, memory_order_acquire);
    if (form) return form;
    pthread_mutex_t *lock = &locks[((size_t)f >> STRIPE_SHIFT) % STRIPES];
    pthread_mutex_lock(lock);
    form = atomic_load_explicit(&f->packed, memory_order_acquire);
    if (!form) {
        form = make(p, f);
        atomic_store_explicit(&f->packed, form, memory_order_release);
    }
    pthread_mutex_unlock(lock);
    return form;
}

const struct frame *packer_form(struct packer *p, const struct frame *f, unsigned window_bits)
{
    if (f->len < p->least) return f;
    const struct frame *form = find(p, (struct frame *)(size_t)f);
    return form->window <= window_bits ? form : f;
}
