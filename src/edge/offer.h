/* What a client offers of permessage-deflate, and the answer (RFC 7692 section 7.1, RFC 6455 9.1).
 * Pure.
 *
 * The first offer is taken that can be. Each message is compressed by itself, in both directions: the
 * answer says server_no_context_takeover, and asks client_no_context_takeover of every client
 * (7.1.1.2). A server_max_window_bits is always granted (base/packer.h); of client_max_window_bits
 * nothing is asked, since any window can be read. An offer with a parameter that RFC 7692 does not
 * know, with a value that it does not allow, or with a parameter twice is declined. */
#ifndef EDGE_OFFER_H
#define EDGE_OFFER_H

#include <stddef.h>

#include "base/span.h"

#define OFFER_ANSWER_MAX 160 /* bytes of offer_answer(), with a NUL */

enum offer_verdict {
    OFFER_NONE, /* nothing that could be taken: go on without */
    OFFER_TAKEN,
    OFFER_MALFORMED, /* it is no list of extensions: fail the handshake */
};

struct offer {
    unsigned window_bits; /* that our messages may use */
    bool window_asked;    /* the client has said so */
};

/* `extensions` is the value of one header Sec-WebSocket-Extensions.
 * *ret is filled with OFFER_TAKEN. */
enum offer_verdict offer_read(struct span extensions, struct offer *ret);
/* The header line of the answer, with its CRLF; its length. */
size_t offer_answer(const struct offer *o, char *out);

#endif
