#include "config/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LONGEST 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

size_t suggest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return SIZE_MAX;

    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = before[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = above[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
            d = least(d, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                d = least(d, before[j - 2] + 1);
            row[j] = d;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[m];
}

struct suggest suggest_start(const char *given)
{
    size_t n = strlen(given);
    size_t far = n > 5 ? n / 3 : n > 2 ? 1 : 0; /* of two letters everything is near */
    return (struct suggest){.given = given, .distance = far + 1};
}

void suggest_try(struct suggest *s, const char *name)
{
    size_t d = suggest_distance(s->given, name);
    if (d >= s->distance) return;
    s->distance = d;
    s->best = name;
}
