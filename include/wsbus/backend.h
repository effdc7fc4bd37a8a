/* The contract between wsbus and a message bus: the only public header.
 *
 * A backend is one constant `struct wsbus_backend`: a name, what it can do, a table of its
 * options and a handful of operations. Everything a new bus needs is on this page; the in-memory
 * bus (src/bus/memory.c) is the reference and tests/contract runs the same suite against every
 * backend on its real server.
 *
 * THREADS. One instance is made for each bus of the configuration, and each instance has a thread
 * of its own. All operations of an instance are called on that thread, and the sink and the
 * services of `struct wsbus_host` may be called on that thread only; the one exception is
 * host->post(), which brings a call from any other thread onto it. The functions marked "pure"
 * touch no instance and are called from any thread.
 *
 * NEVER BLOCK. No operation waits for the network, a name look-up, a lock that is held across
 * I/O, or the disk. Sockets are watched with host->watch(), time comes from host->timer(),
 * whatever can only be done blocking goes to host->offload().
 *
 * ANSWERS. An operation that takes a `token` is a request, and every request is answered exactly
 * once through the sink function named beside it, also when the bus fails and also when the
 * instance is closed: close() answers everything that is pending first. A sink function may be
 * called from inside the operation or later. Tokens are chosen by the caller, are never 0 and
 * never used twice; they mean nothing to a backend.
 *
 * OWNERSHIP. Pointers in arguments are lent for the time of the call, in both directions: copy
 * what is needed later. The exception is `struct wsbus_message`, which is counted (below).
 *
 * MEMORY. Out of memory on a small allocation ends the process; wsbus_message_new() does so too.
 * Every queue that a backend keeps must have a cap in bytes: beyond it, requests are answered
 * with WSBUS_BUSY.
 */
#ifndef WSBUS_BACKEND_H
#define WSBUS_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what a bus can do -------------------------------------------------------------------- */

/* What is not declared is refused by the hub with `unsupported` and never reaches the backend. */
enum wsbus_cap {
    WSBUS_CAP_LOG = 1 << 0,       /* positions; locate() and read() work */
    WSBUS_CAP_TIME = 1 << 1,      /* locate() by time */
    WSBUS_CAP_KEY = 1 << 2,       /* stores a key with a message */
    WSBUS_CAP_HEADERS = 1 << 3,   /* stores headers */
    WSBUS_CAP_TOMBSTONE = 1 << 4, /* stores a null payload */
    WSBUS_CAP_PARTITION = 1 << 5, /* publish may name a partition (0 needs no capability) */
    WSBUS_CAP_ACK = 1 << 6,       /* published() carries a position, otherwise `receivers` */
    WSBUS_CAP_SNAPSHOT = 1 << 7,  /* reserved: newest message of each key */
};

/* How a request ended. Each is one error code of the wire protocol (named where they differ). */
enum wsbus_status {
    WSBUS_OK = 0,
    WSBUS_BAD_REQUEST,   /* for instance a partition that the topic does not have */
    WSBUS_UNKNOWN_TOPIC, /* `unknown_channel`: the bus says that there is no such topic */
    WSBUS_FORBIDDEN,     /* the bus's own authorisation said no */
    WSBUS_TOO_LARGE,
    WSBUS_UNSUPPORTED,
    WSBUS_BUSY,            /* a queue is full; the same request may be made again later */
    WSBUS_UNAVAILABLE,     /* `bus_unavailable`: not done, and nothing is left behind */
    WSBUS_REFUSED,         /* `bus_error`: the bus refused, `words` are its own */
    WSBUS_OUTCOME_UNKNOWN, /* a publish that was neither acknowledged nor refused in time */
};

/* ---- positions ------------------------------------------------------------------------------ */

/* A place in one partition of a topic's log: "read up to and including this". Positions of one
 * partition with the same epoch are ordered by (hi, lo) as unsigned numbers; different epochs are
 * different logs and cannot be compared. (hi, lo) = (0, 0) is the place before the first message,
 * so the first message has at least (0, 1).
 *   Kafka    hi 0,  lo = offset + 1, epoch 0      text "1042"  (and "-1" before the first)
 *   Redis    hi = milliseconds, lo = sequence      text "1699999999999-0"
 *   memory   hi 0,  lo = 1, 2, …, epoch = topic's  text "<epoch>-17"
 * The text on the wire is "<partition>/<text>"; the partition is handled by the core. */
struct wsbus_pos {
    int32_t partition;
    uint64_t epoch;
    uint64_t hi, lo;
};

/* One position for each partition, sorted by partition, no partition twice. */
struct wsbus_cursor {
    uint32_t count;
    struct wsbus_pos pos[];
};

#define WSBUS_POS_TEXT_MAX 64 /* longest position text of any backend, with the NUL */
#define WSBUS_PARTITIONS_MAX 1024

/* ---- messages ------------------------------------------------------------------------------- */

struct wsbus_header {
    const char *name;
    const char *value;
    uint32_t name_len;
    uint32_t value_len;
};

/* An immutable message with a plain reference count: it lives and dies on the bus thread. All
 * that it points to is inside its own allocation. */
struct wsbus_message {
    uint32_t refs;
    uint32_t header_count;
    struct wsbus_pos pos; /* zero on a bus without a log */
    int64_t ts;           /* milliseconds since the Unix epoch */
    const char *key;      /* NULL: the message has no key (an empty key is not NULL) */
    const char *payload;  /* NULL: a tombstone (an empty payload is not NULL) */
    uint32_t key_len;
    uint32_t payload_len;
    const struct wsbus_header *headers;
    uint32_t size; /* of the whole allocation: what it costs in a ring */
};

/* Copies everything that `from` points to (refs and size are ignored) into one new allocation
 * with one reference. */
struct wsbus_message *wsbus_message_new(const struct wsbus_message *from);
struct wsbus_message *wsbus_message_ref(struct wsbus_message *m);
void wsbus_message_unref(struct wsbus_message *m); /* NULL is fine */

/* ---- options -------------------------------------------------------------------------------- */

enum wsbus_type {
    WSBUS_BOOL, /* true, false */
    WSBUS_INT,  /* whole number in min..max */
    WSBUS_STRING,
    WSBUS_ENUM, /* one of `choices` */
    WSBUS_LIST, /* strings; a lone string is a list of one */
    WSBUS_MAP,  /* object of strings, numbers and booleans (all given as text) */
};

enum wsbus_option_flag {
    WSBUS_RELOAD = 1 << 0, /* may change at SIGHUP */
    WSBUS_SECRET = 1 << 1, /* never printed */
    WSBUS_REQUIRED = 1 << 2,
};

/* One row makes the parser, the WSBUS_… variable, --help, the JSON Schema and the manual. */
struct wsbus_option {
    const char *name; /* as in the file, for instance "history" */
    enum wsbus_type type;
    const char *fallback;       /* default, as text; NULL: none (string NULL, list and map empty) */
    int64_t min, max;           /* WSBUS_INT */
    const char *const *choices; /* WSBUS_ENUM, ends with NULL */
    unsigned flags;
    const char *help; /* one sentence, with the unit */
};

/* The value of one row. Lists are `list[0..count)`; maps alternate name and value. */
struct wsbus_value {
    bool set; /* given by the user (otherwise the default stands here) */
    bool boolean;
    int64_t number;
    const char *string;
    const char *const *list;
    size_t count;
};

/* ---- requests ------------------------------------------------------------------------------- */

/* A topic as a rule of the configuration names it. `rule` holds the values of the backend's
 * rule_options, in the table's order; it lives as long as the process. */
struct wsbus_topic {
    const char *name; /* NUL-terminated too */
    size_t name_len;
    const struct wsbus_value *rule;
};

struct wsbus_publish {
    struct wsbus_topic topic;
    const char *key;     /* NULL: none */
    const char *payload; /* NULL: tombstone */
    uint32_t key_len;
    uint32_t payload_len;
    const struct wsbus_header *headers;
    uint32_t header_count;
    int32_t partition; /* -1: the bus chooses */
};

enum wsbus_place {
    WSBUS_EARLIEST, /* before the oldest message there is */
    WSBUS_LATEST,   /* after the newest */
    WSBUS_AFTER,    /* at `cursor` */
    WSBUS_AT_TIME,  /* before the first message, in the order of the log, with ts >= `time` */
    WSBUS_LAST,     /* before the last `count` messages, counted back from `until` or the end,
                        over all partitions together by ts */
};

/* Where to begin. Messages "counted" are those that have `key`, if one is given. */
struct wsbus_locate {
    struct wsbus_topic topic;
    enum wsbus_place place;
    const struct wsbus_cursor *cursor; /* WSBUS_AFTER; a partition that it lacks: its beginning */
    const struct wsbus_cursor *until;  /* WSBUS_LAST; NULL: the present end */
    int64_t time;
    uint64_t count;
    const char *key; /* NULL: no key filter */
    size_t key_len;
    uint64_t max_messages; /* if more than these would follow (for WSBUS_LAST: would have to be
                              scanned), begin at the newest so many and set `limited`;
                              0: no limit */
};

/* A bounded piece of the past: messages after `from`, not after `until`, in the order of each
 * partition. */
struct wsbus_read {
    struct wsbus_topic topic;
    const struct wsbus_cursor *from;  /* a partition that it lacks: its beginning */
    const struct wsbus_cursor *until; /* NULL: the present end; a partition that it lacks too */
    const char *key;                  /* NULL: all; otherwise only messages with this key */
    size_t key_len;
    uint32_t max_messages; /* stop after so many that match (at least 1) */
    uint32_t max_bytes;    /* stop after the message that reaches this */
    uint32_t max_scan;     /* stop after having looked at so many (at least 1) */
};

/* ---- answers -------------------------------------------------------------------------------- */

struct wsbus_answer {
    enum wsbus_status status;
    const char *words; /* the bus's own words where it refused; or NULL */
};

enum wsbus_lost {
    WSBUS_NOTHING_LOST = 0,
    WSBUS_LOST_EXPIRED, /* messages after the cursor have been trimmed */
    WSBUS_LOST_EPOCH,   /* the cursor is of another log, or beyond the end of this one */
    WSBUS_LOST_UNKNOWN, /* the bus cannot tell (no reason on the wire) */
};

struct wsbus_located {
    const struct wsbus_cursor *cursor; /* every partition of the topic */
    enum wsbus_lost lost;              /* WSBUS_AFTER only; then `cursor` is already corrected:
                                          the oldest place there is for the partitions that lost,
                                          but where single messages were deleted behind the
                                          cursor (WSBUS_LOST_UNKNOWN) the cursor itself */
    bool limited;                      /* `max_messages` was in the way */
};

struct wsbus_chunk {
    struct wsbus_message *const *messages; /* lent: take a reference to keep one */
    size_t count;
    const struct wsbus_cursor *cursor; /* after the last message looked at; every partition */
    bool end;                          /* `until`, or the present end, has been reached */
    enum wsbus_lost lost;              /* messages between `from` and the first were gone already */
    const struct wsbus_cursor *lost_until; /* with `lost`: the last place that was lost */
};

/* ---- what the core gives to a backend ------------------------------------------------------- */

enum wsbus_watch_event { WSBUS_READABLE = 1, WSBUS_WRITABLE = 2 };
enum wsbus_log_level { WSBUS_LOG_ERROR, WSBUS_LOG_WARN, WSBUS_LOG_INFO, WSBUS_LOG_DEBUG };

struct wsbus_watch;
struct wsbus_timer;
struct wsbus_host;

struct wsbus_host {
    const char *bus;  /* the name of this bus in the configuration, for log lines */
    unsigned readers; /* so many read()s for replays and history are made at a time, at most; a
                         backend whose readers are dear keeps no more of them */

    /* The sink. `feed` is the token of subscribe(). After unsubscribed() nothing may come for
     * that feed. */

    /* Answers subscribe(). With WSBUS_OK, `cursor` is the place after which message() will deliver
     * everything (NULL without a log); any other status ends the feed: no unsubscribe() follows.
     * A bus that is down is no reason to answer: wait for it, the hub keeps the deadline. */
    void (*subscribed)(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a,
                       const struct wsbus_cursor *cursor);
    /* One message of a confirmed feed, each exactly once and in the order of its partition. The
     * callee takes over one reference. */
    void (*message)(const struct wsbus_host *h, uint64_t feed, struct wsbus_message *m);
    /* Messages of these feeds are about to be delivered: a hint, on which nothing depends. May be NULL. */
    void (*expect)(const struct wsbus_host *h, const uint64_t *feeds, size_t count);
    /* The feed has moved on without a message (holes of compaction, control records). Also how a
     * partition that was added is made known, even while it is empty. */
    void (*progress)(const struct wsbus_host *h, uint64_t feed, const struct wsbus_pos *pos);
    /* Messages have been lost, or may have been, and cannot be had again. Before the next
     * message(). Without a log `until` is NULL: the connection was lost and is back. With a log it
     * is the last place that was lost, in the partitions that lost something: what was there was
     * trimmed before it could be delivered, and the feed goes on behind it. */
    void (*gap)(const struct wsbus_host *h, uint64_t feed, const struct wsbus_cursor *until);
    /* A confirmed feed has ended by itself (topic deleted, right withdrawn). Nothing follows. */
    void (*ended)(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a);
    /* Answers unsubscribe(). */
    void (*unsubscribed)(const struct wsbus_host *h, uint64_t feed);

    /* Answers publish(). `pos` with WSBUS_CAP_ACK, else `receivers`. */
    void (*published)(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                      const struct wsbus_pos *pos, int64_t receivers);
    /* Answers locate(). `l` is NULL unless the status is WSBUS_OK. */
    void (*located)(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                    const struct wsbus_located *l);
    /* Answers read(). `c` is NULL unless the status is WSBUS_OK. */
    void (*chunk)(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                  const struct wsbus_chunk *c);
    /* The bus went up or down; for the log, health and metrics. A new instance is down. */
    void (*state)(const struct wsbus_host *h, bool up, const char *words);
    /* Answers close(). The instance is gone. */
    void (*closed)(const struct wsbus_host *h);

    /* Services. */

    int64_t (*now)(const struct wsbus_host *h);    /* wall clock, ms since the Unix epoch */
    uint64_t (*ticks)(const struct wsbus_host *h); /* monotonic, ms */
    /* Calls fn(arg, events) while `fd` is ready (level-triggered). events 0 pauses. Returns NULL
     * if the descriptor cannot be watched. Call unwatch before closing the descriptor. */
    struct wsbus_watch *(*watch)(const struct wsbus_host *h, int fd, unsigned events,
                                 void (*fn)(void *arg, unsigned events), void *arg);
    void (*rewatch)(struct wsbus_watch *w, unsigned events);
    void (*unwatch)(struct wsbus_watch *w);
    /* One-shot timer; set again or stop as often as you like. `free` stops it too. */
    struct wsbus_timer *(*timer)(const struct wsbus_host *h, void (*fn)(void *arg), void *arg);
    void (*timer_set)(struct wsbus_timer *t, uint64_t after_ms);
    void (*timer_stop)(struct wsbus_timer *t);
    void (*timer_free)(struct wsbus_timer *t);
    /* Runs work(arg) on a helper thread, then done(arg) on the bus thread. */
    void (*offload)(const struct wsbus_host *h, void (*work)(void *arg), void (*done)(void *arg),
                    void *arg);
    /* From any thread: runs fn(arg) on the bus thread soon. Not after close() was answered. */
    void (*post)(const struct wsbus_host *h, void (*fn)(void *arg), void *arg);
    void (*log)(const struct wsbus_host *h, enum wsbus_log_level level, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
};

/* ---- what a backend gives to the core ------------------------------------------------------- */

struct wsbus_backend {
    const char *name;                        /* `type` in the configuration */
    const char *help;                        /* one sentence */
    const struct wsbus_option *options;      /* of a bus; ends with a row without a name */
    const struct wsbus_option *rule_options; /* of a channel rule; may be NULL */
    /* Its operations answer from inside the call, take no longer than a few microseconds, and of the
     * host's services it uses none but now, ticks, timers and log: then a worker may stand in for the bus
     * thread while that sleeps. "On the bus thread" means this too; never are there two at a time. */
    bool light;

    /* Pure: the capabilities of topics under a rule with these values of rule_options. */
    unsigned (*caps)(const struct wsbus_value *rule);
    /* Pure: the text of a position behind "<partition>/" (not NUL-terminated); 0, or -1 if it is
     * no position. Sets epoch, hi and lo. NULL without WSBUS_CAP_LOG. */
    int (*pos_parse)(const char *text, size_t len, struct wsbus_pos *ret);
    /* Pure: the reverse; writes at most WSBUS_POS_TEXT_MAX bytes, returns the length. */
    size_t (*pos_format)(const struct wsbus_pos *pos, char *buf);
    /* Pure: may be NULL. Looks at the values of `options` before anything starts: 0, or -1 with
     * one sentence in `err`. */
    int (*check)(const struct wsbus_value *values, char *err, size_t err_size);

    /* Makes an instance. Never blocks and never fails because the bus is down: that is a state,
     * which is retried. NULL, with one sentence in `err`, if it can never work. `values` are those
     * of `options`, in order; they and `host` outlive the instance. */
    void *(*open)(const struct wsbus_host *host, const struct wsbus_value *values, char *err,
                  size_t err_size);
    /* Starts a feed: everything published to the topic from now on. -> subscribed() */
    void (*subscribe)(void *bus, uint64_t feed, const struct wsbus_topic *topic);
    /* Ends a feed, also one that is not confirmed yet (then subscribed() need not come any more).
     * -> unsubscribed() */
    void (*unsubscribe)(void *bus, uint64_t feed);
    /* -> published(). Publishes to one topic keep their order for each partition. */
    void (*publish)(void *bus, uint64_t token, const struct wsbus_publish *p);
    /* These are about to be published: a hint, so that waits for memory can be taken together. May be
     * NULL. */
    void (*expect)(void *bus, const struct wsbus_publish *const *list, size_t count);
    /* -> located(). Only with WSBUS_CAP_LOG. */
    void (*locate)(void *bus, uint64_t token, const struct wsbus_locate *l);
    /* -> chunk(). Only with WSBUS_CAP_LOG. Reads are independent of each other: there is nothing
     * to close. A backend for which positioning is dear keeps a reader at the place where a chunk
     * ended, for the next read that begins there. */
    void (*read)(void *bus, uint64_t token, const struct wsbus_read *r);
    /* Calls fn for each figure; names as in Prometheus without prefix. May be NULL. */
    void (*stats)(void *bus, void (*fn)(void *arg, const char *name, int64_t value), void *arg);
    /* Answers all that is pending within `deadline_ms`, frees the instance. -> closed() */
    void (*close)(void *bus, uint64_t deadline_ms);
};

#endif
