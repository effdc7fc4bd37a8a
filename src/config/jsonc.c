#include "config/jsonc.h"

#include <stdbool.h>

struct strip {
    char *p;
    size_t n, i;
    char last;    /* the significant character before `comma`, or before here */
    size_t comma; /* offset of a comma after which nothing significant has come */
    bool comma_pending;
};

static void skip_string(struct strip *s)
{
    for (s->i++; s->i < s->n && s->p[s->i] != '"'; s->i++)
        if (s->p[s->i] == '\\') s->i++;
    s->i++;
}

static void blank_line(struct strip *s)
{
    while (s->i < s->n && s->p[s->i] != '\n')
        s->p[s->i++] = ' ';
}

static int blank_block(struct strip *s)
{
    size_t end = s->i + 2;
    while (end + 1 < s->n && !(s->p[end] == '*' && s->p[end + 1] == '/'))
        end++;
    if (end + 1 >= s->n) return -1;
    for (end += 2; s->i < end; s->i++)
        if (s->p[s->i] != '\n') s->p[s->i] = ' ';
    return 0;
}

static void significant(struct strip *s)
{
    char c = s->p[s->i];
    /* "[,]" and "[1,,]" stay what they are: mistakes. */
    bool value_before = s->last && !strchr("[{,:", s->last);
    if (s->comma_pending && (c == ']' || c == '}') && value_before) s->p[s->comma] = ' ';
    if (c == ',') {
        if (s->comma_pending) s->last = ',';
        s->comma = s->i;
    } else {
        s->last = c;
    }
    s->comma_pending = c == ',';
    if (c == '"')
        skip_string(s);
    else
        s->i++;
}

int jsonc_strip(char *text, size_t n, size_t *ret_where)
{
    struct strip s = {.p = text, .n = n};
    while (s.i < n) {
        char c = text[s.i];
        char next = s.i + 1 < n ? text[s.i + 1] : '\0';
        if (c == '/' && next == '/') {
            blank_line(&s);
        } else if (c == '/' && next == '*') {
            *ret_where = s.i;
            if (blank_block(&s) < 0) return -1;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            s.i++;
        } else {
            significant(&s);
        }
    }
    return 0;
}

struct jsonc_place jsonc_place(struct span text, size_t offset)
{
    struct jsonc_place at = {1, 1};
    for (size_t i = 0; i < offset && i < text.n; i++) {
        if (text.p[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}
