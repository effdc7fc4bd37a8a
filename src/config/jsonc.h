/* JSON as people write it: with comments and trailing commas. Pure. */
#ifndef CONFIG_JSONC_H
#define CONFIG_JSONC_H

#include <stddef.h>

#include "base/span.h"

/* Overwrites comments (of both kinds) and trailing commas with blanks, so that every byte of the
 * rest keeps its place. Line breaks stay. 0, or -1 with the offset of a comment that has no end. */
int jsonc_strip(char *text, size_t n, size_t *ret_where);

struct jsonc_place {
    size_t line, column; /* both from 1; a column is a character, not a byte */
};

struct jsonc_place jsonc_place(struct span text, size_t offset);

#endif
