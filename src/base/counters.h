/* What a thread counts of its own doing, for /metrics.
 *
 * Each worker and each bus has a set of its own and is the only one that writes to it; anybody may
 * read. So counting is a plain addition without a lock and without a cache line that two threads
 * write, and a reader adds up what the sets say. A count never goes back, except that of a gauge
 * (its sum over all sets is what counts: a set alone may be "below zero"). */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum counter {
    /* edge */
    COUNTER_ACCEPTED,
    COUNTER_DROPPED_CONNECTIONS, /* closed without a word */
    COUNTER_HTTP_2XX,
    COUNTER_HTTP_3XX,
    COUNTER_HTTP_4XX,
    COUNTER_HTTP_5XX,
    COUNTER_HANDSHAKES, /* that became a WebSocket */
    COUNTER_TLS_WHOLE,
    COUNTER_TLS_RESUMED,
    COUNTER_TLS_FAILED,
    /* session */
    COUNTER_SESSIONS,      /* gauge */
    COUNTER_SUBSCRIPTIONS, /* gauge */
    COUNTER_FRAMES_IN,
    COUNTER_BYTES_IN,
    COUNTER_PUBLISHES,
    COUNTER_MESSAGES_OUT,
    COUNTER_FRAMES_OUT,
    COUNTER_BYTES_OUT,
    COUNTER_PACKED_FRAMES_IN, /* compressed messages of clients; */
    COUNTER_PACKED_BYTES_IN,  /* their bytes, */
    COUNTER_PACKED_PLAIN_IN,  /* and what these became */
    COUNTER_PACKED_FRAMES_OUT,
    COUNTER_PACKED_BYTES_OUT,
    COUNTER_PACKED_PLAIN_OUT,
    COUNTER_QUEUE_BYTES, /* gauge */
    COUNTER_DROPPED_SLOW,
    COUNTER_ERRORS,
    COUNTER_REQUESTS_BUSY,
    /* hub */
    COUNTER_BUS_MESSAGES,
    COUNTER_FEEDS,     /* gauge */
    COUNTER_FOLLOWERS, /* gauge */
    COUNTER_GAPS_SLOW,
    COUNTER_GAPS_BUS,
    COUNTER_GAPS_EXPIRED,
    COUNTER_GAPS_LIMIT,
    COUNTER_GAPS_OTHER,
    /* limits: what was refused, closed or dropped because of one */
    COUNTER_LIMIT_CONNECTIONS,
    COUNTER_LIMIT_ADDRESS_CONNECTIONS,
    COUNTER_LIMIT_HANDSHAKES,
    COUNTER_LIMIT_ADDRESS_HANDSHAKES,
    COUNTER_LIMIT_HANDSHAKE_MS,
    COUNTER_LIMIT_HALF_OPEN,
    COUNTER_LIMIT_HEADER_BYTES,
    COUNTER_LIMIT_FRAME_BYTES,
    COUNTER_LIMIT_FRAGMENTS,
    COUNTER_LIMIT_INFLATE_RATIO,
    COUNTER_LIMIT_MESSAGE_MS,
    COUNTER_LIMIT_MESSAGE_BYTES,
    COUNTER_LIMIT_FRAMES,
    COUNTER_LIMIT_BYTES,
    COUNTER_LIMIT_PUBLISHES,
    COUNTER_LIMIT_SUBSCRIBES,
    COUNTER_LIMIT_SUBSCRIPTIONS,
    COUNTER_LIMIT_CHANNEL_BYTES,
    COUNTER_LIMIT_ERRORS,
    COUNTER_LIMIT_QUEUE,
    COUNTER_LIMIT_PONG_MS,
    COUNTER_LIMIT_MEMORY,
    COUNTER_COUNT
};

struct counters {
    atomic_uint_fast64_t of[COUNTER_COUNT];
};

static inline void counter_add(struct counters *c, enum counter which, uint64_t n)
{
    uint64_t now = atomic_load_explicit(&c->of[which], memory_order_relaxed);
    atomic_store_explicit(&c->of[which], now + n, memory_order_relaxed);
}

static inline void counter_sub(struct counters *c, enum counter which, uint64_t n)
{
    counter_add(c, which, 0 - n);
}

static inline uint64_t counter_get(const struct counters *c, enum counter which)
{
    return atomic_load_explicit(&c->of[which], memory_order_relaxed);
}

/* What a count is called outside: rows of one name stand together. */
struct counter_row {
    const char *name;   /* "messages_out_total"; a gauge's has no "_total" */
    const char *labels; /* "reason=\"slow\""; NULL: none */
    const char *help;
};

extern const struct counter_row counter_rows[COUNTER_COUNT];

#endif
