/* The live side of Redis Streams, private to redis_tail.c and redis_reader.c: streams and their
 * feeds (redis_tail.c), connections that read them (redis_reader.c). */
#ifndef BUS_REDIS_READER_H
#define BUS_REDIS_READER_H

#include "base/list.h"
#include "base/map.h"
#include "base/span.h"
#include "bus/redis_entry.h"
#include "bus/redis_info.h"
#include "bus/redis_stream.h"

#define READER_STREAMS 256    /* of one connection */
#define READER_WAKE_MS 5      /* until CLIENT UNBLOCK is tried again, at first */
#define READER_UNWOKEN_MS 250 /* of BLOCK, where CLIENT UNBLOCK is forbidden */

struct reader;
struct wake;
struct redisReply;

struct redis_tail {
    const struct wsbus_host *host;
    const struct redis_config *config;
    struct redis_link *commands;
    struct map streams, feeds; /* by name, by token */
    struct list readers;
    size_t reader_count;
    struct list later; /* streams whose XINFO is to be sent again */
    struct wsbus_timer *tick;
    bool ticking;
    bool unblock_denied; /* said once in the log */
    struct entry_room room;
};

enum stream_state {
    STREAM_ASKED, /* for its end, where it will begin */
    STREAM_ON,    /* one of a reader's */
    STREAM_OVER,  /* freed as soon as nothing holds it */
};

struct tail_stream {
    struct map_node node;
    struct list later;
    struct redis_tail *tail;
    enum stream_state state;
    unsigned holds; /* calls under way, and loops that come back to it */
    struct span name;
    struct stream_call *question; /* where it ends, while that is under way */
    struct list feeds;
    size_t feed_count; /* also of those that are not on the list because they hear something */
    /* STREAM_ON */
    struct reader *reader;
    struct list of_reader;
    struct redis_mark mark;
    bool asked;         /* in the XREAD that is under way, or was */
    bool quiet;         /* nothing came since the last look */
    size_t entry_bytes; /* of its larger entries lately */
    /* Read, but not delivered before it is certain that nothing is missing before. */
    struct list unproven;
    struct redis_entry **held;
    size_t held_count, held_size;
};

struct tail_feed {
    struct map_node node;
    struct list of_stream;
    struct tail_stream *stream;
    uint64_t token;
    struct redis_rule rule;
};

/* A command about one stream, which it holds. */
struct stream_call {
    struct link_call call;
    struct tail_stream *stream;
    struct reader *reader;  /* NULL: not one of a reader's connection */
    struct redis_mark mark; /* of the stream when it was sent */
    void (*take)(struct stream_call *c, const struct redisReply *reply); /* NULL: no reply */
};

enum reader_state {
    READER_DOWN,     /* no connection */
    READER_IDLE,     /* nothing to read */
    READER_WAITING,  /* XREAD BLOCK is under way */
    READER_PROVING,  /* is the entry before the new ones still there? */
    READER_CHECKING, /* XINFO of some streams */
    READER_PROBING,  /* XREAD was refused: which of the streams is to blame? */
    READER_RESTING,  /* XREAD was refused for all of them */
};

struct reader {
    struct list of_tail;
    struct redis_tail *tail;
    struct redis_link *link;
    enum reader_state state;
    struct list streams; /* looked at last, last */
    size_t count;
    struct link_call call; /* XREAD */
    unsigned checks;       /* calls about single streams that are not answered */
    bool culprit;          /* a probe has found one */
    bool stale;            /* the XREAD that is under way lacks a stream */
    uint64_t serial;       /* of XREADs */
    unsigned caution;      /* the more, the smaller the replies that are asked for */
    struct list unproven;  /* streams with entries held */
    struct wake *wake;     /* CLIENT UNBLOCK that is under way */
    uint64_t wake_after;   /* ms until another try */
    struct wsbus_timer *again;
};

static inline struct reader *reader_of(struct list *n)
{
    return LIST_ITEM(n, struct reader, of_tail);
}

/* redis_tail.c */
struct tail_stream *tail_find(struct redis_tail *t, struct span name);
void stream_hold(struct tail_stream *s);
void stream_release(struct tail_stream *s);
/* One entry to all feeds; the place moves on first. What an entry without fields held is told as a
 * gap: it could not be read. The stream may be over after it. */
void stream_deliver(struct tail_stream *s, const struct redis_entry *e);
void stream_gap(struct tail_stream *s, const struct redis_mark *beyond);
/* Ends all feeds with the server's words, or ours. */
void stream_end(struct tail_stream *s, enum wsbus_status status, const char *words);
struct stream_call *stream_call_new(struct tail_stream *s, struct reader *reader,
                                    void (*take)(struct stream_call *c,
                                                 const struct redisReply *reply));
/* A call is freed when it was answered; or at once when the queue is full: -1. */
int stream_send(struct stream_call *c, struct redis_link *link, int argc, const char *const *argv,
                const size_t *lens);
int stream_ask(struct stream_call *c, struct redis_link *link); /* XINFO STREAM */

/* redis_reader.c */
/* A reader with room, perhaps a new one; NULL: config->stream_connections are full. */
struct reader *reader_for(struct redis_tail *t);
void reader_add(struct reader *r, struct tail_stream *s);
void reader_remove(struct tail_stream *s); /* from its reader; what is held is dropped */
void reader_tick(struct reader *r);        /* once a second; may free it */
void reader_read(struct reader *r);        /* sends the next XREAD */
void reader_stop(struct reader *r);
void reader_free(struct reader *r); /* outside of callbacks of its link */

/* redis_wake.c */
/* Its XREAD lacks a stream: sends another one soon. */
void reader_wake(struct reader *r);
/* CLIENT UNBLOCK, which does no harm where nothing waits. */
void reader_rouse(struct reader *r);
void reader_unrouse(struct reader *r); /* it ends: forgets what is under way */

#endif
