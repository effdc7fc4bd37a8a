#include "config/writer.h"

static void begin(struct writer *w, const char *name)
{
    if (w->depth) {
        buf_str(w->out, w->first ? "\n" : ",\n");
        for (unsigned i = 0; i < w->depth; i++)
            buf_str(w->out, "  ");
    }
    w->first = false;
    if (!name) return;
    buf_json(w->out, span_str(name));
    buf_str(w->out, ": ");
}

void writer_open(struct writer *w, const char *name, char bracket)
{
    begin(w, name);
    buf_byte(w->out, bracket);
    w->depth++;
    w->first = true;
}

void writer_close(struct writer *w, char bracket)
{
    bool empty = w->first;
    w->depth--;
    if (!empty) {
        buf_byte(w->out, '\n');
        for (unsigned i = 0; i < w->depth; i++)
            buf_str(w->out, "  ");
    }
    w->first = false;
    buf_byte(w->out, bracket);
    if (!w->depth) buf_byte(w->out, '\n');
}

void writer_string(struct writer *w, const char *name, const char *text)
{
    begin(w, name);
    buf_json(w->out, span_str(text));
}

void writer_int(struct writer *w, const char *name, int64_t number)
{
    begin(w, name);
    buf_i64(w->out, number);
}

void writer_bool(struct writer *w, const char *name, bool value)
{
    begin(w, name);
    buf_str(w->out, value ? "true" : "false");
}
