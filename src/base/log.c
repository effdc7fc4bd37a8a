#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 8192
#define VALUE_MAX_BYTES 1024 /* six times as much when every byte is escaped: one always fits */

static atomic_int log_least = LOG_INFO;
static atomic_int log_form = LOG_LOGFMT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* Beyond its room a line takes nothing more; the field that did not fit is taken back. */
struct line {
    size_t n;
    bool full;
    char p[LINE_MAX_BYTES];
};

static void line_put(struct line *l, const char *p, size_t n)
{
    if (l->full || n > sizeof(l->p) - 1 - l->n) {
        l->full = true;
        return;
    }
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

static void line_str(struct line *l, const char *s)
{
    line_put(l, s, strlen(s));
}

__attribute__((format(printf, 2, 3))) static void line_printf(struct line *l, const char *fmt, ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    line_str(l, text);
}

/* Length of what may stand as it is at p, 0 if it must be escaped: control characters of either
 * block (a terminal obeys both), quotes, backslashes, the line separators of JavaScript, and what
 * is not UTF-8. */
static size_t plain_length(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') return 0;
    size_t len = utf8_length(p, n);
    if (len == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0) return 0;
    if (len == 3 && memcmp(p, "\xe2\x80", 2) == 0 && ((unsigned char)p[2] & 0xfe) == 0xa8) return 0;
    return len;
}

/* Writes one escape, returns how many bytes of the text it stands for. */
static size_t line_escape(struct line *l, const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    size_t len = utf8_length(p, n);
    switch (c) {
    case '"': line_str(l, "\\\""); return 1;
    case '\\': line_str(l, "\\\\"); return 1;
    case '\n': line_str(l, "\\n"); return 1;
    case '\r': line_str(l, "\\r"); return 1;
    case '\t': line_str(l, "\\t"); return 1;
    default: break;
    }
    if (len == 0)
        line_str(l, "\\ufffd");
    else if (len == 1)
        line_printf(l, "\\u%04x", c);
    else if (len == 2)
        line_printf(l, "\\u%04x", (unsigned char)p[1]);
    else
        line_printf(l, "\\u20%02x", (unsigned char)p[2] - 0x80);
    return len ? len : 1;
}

static void line_quoted(struct line *l, struct span s)
{
    line_put(l, "\"", 1);
    for (size_t i = 0; i < s.n;) {
        size_t len = plain_length(s.p + i, s.n - i);
        if (len > 0) {
            line_put(l, s.p + i, len);
            i += len;
        } else {
            i += line_escape(l, s.p + i, s.n - i);
        }
    }
    line_put(l, "\"", 1);
}

static bool needs_quotes(struct span s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = plain_length(s.p + i, s.n - i);
        if (len == 0 || s.p[i] == ' ' || s.p[i] == '=') return true;
        i += len;
    }
    return s.n == 0;
}

/* Cuts at a character's beginning. */
static struct span shorten(struct span s)
{
    if (s.n <= VALUE_MAX_BYTES) return s;
    s.n = VALUE_MAX_BYTES;
    while (s.n > VALUE_MAX_BYTES - 3 && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
        s.n--;
    return s;
}

static void line_field(struct line *l, const struct log_field *f, bool json)
{
    size_t mark = l->n;
    line_str(l, json ? ",\"" : " ");
    line_str(l, f->key);
    line_str(l, json ? "\":" : "=");
    struct span text = f->text.p ? shorten(f->text) : f->text;
    if (!text.p)
        line_printf(l, "%lld", (long long)f->number);
    else if (json || needs_quotes(text))
        line_quoted(l, text);
    else
        line_put(l, text.p, text.n);
    /* One byte stays for the brace behind the last field. */
    if (l->full || l->n > sizeof(l->p) - 2) {
        l->n = mark;
        l->full = true;
    }
}

static void line_begin(struct line *l, enum log_level level, bool json)
{
    int64_t wall = clock_wall();
    time_t seconds = (time_t)(wall / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    line_str(l, json ? "{\"time\":\"" : "time=");
    line_printf(l, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall % 1000));
    line_str(l, json ? "\",\"level\":\"" : " level=");
    line_str(l, level_names[level]);
    if (json) line_str(l, "\"");
}

static void line_write(const struct line *l)
{
    const char *p = l->p;
    size_t left = l->n;
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, p, left);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        p += n;
        left -= (size_t)n;
    }
}

void log_setup(enum log_level least, enum log_format format)
{
    atomic_store(&log_least, (int)least);
    atomic_store(&log_form, (int)format);
}

int log_wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_least, memory_order_relaxed);
}

void log_write(enum log_level level, const struct log_field *fields, size_t count)
{
    int saved = errno;
    bool json = atomic_load_explicit(&log_form, memory_order_relaxed) == LOG_JSON;
    struct line l;
    l.n = 0;
    l.full = false;
    line_begin(&l, level, json);
    for (size_t i = 0; i < count && !l.full; i++)
        line_field(&l, &fields[i], json);
    if (json) l.p[l.n++] = '}';
    l.p[l.n++] = '\n';
    line_write(&l);
    errno = saved;
}
