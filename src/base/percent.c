#include "base/percent.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"

static int hex(char c)
{
    if (isdigit((unsigned char)c)) return c - '0';
    return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

int percent_byte(struct span s)
{
    if (s.n < 3 || s.p[0] != '%') return -1;
    int high = hex(s.p[1]), low = hex(s.p[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

char *percent_decode(struct span s)
{
    char *text = mem_alloc(s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int byte = percent_byte(span_of(s.p + i, s.n - i));
        if (byte == 0 || (byte < 0 && (s.p[i] == '%' || s.p[i] == '\0'))) {
            free(text);
            return NULL;
        }
        if (byte > 0) i += 2;
        text[n++] = byte > 0 ? (char)byte : s.p[i];
    }
    text[n] = '\0';
    return text;
}
