#include "config/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/jsonc.h"

void problem_add(struct problems *ps, struct place at, const char *path, const char *fmt, ...)
{
    char words[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);

    struct problem *p = arena_zero(ps->arena, 1, sizeof *p);
    p->at = at;
    p->number = ps->count++;
    p->words = path && *path ? arena_printf(ps->arena, "%s: %s", path, words)
                             : arena_dup(ps->arena, span_str(words));
    p->next = ps->list;
    ps->list = p;
}

static int compare(const void *left, const void *right)
{
    const struct problem *a = *(const struct problem *const *)left;
    const struct problem *b = *(const struct problem *const *)right;
    unsigned rank_a = a->at.source ? a->at.source->rank : 0;
    unsigned rank_b = b->at.source ? b->at.source->rank : 0;
    if (rank_a != rank_b) return rank_a < rank_b ? -1 : 1;
    if (a->at.source == b->at.source && a->at.offset != b->at.offset)
        return a->at.offset < b->at.offset ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

/* What a file holds may end up in the words: it must not look like another line. */
static void write_clean(struct buf *out, const char *s)
{
    for (; *s; s++)
        buf_byte(out, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

void problems_write(const struct problems *ps, struct buf *out)
{
    if (!ps->count) return;
    const struct problem **sorted = mem_zero(ps->count * sizeof(const struct problem *));
    size_t n = 0;
    for (const struct problem *p = ps->list; p; p = p->next)
        sorted[n++] = p;
    qsort(sorted, n, sizeof *sorted, compare);
    for (size_t i = 0; i < n; i++) {
        const struct source *s = sorted[i]->at.source;
        if (s) {
            write_clean(out, s->name);
            if (s->text.p) {
                struct jsonc_place at = jsonc_place(s->text, sorted[i]->at.offset);
                buf_printf(out, ":%zu:%zu", at.line, at.column);
            }
            buf_str(out, ": ");
        }
        write_clean(out, sorted[i]->words);
        buf_byte(out, '\n');
    }
    free(sorted);
}
