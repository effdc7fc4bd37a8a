/* What a client has done wrong: it is told, counted, and ends the session when it is too much. */
#include "base/clock.h"
#include "session/inside.h"

void session_write_error(struct session *s, const struct reply_error *e)
{
    struct reply_error own = *e;

    if (own.code == ERR_BUSY) own.retry_after = RETRY_AFTER_MS / 2 + random_u64() % RETRY_AFTER_MS;
    reply_error(session_writer(s), &own);
}

void session_error(struct session *s, const struct reply_error *e)
{
    if (s->raw) {
        raw_error(s, e);
        return;
    }
    session_write_error(s, e);
    session_reply(s, OUTQ_CAPPED);
    session_count_error(s, e->code);
}

void session_count_error(struct session *s, enum error_code code)
{
    uint64_t now = s->w->now;

    counter_add(&s->w->counters, COUNTER_ERRORS, 1);
    if (code == ERR_BUSY) counter_add(&s->w->counters, COUNTER_REQUESTS_BUSY, 1);
    if (!error_avoidable(code)) return;
    if (s->errors == 0 || now - s->errors_from >= SESSION_ERRORS_MS) {
        s->errors = 0;
        s->errors_from = now;
    }
    if (++s->errors < s->w->spec.config->limits.errors || s->state >= SESSION_CLOSING) return;
    counter_add(&s->w->counters, COUNTER_LIMIT_ERRORS, 1);
    session_end(s, SESSION_CLOSING, CLOSE_ERRORS);
}

void session_limit(struct session *s, const char *option, enum counter which)
{
    if (s->state >= SESSION_CLOSING) return;
    counter_add(&s->w->counters, which, 1);
    s->limit = option;
    session_end(s, SESSION_CLOSING, CLOSE_LIMIT);
}
