#include "edge/negotiate.h"

#include <string.h>
#include <strings.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    while (s.n > 0 && is_space(s.p[0]))
        s = span_of(s.p + 1, s.n - 1);
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Takes off what stands before the separator, without the spaces around it. */
static struct span take(struct span *rest, char separator)
{
    const char *end = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct span word = span_of(rest->p, n);
    size_t gone = n + (end != NULL);
    *rest = span_of(rest->p + gone, rest->n - gone);
    return trim(word);
}

static bool word_is(struct span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* The parameters of one coding: only `q`, and that above zero. */
static bool wanted(struct span parameters)
{
    while (parameters.n > 0) {
        struct span p = take(&parameters, ';');
        if (p.n < 3 || (p.p[0] != 'q' && p.p[0] != 'Q') || p.p[1] != '=') return false;
        struct span q = span_of(p.p + 2, p.n - 2);
        bool number = (q.p[0] == '0' || q.p[0] == '1') && (q.n == 1 || q.p[1] == '.');
        bool zero = true;
        for (size_t i = 0; i < q.n; i++) {
            if (i != 1 && (q.p[i] < '0' || q.p[i] > '9')) number = false;
            if (q.p[i] >= '1' && q.p[i] <= '9') zero = false;
        }
        if (!number || zero) return false;
    }
    return true;
}

bool negotiate_gzip(struct span accept)
{
    bool any = false;
    while (accept.n > 0) {
        struct span rest = take(&accept, ',');
        struct span coding = take(&rest, ';');
        if (word_is(coding, "gzip") || word_is(coding, "x-gzip")) return wanted(rest);
        if (word_is(coding, "*")) any = wanted(rest);
    }
    return any;
}

bool negotiate_same(struct span none_match, const char *tag)
{
    struct span rest = trim(none_match), want = span_str(tag);
    if (word_is(rest, "*")) return true;
    /* A tag may have commas inside, so this goes from quote to quote. A W/ in front means nothing
     * here: the comparison is the weak one. */
    while (rest.n > 0) {
        const char *open = memchr(rest.p, '"', rest.n);
        if (!open) return false;
        size_t left = rest.n - (size_t)(open - rest.p);
        const char *close = memchr(open + 1, '"', left - 1);
        if (!close) return false;
        struct span one = span_of(open, (size_t)(close - open) + 1);
        if (span_eq(one, want)) return true;
        rest = span_of(close + 1, left - one.n);
    }
    return false;
}
