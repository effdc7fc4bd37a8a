/* Percent-encoding (RFC 3986, section 2.1). Pure. */
#ifndef BASE_PERCENT_H
#define BASE_PERCENT_H

#include "base/span.h"

/* The byte that the escape at the beginning of `s` stands for; -1: there is none. */
int percent_byte(struct span s);
/* The text without its escapes, on the heap. NULL if one is broken or stands for NUL. */
char *percent_decode(struct span s);

#endif
