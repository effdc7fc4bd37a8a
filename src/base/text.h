/* UTF-8, base64 and tokens. Pure. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. Fast over ASCII. */
bool utf8_valid(struct span s);
/* The same for a text that comes in pieces: false as soon as no continuation can be valid. Begins
 * with zeros; it is complete when utf8_ends() is true. */
struct utf8 {
    unsigned char left;      /* bytes of the sequence in hand that are still to come */
    unsigned char low, high; /* between which the next of them must be */
};
bool utf8_more(struct utf8 *u, struct span piece);
static inline bool utf8_ends(const struct utf8 *u)
{
    return u->left == 0;
}
/* Length of the valid sequence at p (at most `n` bytes), 0 if there is none. */
size_t utf8_length(const char *p, size_t n);
/* Writes the code point (not a surrogate, at most U+10FFFF), returns 1 to 4. */
size_t utf8_put(char *p, uint32_t code);

size_t base64_encoded(size_t n); /* bytes that n bytes become */
size_t base64_encode(char *out, struct span s);
/* Exact (RFC 4648 section 4, padding needed, no white space, unused bits zero): the number of
 * bytes written, at most s.n / 4 * 3, or -1. `out` may be where the text stands (s.p). */
int64_t base64_decode(char *out, struct span s);

bool token_char(char c); /* of HTTP: RFC 9110, section 5.6.2 */

#endif
