/* JSON without a tree: validation and spans.
 *
 * The wire protocol carries payloads byte for byte, refuses duplicate members and knows lone
 * surrogates, NUL and 64-bit integers. A parser that builds values loses these, so control frames
 * and payloads are read where they stand. Pure, iterative (nesting costs a bit, not stack). */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"

#define JSON_DEPTH_MAX 512

enum json_kind {
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

/* Is the text one JSON value as RFC 8259 has it, white space around it allowed, valid UTF-8, no
 * BOM, not nested deeper than JSON_DEPTH_MAX? Escapes of lone surrogates are valid. 0, or -1 with
 * the offset of the first wrong byte and one short phrase in *ret_why (both may be NULL). */
int json_check(struct span text, size_t *ret_where, const char **ret_why);
static inline bool json_valid(struct span text)
{
    return json_check(text, NULL, NULL) == 0;
}

/* All below are for text that json_check() has accepted. */

enum json_kind json_kind(struct span value); /* leading white space is fine */
struct span json_trim(struct span value);    /* without white space around it */

/*     struct json_iter it = json_open(object);
 *     while (json_member(&it, &key, &value)) ...   key: between the quotes, as it stands
 *     while (json_element(&it, &value)) ...        values are trimmed */
struct json_iter {
    const char *p, *end;
};
struct json_iter json_open(struct span container);
bool json_member(struct json_iter *it, struct span *ret_key, struct span *ret_value);
bool json_element(struct json_iter *it, struct span *ret_value);

/* Does the string between these quotes, unescaped, equal the plain text? */
bool json_key_is(struct span raw, const char *plain);
/* Unescapes a string value (with quotes) to UTF-8, which may hold NUL; at most value.n bytes.
 * -1 if it holds a lone surrogate (*out is then as before). */
int json_unescape(struct span value, struct buf *out);
/* A number without fraction and exponent within int64; -1 otherwise. */
int json_integer(struct span value, int64_t *ret);

#endif
