/* Memory that is given back in one piece: all that a configuration is made of. One thread. */
#ifndef CONFIG_ARENA_H
#define CONFIG_ARENA_H

#include <stddef.h>

#include "base/span.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a); /* NULL is fine */

void *arena_zero(struct arena *a, size_t count, size_t size); /* cleared; count 0 is not NULL */
char *arena_dup(struct arena *a, struct span s);              /* NUL-terminated copy */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
