/* Which form of a file a client gets, and whether it has it already: two headers of a request,
 * read as RFC 9110 says. Pure. */
#ifndef EDGE_NEGOTIATE_H
#define EDGE_NEGOTIATE_H

#include <stdbool.h>

#include "base/span.h"

/* Accept-Encoding (section 12.5.3): may the answer be compressed with gzip? What cannot be read
 * is a no. */
bool negotiate_gzip(struct span accept);
/* If-None-Match (section 13.1.2): does it name this entity tag (with its quotes), or any? */
bool negotiate_same(struct span none_match, const char *tag);

#endif
