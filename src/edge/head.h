/* The head of an HTTP/1.1 request, looked at before libwebsockets sees it: what that would drop
 * without an answer, or read as something else than it says, is refused here, strictly by RFC 9112.
 * Pure. */
#ifndef EDGE_HEAD_H
#define EDGE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define HEAD_FIELDS 128u /* header lines */

struct head {
    size_t size;  /* bytes of the head with its empty line; 0: it is not complete */
    bool upgrade; /* it asks for a WebSocket */
    bool body;    /* something follows that belongs to it */
    /* What is to be answered; 0: it may go on. `headers` are lines with their CRLF, or NULL. */
    unsigned status;
    const char *headers, *text;
};

/* Of what has come so far; it may have `most` bytes with its empty line. A beginning that can be no
 * request is refused at once. */
void head_read(struct span in, size_t most, struct head *ret);

#endif
