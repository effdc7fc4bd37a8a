/* The mistakes of a configuration: collected where they are found, told in the order of their
 * places. One thread. */
#ifndef CONFIG_PROBLEMS_H
#define CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/span.h"
#include "config/arena.h"

/* Where a piece of the configuration was written. */
struct source {
    const char *name; /* "wsbus.json", "WSBUS_LIMITS__ERRORS", "--set limits.errors" */
    struct span text; /* of a file, for line and column; p NULL: it has none */
    bool variable;    /* of the environment: what was meant is told as a variable */
    unsigned rank;    /* in the order of what overrides what */
};

struct place {
    const struct source *source; /* NULL: nowhere in particular */
    size_t offset;
};

struct problem {
    struct problem *next;
    struct place at;
    size_t number;
    const char *words;
};

struct problems {
    struct arena *arena;
    struct problem *list;
    size_t count;
};

/* `path` is the option ("limits.errors"), or NULL. The words are one line. */
void problem_add(struct problems *ps, struct place at, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A line for each: "wsbus.json:12:5: limits.errors: words". */
void problems_write(const struct problems *ps, struct buf *out);

#endif
