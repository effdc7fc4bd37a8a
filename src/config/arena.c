#include "config/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct piece {
    struct piece *next;
    max_align_t bytes[];
};

struct arena {
    struct piece *pieces;
};

struct arena *arena_new(void)
{
    return mem_zero(sizeof(struct arena));
}

void arena_free(struct arena *a)
{
    if (!a) return;
    for (struct piece *p = a->pieces, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(a);
}

/* One allocation for each piece: a configuration is small, and a sanitizer sees every overrun. */
void *arena_zero(struct arena *a, size_t count, size_t size)
{
    struct piece *p = mem_zero(sizeof *p + (count ? count : 1) * size);
    p->next = a->pieces;
    a->pieces = p;
    return p->bytes;
}

char *arena_dup(struct arena *a, struct span s)
{
    char *p = arena_zero(a, s.n + 1, 1);
    if (s.n) memcpy(p, s.p, s.n);
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = arena_zero(a, n > 0 ? (size_t)n + 1 : 1, 1);
    if (n > 0) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
