/* What the fuzz harnesses share. Each is one function that takes any bytes: with libFuzzer's main()
 * under `make fuzz`, with that of replay.c under `make test`, where it is given the kept corpus. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input. */
#define HOLDS(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* A copy with a NUL behind it, for functions that take text. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    HOLDS(text);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* The bytes up to the next `mark`, which is taken off with them; all if there is none. */
static inline struct span fuzz_part(struct span *rest, char mark)
{
    const char *end = rest->n ? memchr(rest->p, mark, rest->n) : NULL;
    struct span part = end ? span_of(rest->p, (size_t)(end - rest->p)) : *rest;
    *rest = end ? span_of(end + 1, rest->n - part.n - 1) : span_of(NULL, 0);
    return part;
}

#endif
