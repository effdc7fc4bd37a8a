/* Indented JSON, written from front to back into a buffer. */
#ifndef CONFIG_WRITER_H
#define CONFIG_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct writer {
    struct buf *out;
    unsigned depth;
    bool first; /* nothing stands in the innermost container yet */
};

/* `name` is the member's, NULL in a list and for the outermost value. */
void writer_open(struct writer *w, const char *name, char bracket);
void writer_close(struct writer *w, char bracket);
void writer_string(struct writer *w, const char *name, const char *text);
void writer_int(struct writer *w, const char *name, int64_t number);
void writer_bool(struct writer *w, const char *name, bool value);

#endif
