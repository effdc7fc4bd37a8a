/* "Did you mean": the nearest of some names. Pure. */
#ifndef CONFIG_SUGGEST_H
#define CONFIG_SUGGEST_H

#include <stddef.h>

/*     struct suggest s = suggest_start(given);
 *     suggest_try(&s, name) for each name; s.best is the nearest that is near enough, or NULL. */
struct suggest {
    const char *given;
    const char *best;
    size_t distance; /* of the best; without one, the first that is too far */
};

struct suggest suggest_start(const char *given);
void suggest_try(struct suggest *s, const char *name);

/* Letters to insert, delete, change or swap with their neighbour, without regard to case; SIZE_MAX
 * if one of them is longer than 64. */
size_t suggest_distance(const char *a, const char *b);

#endif
