/* The log: one line an event on stderr, logfmt or JSON, from any thread.
 *
 *     log_info(log_event("listening"), log_s("address", text), log_i("workers", n));
 *     time=2026-11-21T10:00:00.123Z level=info event=listening address=127.0.0.1:8080 workers=2
 *
 * Values are escaped, so that what a peer sent cannot forge a line. Modules below session/ do not
 * log: they return. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key;
    struct span text; /* p NULL: the number counts */
    int64_t number;
};

static inline struct span log_text(const char *s)
{
    return span_str(s ? s : "");
}

#define log_event(name) ((struct log_field){.key = "event", .text = span_str(name)})
#define log_s(k, v) ((struct log_field){.key = (k), .text = log_text(v)})
#define log_span(k, v) ((struct log_field){.key = (k), .text = (v)})
#define log_i(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v)})

void log_setup(enum log_level least, enum log_format format);
int log_wanted(enum log_level level);
void log_write(enum log_level level, const struct log_field *fields, size_t count);

#define LOG_FIELDS(...)        \
    (const struct log_field[]) \
    {                          \
        __VA_ARGS__            \
    }
#define LOG_AT(level, ...)                                                         \
    do {                                                                           \
        if (log_wanted(level))                                                     \
            log_write(level, LOG_FIELDS(__VA_ARGS__),                              \
                      sizeof(LOG_FIELDS(__VA_ARGS__)) / sizeof(struct log_field)); \
    } while (0)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)

#endif
