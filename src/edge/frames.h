/* The frames that a client sends, looked at before libwebsockets sees them (edge/guard.h): what
 * RFC 6455 forbids is found, control frames are taken out, and all else goes through as it stands.
 * Pure; works on any pieces; costs a look at each header, never at the payload of a data frame.
 *
 * Compressed messages (RFC 7692) are no concern of libwebsockets: the bit that marks them, RSV1 of
 * the first frame, is taken off, and whoever gets the message asks frames_compressed(). */
#ifndef EDGE_FRAMES_H
#define EDGE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "protocol/codes.h"

#define FRAMES_CONTROL_MAX 125u /* RFC 6455 5.5 */

struct frames_kinds;

struct frames {
    uint64_t limit;             /* bytes of a message, */
    uint64_t packed_limit;      /* of a compressed one as it comes; 0: there may be none */
    uint64_t left;              /* of the payload of the frame in hand */
    uint64_t message;           /* bytes of the message in hand, as far as its frames are known */
    unsigned char *control;     /* a control frame of which a part has come; or NULL */
    unsigned char head[14];     /* the header in hand, */
    uint8_t have;               /* so much of it; */
    bool whole;                 /* all of it */
    bool fragments;             /* a message has begun whose last frame has not come */
    bool packed;                /* the message in hand is compressed */
    struct frames_kinds *kinds; /* of messages that have begun and were not asked for; or NULL */
};

/* A piece of what was read, from which the control frames are taken out: what is left of it are the
 * first `out` bytes. */
struct frames_piece {
    unsigned char *p;
    size_t n, in, out;
};

enum frames_event {
    FRAMES_END, /* the piece is used up */
    FRAMES_PING,
    FRAMES_PONG,
    FRAMES_CLOSE,  /* `code` is the client's */
    FRAMES_BROKEN, /* `code` says why. Behind this, and a close, nothing may be read as frames */
};

struct frames_found {
    unsigned code;       /* a close code, or CLOSE_NO_CODE */
    struct span payload; /* of a ping; until the next call */
};

void frames_init(struct frames *f, uint64_t limit);
/* Compressed messages are allowed too. Returns how many bytes of one may come: a few more than the
 * limit, since what cannot be compressed becomes a little larger. */
uint64_t frames_allow_compressed(struct frames *f);
/* Is the next message compressed? To be asked once for each, when its first bytes have arrived. */
bool frames_compressed(struct frames *f);
void frames_done(struct frames *f);

enum frames_event frames_next(struct frames *f, struct frames_piece *piece,
                              struct frames_found *ret);

#endif
