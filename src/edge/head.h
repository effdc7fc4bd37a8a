/* The head of an HTTP/1.1 request, looked at before libwebsockets sees it: what that would drop
 * without an answer, or read as something else than it says, is refused here, strictly by RFC 9112,
 * and of the headers it gets those only that are read in this program. Pure. */
#ifndef EDGE_HEAD_H
#define EDGE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define HEAD_FIELDS 128u /* header lines */
/* Lines and parameters of a query that libwebsockets gets. It has a table for both (WSI_TOKEN_COUNT),
 * and hangs up when that is full. */
#define HEAD_PIECES 64u

#define HEAD_SUBPROTOCOL "wsbus.v1" /* the one that is spoken at /ws */

struct head {
    size_t size;  /* bytes of the head with its empty line; 0: it is not complete */
    bool upgrade; /* it asks for a WebSocket */
    bool body;    /* something follows that belongs to it */
    bool speaks;  /* a Sec-WebSocket-Protocol has ours in it */
    /* Of a target in absolute form ("http://a/ws"): where it begins, and its path; else both 0. */
    size_t target, path;
    /* What is to be answered; 0: it may go on. `headers` are lines with their CRLF, or NULL. */
    unsigned status;
    const char *headers, *text;
};

/* Of what has come so far; it may have `most` bytes with its empty line. A beginning that can be no
 * request is refused at once. */
void head_read(struct span in, size_t most, struct head *ret);
/* Makes of a whole head that may go on what libwebsockets can read; returns how many bytes that has.
 * Other headers are taken out, and of those that stay the white space around their values, of a target
 * all but path and query, and of the two lists all but the word that counts: a Connection is there
 * once, as "upgrade", or not at all, and so is a Sec-WebSocket-Protocol with ours in it.
 *
 * In libwebsockets (4.1.6, 4.3.5) a header whose name is the beginning of one that it knows ("X", "Acc")
 * swallows the header behind it, whichever that is: an Origin, a proxy's X-Forwarded-For. White space
 * behind a value belongs to it, and at a list of 128 bytes, or with an empty element, it hangs up. */
size_t head_strip(char *p, const struct head *h);

/* In a whole head that may go on: the next line with this name (lower case) behind *at, which begins
 * at 0. False: there is none. */
struct head_field {
    struct span name, value;
};
bool head_next(struct span head, const char *name, size_t *at, struct head_field *ret);

#endif
