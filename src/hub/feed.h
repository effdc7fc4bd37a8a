/* Feeds: what one bus's thread keeps of the topics that somebody follows.
 *
 *     STOPPED ──first subscriber──▶ STARTING ──confirmed──▶ LIVE ──last left, linger──▶ STOPPING
 *        ▲                             │ refused                                            │
 *        └─────────────────────────────┴──────────────────────confirmed─────────────────────┘
 *
 * All of this header is private to hub/ and runs on the bus thread. A feed has one upstream
 * subscription for any number of followers. A follower (one subscription of one client) waits
 * while its feed is STARTING, is then a member at once (`from` now) or replays: it is given chunks
 * as its worker pulls them, from the ring where that is complete and from the backend otherwise,
 * until the rest of the ring fits into one; the rest and its membership are posted in one step.
 * Since a worker's inbox is FIFO, what was posted to a channel before that step is not for the
 * newcomer and what is posted later is: no gap, no duplicate, nothing to compare.
 *
 * A worker whose inbox is full is *behind* from the message that it refused: nothing live is
 * posted to it until it has drained; then it is brought forward from ring or backend. For
 * followers on that worker the feed ends where the worker stands (feed_front()). */
#ifndef HUB_FEED_H
#define HUB_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/counters.h"
#include "base/inbox.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "bus/thread.h"
#include "config/config.h"
#include "hub/mail.h"
#include "hub/pace.h"
#include "hub/reads.h"
#include "hub/ring.h"

#define CHUNK_BYTES 65536u
#define CHUNK_BYTES_LIVE 16384u /* that are read and encoded beside live messages: a short turn */
#define CHUNK_MESSAGES 1024u
#define CHUNK_SCAN 8192u
#define READ_RETRY 500u /* ms until a read is tried again that found no bus */
#define HISTORY_PAGE_BYTES 262144u
#define POSITION_INTERVAL 60000u /* ms between two `position` frames of a channel, at least */

/* A channel that a message goes to, and its frame of it. */
struct target {
    struct feed_channel *channel;
    struct frame *frame;
};

/* One bus of the configuration: the handler of its thread. */
struct hub_bus {
    const struct config *config;
    const struct wsbus_backend *backend;
    struct bus_thread *thread;
    struct inbox *const *workers;
    unsigned worker_count;
    struct map feeds;           /* struct feed by topic */
    struct map tokens;          /* struct pending by token */
    struct map tokens_of_feeds; /* struct feed by the token of its upstream subscription */
    struct map followers;       /* by (worker, id) */
    struct list late;           /* feeds that are behind on some worker, or were lately */
    struct list pulls;          /* followers whose place is to be found, or their next chunk */
    struct pace pace;           /* of all that is done for the past */
    struct timer pause;         /* until the next of these */
    uint32_t replays;           /* followers that replay, or look for their place */
    struct reads reads;         /* of replays and history */
    struct list pieces;         /* that several replays share, oldest first: hub/pass.h */
    size_t piece_bytes;         /* of them */
    struct timer forget;        /* them */
    uint64_t given, own;        /* pieces that replays had from others' reads, from their own */
    uint64_t last_number;       /* of tokens and channels; the bus in its highest bits */
    unsigned posted;            /* live messages, to the workers */
    unsigned fetched;           /* of so many items of the inbox, what they need (ahead.c) */
    struct buf text, scratch;   /* a frame's payload; anything else */
    struct buf run;             /* several frames */
    struct target *targets;     /* of the message in hand */
    size_t target_size;
    atomic_bool up;
    struct counters counters;
};

enum feed_state { FEED_STOPPED, FEED_STARTING, FEED_LIVE, FEED_STOPPING };

/* A worker's place in a feed. */
struct feed_worker {
    struct wsbus_cursor *behind; /* NULL: at the feed's position */
    bool behind_blind;           /* the same on a bus without a log */
    bool reading;                /* a read of the backend is under way to bring it forward */
};

struct feed {
    struct map_node by_topic;
    char *topic;
    size_t topic_len;
    unsigned caps;
    const struct config_rule *rule;
    uint32_t users; /* followers in any state */
    struct list followers;
    struct list waiting;         /* followers, while STARTING or STOPPING */
    struct list late;            /* of the bus */
    struct list reading, pieces; /* struct piece: under way, and kept; oldest first */
    uint32_t piece_count;        /* of those that are kept */
    uint32_t replays;            /* followers that replay, or look for their place */
    struct map named;            /* all channels, by name */
    struct list order;           /* the same, longest ago first that it was looked whether a
                                      `position` is due */
    uint32_t round;              /* that are still to be looked at in this round */
    struct timer linger, tick, retry;
    /* Together, what each message looks at: of many thousand feeds hardly one is in the processor's
     * cache. */
    struct map keyed; /* channels with a key, by key */
    struct ring ring;
    struct map_node by_token;
    uint64_t token; /* of the upstream subscription */
    enum feed_state state;
    struct hub_bus *bus;
    struct list whole;             /* channels without a key */
    struct list parked;            /* replays that stand ahead of their front */
    struct wsbus_cursor *position; /* the newest that was delivered; NULL without a log */
    uint64_t delivered;            /* messages and progress so far */
    struct feed_worker workers[];
};

/* A channel that maps to this topic (all of it, or one key) and is followed. */
struct feed_channel {
    struct map_node by_name;
    struct list order;
    struct feed *feed;
    uint32_t followers; /* in any state */
    uint32_t replays;   /* followers that replay, or look for their place */
    /* What each message looks at. */
    struct map_node by_key;
    struct list whole;
    uint64_t number;       /* what the workers know it by */
    struct span name, key; /* in the same allocation */
    uint64_t told;         /* feed.delivered when its members last heard of a position */
    uint32_t members;      /* live, on all workers */
    bool history;          /* false: the rule hides positions from clients */
    uint32_t on_worker[];  /* members on each worker */
};

enum follower_state {
    FOLLOWER_WAITING,  /* for the feed */
    FOLLOWER_LOCATING, /* for its starting place */
    FOLLOWER_REPLAY,
    FOLLOWER_LIVE,
};

struct follower {
    struct map_node by_id;
    struct list link;     /* feed.waiting or feed.parked */
    struct list of_feed;  /* feed.followers */
    struct list pull;     /* bus.pulls, or piece.waiting */
    struct piece *awaits; /* it is on that piece's list */
    struct hub_bus *bus;
    struct feed *feed;
    struct feed_channel *channel;
    enum follower_state state;
    unsigned worker;
    uint64_t id;
    struct mail_ask *ask;        /* until it is answered */
    bool leaving;                /* unsubscribed before it was answered */
    bool refused, limited;       /* `answer` is a refusal; its gap follows it */
    bool silent;                 /* asked for no past, so hears no `live` */
    struct inbox_item *answer;   /* is ready, and waits until `before` has left */
    struct follower *before;     /* of the same client and channel, not answered yet; or NULL */
    struct follower *behind;     /* whose `before` this one is */
    struct wsbus_cursor *at;     /* replay: everything up to here has been posted */
    struct wsbus_message *first; /* replay: the message to begin with, older than `at` */
    bool waited;                 /* replay: in vain, for what another one was reading */
    struct pending *pending;
    struct timer deadline; /* until it is answered; later: when to read again */
};

/* A request to the backend that is not answered yet. */
enum pending_kind { PENDING_PUBLISH, PENDING_FOLLOWER, PENDING_HISTORY, PENDING_CATCHUP };

struct pending {
    struct map_node node;
    uint64_t token;
    enum pending_kind kind;
    unsigned worker;            /* publish, catch-up */
    uint64_t id;                /* publish: of the request; catch-up: the feed's token */
    struct follower *follower;  /* NULL: it has left */
    struct wsbus_cursor *until; /* where a read ends; NULL: not one of a replay or a catch-up */
    struct history *history;
    struct piece *piece; /* that a replay reads */
    struct list line;    /* reads.waiting */
    bool counted;        /* a read of bus.reads that the backend has */
    bool placed;         /* publish: with its position */
};

/* ahead.c: what messages of these feeds will look at, and what the mail from `item` on, is asked of memory
 * now, for all of them at once. The latter: of how many items; only with an instance. */
void feeds_fetch(struct hub_bus *b, const uint64_t *tokens, size_t count);
unsigned publishes_fetch(struct hub_bus *b, const struct inbox_item *item);

/* bus.c: numbers, mail, pending requests */
uint64_t bus_number(struct hub_bus *b);
void *bus_instance(struct hub_bus *b); /* NULL: closing, no operation may be called any more */
struct timers *bus_timers(struct hub_bus *b);
/* Sets a timer of the bus thread `after` ms from now. */
void bus_timer(struct hub_bus *b, struct timer *t, uint64_t after);
void bus_mail(struct hub_bus *b, unsigned worker, struct inbox_item *item); /* a reply: never
                                                                                refused */
struct pending *pending_new(struct hub_bus *b, enum pending_kind kind);
struct pending *pending_take(struct hub_bus *b, uint64_t token); /* NULL: not known */
void pending_free(struct hub_bus *b, struct pending *p);
/* Moves a cursor on by what a chunk has looked at of a read up to `until`. */
void chunk_advance(struct wsbus_cursor **at, const struct wsbus_chunk *c,
                   const struct wsbus_cursor *until);
/* Requests to the backend. It may answer from inside the call: whoever asked may be gone after it. */
void bus_subscribe(struct hub_bus *b, uint64_t token, struct wsbus_topic topic);
void bus_locate(struct hub_bus *b, uint64_t token, struct wsbus_locate l);
void bus_read(struct hub_bus *b, uint64_t token, struct wsbus_read r);
void bus_turn(struct hub_bus *b);  /* somebody is on `pulls`: has its turn soon */
void bus_pause(struct hub_bus *b); /* replays and reads wait for credit: they are looked at again */
const char *lost_reason(enum wsbus_lost lost);
/* Where a loss behind `after` ends, in every partition: who asks for what lies between must not get more
 * of those that lost nothing. To be freed. */
struct wsbus_cursor *lost_end(const struct wsbus_cursor *after, const struct wsbus_cursor *until);
/* So many `gap` frames go to clients. */
void bus_count_gaps(struct hub_bus *b, const char *reason, uint64_t n);

/* feed.c: states */
struct feed *feed_get(struct hub_bus *b, const struct mail_ask *ask); /* finds or makes */
struct feed *feed_by_token(struct hub_bus *b, uint64_t token);
void feed_wake(struct feed *f);    /* somebody waits: start it if it does not run */
void feed_release(struct feed *f); /* a follower less: linger, or free it */
void feed_on_subscribed(struct feed *f, const struct wsbus_answer *a,
                        const struct wsbus_cursor *cursor);
void feed_on_unsubscribed(struct feed *f);
void feed_on_ended(struct feed *f, const struct wsbus_answer *a);
void feed_abandon(struct feed *f); /* the bus closes: refuse who waits, free all */
struct wsbus_topic feed_topic(const struct feed *f);

/* deliver.c: the live path */
void feed_on_message(struct feed *f, struct wsbus_message *m);
void feed_on_progress(struct feed *f, const struct wsbus_pos *pos);
void feed_on_gap(struct feed *f, const struct wsbus_cursor *until);
struct frame *feed_frame(struct feed *f, const struct feed_channel *c,
                         const struct wsbus_message *m);
/* The text of that frame, in bus.text. */
void feed_text(struct feed *f, const struct feed_channel *c, const struct wsbus_message *m);
void feed_catch_up(struct feed *f, unsigned worker);
/* The worker has room again: all feeds that are behind on it. */
void feeds_catch_up(struct hub_bus *b, unsigned worker);
void feed_on_catch_up(struct feed *f, const struct pending *p, const struct wsbus_answer *a,
                      const struct wsbus_chunk *c);
/* Where the feed stands for followers on this worker. NULL without a log. */
const struct wsbus_cursor *feed_front(const struct feed *f, unsigned worker);
void feed_unpark(struct feed *f);

/* channel.c */
struct feed_channel *channel_get(struct feed *f, const struct mail_ask *ask);
void channel_release(struct feed_channel *c); /* a follower less */
void channel_join(struct feed_channel *c, unsigned worker);
void channel_leave(struct feed_channel *c, unsigned worker);
void channel_tell(struct feed_channel *c, unsigned worker, struct span text); /* to all members
                                                                                there */
/* `position` where it is due, in some of the channels: many are told of in many turns of the loop.
 * False: that was all, for POSITION_INTERVAL. */
bool channel_positions(struct feed *f);

/* follower.c: from the request to membership or replay */
void follower_new(struct hub_bus *b, struct mail_ask *ask); /* takes the item over */
struct follower *follower_find(struct hub_bus *b, unsigned worker, uint64_t id);
void follower_admit(struct follower *s);  /* the feed is LIVE */
void follower_locate(struct follower *s); /* it is its turn to look for its place */
void follower_on_located(struct follower *s, const struct wsbus_answer *a,
                         const struct wsbus_located *l);
void follower_refuse(struct follower *s, enum error_code code, const char *words); /* frees */
void follower_end(struct follower *s, const char *reason); /* the bus ended it; frees */
void follower_leave(struct follower *s, bool answer);
void follower_live(struct follower *s); /* becomes a member */
void follower_free(struct follower *s);

/* replay.c: chunks */
void replay_pull(struct follower *s);
/* The answer to the read of a piece, for whoever asked and whoever waits. */
void replay_on_chunk(struct pending *p, const struct wsbus_answer *a, const struct wsbus_chunk *c);
/* It is its turn to be read. False: nothing was asked, because what it is to bring has come in another
 * piece meanwhile, or nobody is there any more; all who wait for it pull again. */
bool replay_read(struct pending *p);
/* Somebody who wanted it has left: if it has not been asked for and nobody else wants it, it goes. */
void replay_unwanted(struct piece *piece);
void replay_gap(struct follower *s, const char *reason, const struct wsbus_cursor *after,
                const struct wsbus_cursor *until);

/* history.c */
void history_new(struct hub_bus *b, struct mail_ask *ask); /* takes the item over */
void history_on_located(struct history *h, const struct wsbus_answer *a,
                        const struct wsbus_located *l);
void history_on_chunk(struct history *h, const struct wsbus_answer *a, const struct wsbus_chunk *c);
bool history_read(struct pending *p); /* it is its turn. False: nobody wants it any more */
void history_abandon(struct history *h);

#endif
