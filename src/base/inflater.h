/* Compressed messages of clients: permessage-deflate (RFC 7692), the way in.
 *
 * Every message stands by itself: the handshake tells the client so (client_no_context_takeover,
 * which 7.1.1.2 lets a server ask of any client). So nothing is kept for a connection, and one
 * inflater, of one thread, is enough for all of them: 7 KB, later 40 KB.
 *
 * A message is inflated when all of it has come, at most to what the bounds allow: not a byte more is
 * ever made of it, whatever it would become. */
#ifndef BASE_INFLATER_H
#define BASE_INFLATER_H

#include <stddef.h>

#include "base/span.h"

/* So much may come of any message, however dense it is. */
#define INFLATER_FREE 16384U

struct inflater;

struct inflater_bounds {
    size_t bytes; /* of the message */
    size_t ratio; /* bytes for each that was sent; 0: any number */
};

enum inflater_result {
    INFLATER_OK,
    INFLATER_BROKEN,    /* it is no DEFLATE data, or does not end where a message may */
    INFLATER_TOO_LARGE, /* more than bounds.bytes */
    INFLATER_TOO_DENSE, /* more than bounds.ratio allows */
};

struct inflater *inflater_new(void);
void inflater_free(struct inflater *i); /* NULL is fine */

/* The message that these bytes are, without the four that RFC 7692 7.2.1 leaves out. *ret is valid
 * until inflater_rest(), which is due after INFLATER_OK. */
enum inflater_result inflater_message(struct inflater *i, struct span packed,
                                      const struct inflater_bounds *bounds, struct span *ret);
void inflater_rest(struct inflater *i);

#endif
