#include "base/inflater.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"

#define WINDOW 15
#define FIRST 4096  /* room that is made at once */
#define KEEP 65536U /* memory that the buffer keeps */

/* In z_stream.data_type: the bits left over, the last block, and the state between two blocks. */
#define STATE 0x1ff
#define BETWEEN_BLOCKS 0x80

struct inflater {
    z_stream z;
    struct buf out;
    size_t most; /* bytes that may come of the message in hand */
    bool ended;  /* with a block that says to be the last, and nothing behind it */
};

struct inflater *inflater_new(void)
{
    struct inflater *i = mem_zero(sizeof(*i));
    i->z.zalloc = mem_library_alloc;
    i->z.zfree = mem_library_free;
    buf_init(&i->out, BUF_UNLIMITED); /* bounded by `most` */
    if (inflateInit2(&i->z, -WINDOW) == Z_OK) return i;
    free(i);
    return NULL;
}

void inflater_free(struct inflater *i)
{
    if (!i) return;
    inflateEnd(&i->z);
    buf_free(&i->out);
    free(i);
}

void inflater_rest(struct inflater *i)
{
    buf_shrink(&i->out, KEEP);
}

/* The next piece of room; one byte beyond what may come shows that there is more. */
static size_t room_for(const struct inflater *i, size_t in)
{
    size_t left = i->most + 1 - i->out.n;
    size_t want = i->out.n > 0 ? i->out.n : in > FIRST / 4 ? in * 4 : FIRST;
    if (want > left) want = left;
    return want < UINT_MAX ? want : UINT_MAX;
}

/* Everything that comes of these bytes. */
static enum inflater_result take(struct inflater *i, struct span in)
{
    z_stream *z = &i->z;
    z->next_in = (Bytef *)(size_t)in.p; /* zlib only reads there */
    z->avail_in = (uInt)in.n;
    for (;;) {
        size_t room = room_for(i, in.n);
        z->next_out = (Bytef *)buf_reserve(&i->out, room);
        z->avail_out = (uInt)room;
        int rc = inflate(z, Z_SYNC_FLUSH);
        buf_added(&i->out, room - z->avail_out);
        if (i->out.n > i->most) return INFLATER_TOO_LARGE;
        i->ended = rc == Z_STREAM_END && z->avail_in == 0;
        if (i->ended) return INFLATER_OK;
        if (rc == Z_STREAM_END) { /* another stream stands behind it (7.2.3.4) */
            if (inflateReset(z) != Z_OK) return INFLATER_BROKEN;
            continue;
        }
        if (rc != Z_OK && rc != Z_BUF_ERROR) return INFLATER_BROKEN;
        if (z->avail_out == 0) continue;
        return z->avail_in == 0 ? INFLATER_OK : INFLATER_BROKEN;
    }
}

/* With the tail, which is an empty block, a whole message ends between two blocks. */
static enum inflater_result inflate_all(struct inflater *i, struct span packed)
{
    static const char tail[] = {0, 0, (char)0xff, (char)0xff};
    enum inflater_result result = take(i, packed);
    if (result != INFLATER_OK || i->ended) return result;
    result = take(i, span_of(tail, sizeof(tail)));
    if (result != INFLATER_OK) return result;
    return (i->z.data_type & STATE) == BETWEEN_BLOCKS ? INFLATER_OK : INFLATER_BROKEN;
}

static size_t dense(struct span packed, size_t ratio)
{
    size_t most = packed.n > SIZE_MAX / ratio ? SIZE_MAX : packed.n * ratio;
    return most > INFLATER_FREE ? most : INFLATER_FREE;
}

enum inflater_result inflater_message(struct inflater *i, struct span packed,
                                      const struct inflater_bounds *bounds, struct span *ret)
{
    bool by_ratio = bounds->ratio > 0 && dense(packed, bounds->ratio) < bounds->bytes;
    enum inflater_result result = INFLATER_OK;
    i->most = by_ratio ? dense(packed, bounds->ratio) : bounds->bytes;
    i->ended = false;
    buf_clear(&i->out);
    if (packed.n > UINT_MAX || inflateReset(&i->z) != Z_OK) return INFLATER_BROKEN;
    if (packed.n > 0) result = inflate_all(i, packed); /* no bytes at all: an empty message */
    if (result == INFLATER_OK) {
        *ret = buf_view(&i->out);
        return result;
    }
    inflater_rest(i);
    return result == INFLATER_TOO_LARGE && by_ratio ? INFLATER_TOO_DENSE : result;
}
