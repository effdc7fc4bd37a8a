/* Allocation that ends the process when there is no memory (with one line on stderr), for the
 * small pieces; sizes that a peer decides are bounded by caps before they get here. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n); /* not cleared */
void *mem_zero(size_t n);  /* cleared */
void *mem_grow(void *p, size_t n);
char *mem_dup(const char *p, size_t n); /* NUL-terminated copy */

/* Asks for these bytes, so that whoever looks at them soon finds them in the processor's cache. */
static inline void mem_fetch(const void *p, size_t n)
{
    for (size_t at = 0; at < n; at += 64)
        __builtin_prefetch((const char *)p + at);
}

/* Allocation as a library wants to be given it (zlib.h, alloc_func and free_func). */
void *mem_library_alloc(void *unused, unsigned count, unsigned size);
void mem_library_free(void *unused, void *p);

#endif
