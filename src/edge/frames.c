#include "edge/frames.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"

#define FIN 0x80U
#define RESERVED 0x70U
#define RSV1 0x40U
#define OPCODE 0x0FU
#define MASKED 0x80U
#define LENGTH 0x7FU

enum opcode { OP_CONTINUE, OP_TEXT, OP_BINARY, OP_CLOSE = 8, OP_PING, OP_PONG };

void frames_init(struct frames *f, uint64_t limit)
{
    *f = (struct frames){.limit = limit};
}

/* DEFLATE adds 5 bytes to each 64 KB that it cannot compress, and to each flush: one for every
 * fragment, of which an honest client makes few. */
uint64_t frames_allow_compressed(struct frames *f)
{
    f->packed_limit = f->limit + f->limit / 256 + 256;
    return f->packed_limit;
}

/* Only while there are any: a quiet connection holds no memory for this. */
struct frames_kinds {
    struct buf all; /* a byte each: is it compressed? */
    size_t at;      /* so many of them have been asked for */
};

static void kinds_add(struct frames *f, bool packed)
{
    if (!f->kinds) {
        f->kinds = mem_zero(sizeof(*f->kinds));
        buf_init(&f->kinds->all, BUF_UNLIMITED); /* by what libwebsockets reads in one go */
    }
    buf_byte(&f->kinds->all, packed);
}

static void kinds_done(struct frames *f)
{
    if (!f->kinds) return;
    buf_free(&f->kinds->all);
    free(f->kinds);
    f->kinds = NULL;
}

bool frames_compressed(struct frames *f)
{
    struct frames_kinds *kinds = f->kinds;
    if (!kinds) return false;
    bool packed = kinds->all.p[kinds->at++] != 0;
    if (kinds->at == kinds->all.n) kinds_done(f);
    return packed;
}

void frames_done(struct frames *f)
{
    free(f->control);
    f->control = NULL;
    kinds_done(f);
}

/* ---- headers --------------------------------------------------------------------------------- */

static bool is_control(const struct frames *f)
{
    return f->head[0] & 8U;
}

static unsigned length_bytes(unsigned char second)
{
    unsigned n = second & LENGTH;
    return n < 126 ? 0 : n == 126 ? 2 : 8;
}

/* Of the header, so far as that is known. */
static unsigned head_size(const struct frames *f)
{
    return f->have < 2 ? 2 : 6 + length_bytes(f->head[1]);
}

/* 5.2: no bits without an extension, a known opcode; 5.4: fragments in order; 5.5: control frames
 * are never fragmented. RFC 7692 6.1: RSV1 on the first frame of a message alone. */
static bool first_good(const struct frames *f)
{
    unsigned op = f->head[0] & OPCODE;
    unsigned allowed = f->packed_limit > 0 && (op == OP_TEXT || op == OP_BINARY) ? RSV1 : 0;
    if (f->head[0] & RESERVED & ~allowed) return false;
    if (is_control(f)) return op <= OP_PONG && (f->head[0] & FIN);
    return op <= OP_BINARY && (op == OP_CONTINUE) == f->fragments;
}

/* 5.1: masked; 5.5: a control frame has at most 125 bytes. */
static bool second_good(const struct frames *f)
{
    if (!(f->head[1] & MASKED)) return false;
    return !is_control(f) || (f->head[1] & LENGTH) <= FRAMES_CONTROL_MAX;
}

/* 5.2: in the fewest bytes that hold it, and of 64 bits the highest is not set. */
static bool read_length(struct frames *f)
{
    unsigned bytes = length_bytes(f->head[1]);
    uint64_t n = bytes ? 0 : f->head[1] & LENGTH;
    for (unsigned i = 0; i < bytes; i++)
        n = n << 8 | f->head[2 + i];
    f->left = n;
    if (bytes == 2) return n >= 126;
    return bytes == 0 || (n > UINT16_MAX && n >> 63 == 0);
}

static void begin_message(struct frames *f)
{
    f->message = 0;
    f->packed = f->head[0] & RSV1;
    if (f->packed_limit > 0) kinds_add(f, f->packed);
}

/* The header is complete. 0, or a close code. */
static unsigned begin(struct frames *f)
{
    if (!read_length(f)) return CLOSE_PROTOCOL;
    f->whole = true;
    if (is_control(f)) return 0;
    if ((f->head[0] & OPCODE) != OP_CONTINUE) begin_message(f);
    f->fragments = !(f->head[0] & FIN);
    uint64_t limit = f->packed ? f->packed_limit : f->limit;
    if (f->left > limit || f->message > limit - f->left) return CLOSE_TOO_BIG;
    f->message += f->left;
    return 0;
}

static void pass(struct frames_piece *piece, size_t from)
{
    size_t n = piece->in - from;
    if (piece->out != from) memmove(piece->p + piece->out, piece->p + from, n);
    piece->out += n;
}

/* A header that is in the piece as a whole, as nearly all are. */
static unsigned take_whole_head(struct frames *f, struct frames_piece *piece)
{
    memcpy(f->head, piece->p + piece->in, sizeof(f->head));
    f->have = 2;
    unsigned size = head_size(f);
    if (!first_good(f) || !second_good(f)) return CLOSE_PROTOCOL;
    piece->p[piece->in] &= (unsigned char)~RSV1;
    unsigned code = begin(f);
    if (code != 0) return code;
    f->have = (uint8_t)size;
    piece->in += size;
    if (!is_control(f)) pass(piece, piece->in - size);
    return 0;
}

/* What of a header is in the piece. 0, or a close code: then none of it goes through. */
static unsigned take_head(struct frames *f, struct frames_piece *piece)
{
    size_t from = piece->in;
    if (f->have == 0 && piece->n - from >= sizeof(f->head)) return take_whole_head(f, piece);
    while (!f->whole && piece->in < piece->n) {
        f->head[f->have++] = piece->p[piece->in++];
        if (f->have == 1 && !first_good(f)) return CLOSE_PROTOCOL;
        if (f->have == 1) piece->p[piece->in - 1] &= (unsigned char)~RSV1;
        if (f->have == 2 && !second_good(f)) return CLOSE_PROTOCOL;
        if (f->have < 2 || f->have < head_size(f)) continue;
        unsigned code = begin(f);
        if (code != 0) return code;
    }
    if (f->have > 0 && !is_control(f)) pass(piece, from);
    return 0;
}

static void end_frame(struct frames *f)
{
    f->have = 0;
    f->whole = false;
}

/* ---- control frames -------------------------------------------------------------------------- */

/* 7.4.1 and 7.4.2; 1012 to 1014 are in IANA's registry. */
static bool code_good(unsigned code)
{
    if (code < 1000 || code >= 5000) return false;
    return code >= 3000 || (code <= 1014 && (code < 1004 || code > 1006));
}

static enum frames_event closes(struct span payload, struct frames_found *ret)
{
    const unsigned char *p = (const unsigned char *)payload.p;
    ret->code = payload.n == 0 ? CLOSE_NO_CODE : CLOSE_PROTOCOL;
    if (payload.n == 0) return FRAMES_CLOSE;
    if (payload.n == 1) return FRAMES_BROKEN;
    unsigned code = (unsigned)p[0] << 8 | p[1];
    if (!code_good(code)) return FRAMES_BROKEN;
    bool text = utf8_valid(span_of(payload.p + 2, payload.n - 2));
    ret->code = text ? code : CLOSE_NOT_UTF8;
    return text ? FRAMES_CLOSE : FRAMES_BROKEN;
}

static enum frames_event found(struct frames *f, unsigned char *payload, size_t n,
                               struct frames_found *ret)
{
    const unsigned char *mask = f->head + 2;
    for (size_t i = 0; i < n; i++)
        payload[i] ^= mask[i % 4];
    ret->payload = span_of((const char *)payload, n);
    end_frame(f);
    switch (f->head[0] & OPCODE) {
    case OP_PING: return FRAMES_PING;
    case OP_PONG: return FRAMES_PONG;
    default: return closes(ret->payload, ret);
    }
}

/* The payload of a control frame: where it stands if it is there as a whole, else from a copy. */
static enum frames_event take_control(struct frames *f, struct frames_piece *piece,
                                      struct frames_found *ret)
{
    unsigned char *at = piece->p + piece->in;
    size_t length = f->head[1] & LENGTH;
    size_t n = piece->n - piece->in < f->left ? piece->n - piece->in : (size_t)f->left;
    if (n == length) {
        piece->in += n;
        f->left = 0;
        return found(f, at, n, ret);
    }
    if (!f->control) f->control = mem_alloc(FRAMES_CONTROL_MAX);
    memcpy(f->control + (length - f->left), at, n);
    piece->in += n;
    f->left -= n;
    return f->left > 0 ? FRAMES_END : found(f, f->control, length, ret);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void take_data(struct frames *f, struct frames_piece *piece)
{
    size_t from = piece->in, n = piece->n - from;
    if (n > f->left) n = (size_t)f->left;
    piece->in += n;
    f->left -= n;
    pass(piece, from);
    if (f->left == 0) end_frame(f);
}

enum frames_event frames_next(struct frames *f, struct frames_piece *piece,
                              struct frames_found *ret)
{
    for (;;) {
        if (!f->whole) {
            ret->code = take_head(f, piece);
            if (ret->code != 0) return FRAMES_BROKEN;
            if (!f->whole) return FRAMES_END;
        }
        if (is_control(f)) return take_control(f, piece, ret);
        take_data(f, piece);
        if (f->whole) return FRAMES_END;
    }
}
