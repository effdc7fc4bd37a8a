#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEM_OWN 1024u

static void *mem_checked(void *p, size_t n)
{
    if (p == NULL) {
        fprintf(stderr, "wsbus: out of memory (%zu bytes)\n", n);
        abort();
    }
    return p;
}

/* malloc(0) may answer NULL, which is no shortage of memory. */
static size_t mem_size(size_t n)
{
    return n > 0 ? n : 1;
}

void *mem_alloc(size_t n)
{
    return mem_checked(malloc(mem_size(n)), n);
}

/* calloc() of the C library passes by the thread's own free pieces (glibc: until 2.41), which end at
 * about a kilobyte. Large ones come from it cleared already, often. */
void *mem_zero(size_t n)
{
    if (n > MEM_OWN) return mem_checked(calloc(1, n), n);
    return memset(mem_alloc(n), 0, n);
}

void *mem_grow(void *p, size_t n)
{
    return mem_checked(realloc(p, mem_size(n)), n);
}

char *mem_dup(const char *p, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (n > 0) memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void *mem_library_alloc(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return mem_alloc((size_t)count * size);
}

void mem_library_free(void *unused, void *p)
{
    (void)unused;
    free(p);
}
