/* Patterns over dotted names, as in `match` of a channel rule and in access lists.
 *
 *     quotes.*        one segment            chat.**        last only: one or more segments
 *     quotes.{symbol} one segment, captured  orders.new     itself
 *
 * `*`, `**` and `{name}` are whole segments. {name} is [A-Za-z_][A-Za-z0-9_]*, none twice. Pure;
 * matching takes time linear in the name and does not allocate. */
#ifndef BASE_PATTERN_H
#define BASE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/span.h"

#define PATTERN_CAPTURES 16

struct pattern; /* compiled */

struct pattern_match {
    struct span value[PATTERN_CAPTURES]; /* in the order of pattern_capture() */
    size_t count;
};

/* NULL with one sentence in `err` if it is no pattern. */
struct pattern *pattern_new(struct span text, char *err, size_t err_size);
void pattern_free(struct pattern *p);
/* `match` may be NULL where captures are not wanted. */
bool pattern_match(const struct pattern *p, struct span name, struct pattern_match *match);
/* The index of a capture, or -1. */
int pattern_capture(const struct pattern *p, struct span name);

/* Text with {name} in it: "prices-{symbol}". NULL with one sentence in `err` if a brace is not
 * closed or a name is not captured by `p`. */
struct template;
struct template *template_new(struct span text, const struct pattern *p, char *err,
                              size_t err_size);
void template_free(struct template *t);
void template_write(const struct template *t, const struct pattern_match *m, struct buf *out);

#endif
