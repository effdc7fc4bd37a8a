#include "base/pattern.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum segment_kind { SEGMENT_LITERAL, SEGMENT_ONE, SEGMENT_CAPTURE, SEGMENT_REST };

struct segment {
    enum segment_kind kind;
    struct span text; /* of a capture: its name */
};

struct pattern {
    char *text; /* the segments point into it */
    size_t count;
    struct segment segments[];
};

static bool is_name(struct span s)
{
    if (s.n == 0 || (s.p[0] >= '0' && s.p[0] <= '9')) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9')) return false;
    }
    return true;
}

static bool span_has(struct span s, const char *any)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '\0' && strchr(any, s.p[i]) != NULL) return true;
    return false;
}

/* The text up to the next dot or the end, and moves behind it. */
static struct span cut_segment(struct span *rest)
{
    const char *dot = rest->n > 0 ? memchr(rest->p, '.', rest->n) : NULL;
    struct span s = {rest->p, dot != NULL ? (size_t)(dot - rest->p) : rest->n};
    size_t used = s.n + (dot != NULL);
    *rest = (struct span){used > 0 ? rest->p + used : rest->p, rest->n - used};
    return s;
}

/* NULL, or what is wrong with the segment. */
static const char *segment_read(struct segment *to, struct span s)
{
    *to = (struct segment){SEGMENT_LITERAL, s};
    if (s.n == 0) return "a segment is empty";
    if (span_eq(s, SPAN("*"))) {
        to->kind = SEGMENT_ONE;
    } else if (span_eq(s, SPAN("**"))) {
        to->kind = SEGMENT_REST;
    } else if (s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}') {
        to->kind = SEGMENT_CAPTURE;
        to->text = (struct span){s.p + 1, s.n - 2};
        if (!is_name(to->text))
            return "a captured name has letters, digits and '_', no digit first";
    } else if (span_has(s, "*{}")) {
        return "'*', '**' and '{name}' must be whole segments";
    }
    return NULL;
}

/* The same for its place among the segments before it. */
static const char *segment_place(const struct pattern *p, const struct segment *s)
{
    if (p->count > 0 && p->segments[p->count - 1].kind == SEGMENT_REST)
        return "nothing can follow the segment '**'";
    if (s->kind != SEGMENT_CAPTURE) return NULL;
    if (pattern_capture(p, s->text) >= 0) return "this name is captured twice";
    size_t captures = 0;
    for (size_t i = 0; i < p->count; i++)
        captures += p->segments[i].kind == SEGMENT_CAPTURE;
    return captures < PATTERN_CAPTURES ? NULL : "more than 16 captures";
}

static void complain(char *err, size_t err_size, struct span where, const char *wrong)
{
    if (err_size == 0) return;
    int n = where.n < 64 ? (int)where.n : 64;
    snprintf(err, err_size, "'%.*s': %s", n, n > 0 ? where.p : "", wrong);
}

struct pattern *pattern_new(struct span text, char *err, size_t err_size)
{
    size_t count = 1;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == '.';
    struct pattern *p = mem_zero(sizeof(*p) + count * sizeof(p->segments[0]));
    p->text = mem_dup(text.p, text.n);
    struct span rest = {p->text, text.n};
    while (p->count < count) {
        struct segment *s = &p->segments[p->count];
        const char *wrong = segment_read(s, cut_segment(&rest));
        if (wrong == NULL) wrong = segment_place(p, s);
        if (wrong != NULL) {
            complain(err, err_size, s->text, wrong);
            pattern_free(p);
            return NULL;
        }
        p->count++;
    }
    return p;
}

void pattern_free(struct pattern *p)
{
    if (p == NULL) return;
    free(p->text);
    free(p);
}

bool pattern_match(const struct pattern *p, struct span name, struct pattern_match *match)
{
    struct span rest = name;
    if (match != NULL) match->count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct segment *want = &p->segments[i];
        if (rest.n == 0) return false;
        if (want->kind == SEGMENT_REST) return true;
        struct span have = cut_segment(&rest);
        if (have.n == 0) return false;
        if (want->kind == SEGMENT_LITERAL && !span_eq(have, want->text)) return false;
        if (want->kind == SEGMENT_CAPTURE && match != NULL) match->value[match->count++] = have;
    }
    return rest.n == 0 && (name.n == 0 || name.p[name.n - 1] != '.');
}

int pattern_capture(const struct pattern *p, struct span name)
{
    int index = 0;
    for (size_t i = 0; p != NULL && i < p->count; i++) {
        if (p->segments[i].kind != SEGMENT_CAPTURE) continue;
        if (span_eq(p->segments[i].text, name)) return index;
        index++;
    }
    return -1;
}

/* ---- templates ------------------------------------------------------------------------------ */

struct piece {
    int capture; /* -1: the text itself */
    struct span text;
};

struct template
{
    char *text;
    size_t count;
    struct piece pieces[];
};

/* The next piece of a text that is not empty, and moves behind it; NULL, or what is wrong. */
static const char *piece_read(struct piece *to, struct span *rest, const struct pattern *p)
{
    size_t n = 0;
    if (rest->p[0] != '{') {
        while (n < rest->n && rest->p[n] != '{' && rest->p[n] != '}')
            n++;
        *to = (struct piece){-1, {rest->p, n}};
        if (n < rest->n && rest->p[n] == '}') return "a '}' without its '{' follows";
    } else {
        const char *close = memchr(rest->p, '}', rest->n);
        to->text = *rest;
        if (close == NULL) return "the brace is not closed";
        n = (size_t)(close - rest->p) + 1;
        to->text = (struct span){rest->p + 1, n - 2};
        to->capture = pattern_capture(p, to->text);
        if (to->capture < 0) return "this name is not captured by the pattern";
    }
    *rest = (struct span){rest->p + n, rest->n - n};
    return NULL;
}

struct template *template_new(struct span text, const struct pattern *p, char *err, size_t err_size)
{
    size_t count = 1;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == '{' ? 2 : 0;
    struct template *t = mem_zero(sizeof(*t) + count * sizeof(t->pieces[0]));
    t->text = mem_dup(text.p, text.n);
    struct span rest = {t->text, text.n};
    while (rest.n > 0) {
        struct piece *piece = &t->pieces[t->count];
        const char *wrong = piece_read(piece, &rest, p);
        if (wrong != NULL) {
            complain(err, err_size, piece->text, wrong);
            template_free(t);
            return NULL;
        }
        t->count++;
    }
    return t;
}

void template_free(struct template *t)
{
    if (t == NULL) return;
    free(t->text);
    free(t);
}

void template_write(const struct template *t, const struct pattern_match *m, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct piece *piece = &t->pieces[i];
        if (piece->capture < 0)
            buf_span(out, piece->text);
        else if ((size_t)piece->capture < m->count)
            buf_span(out, m->value[piece->capture]);
    }
}
