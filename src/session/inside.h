/* What the files of session/ share and nobody else sees. All on the worker's thread.
 *
 *   session.c       life of a session, its queue, pings, closing
 *   errors.c        what its client has done wrong
 *   commands.c      frames of the client -> mail to the buses
 *   answers.c       mail of the buses -> frames to the client
 *   subscription.c  the subscriptions of a session
 *   lane.c          what one of them has lost because its client is too slow
 *   errand.c        publishes and history requests that a bus has not answered yet
 *   raw.c           sessions without an envelope (/raw)
 *   stall.c         subscriptions whose sockets take nothing
 *   laggards.c      who is how much behind
 *   ahead.c         what the next messages will look at, into the processor's cache
 *   worker.c        what the sessions of one worker share, inbox, turn, drain */
#ifndef SESSION_INSIDE_H
#define SESSION_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/counters.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "hub/fanout.h"
#include "hub/mail.h"
#include "protocol/reply.h"
#include "protocol/request.h"
#include "session/budget.h"
#include "session/flush.h"
#include "session/laggards.h"
#include "session/outq.h"
#include "session/raw.h"
#include "session/session.h"

#define SESSION_CLOSE_MS 5000u    /* open requests are awaited so long when a session closes */
#define SESSION_ERRORS_MS 10000u  /* window of limits.errors */
#define SESSION_OUT_KEEP 65536u   /* memory that the worker's buffers keep */
#define REPLAY_CHUNK_BYTES 65536u /* what a pull is expected to bring */
#define RETRY_AFTER_MS 1000u      /* of `busy`, on average */
#define HISTORY_WAITING 16u
#define HISTORY_DEFAULT 100u

struct session_worker {
    struct session_worker_spec spec;
    struct inbox **buses;
    unsigned bus_count;
    unsigned posted; /* items, to the buses, in this turn */
    uint64_t now;    /* clock_ticks() of this entry from outside */
    struct outq_limits limits;
    struct budget_rates rates;
    struct counters counters;

    struct fanout fanout;
    struct flush flush;
    struct timer pause;       /* of replays, until there is credit */
    struct timer interval;    /* for which what comes is held (option flush_interval) */
    struct map subscriptions; /* by number */
    struct map names;         /* subscriptions by (session, channel) */
    struct map errands;       /* by number */
    uint64_t last_number;     /* of subscriptions and errands */
    struct map lanes;         /* by number */
    uint32_t last_lane;

    struct inbox_item *mail; /* taken from the inbox, not dealt with yet; */
    unsigned fetched;        /* of so many of it, what they need (ahead.c) */
    bool congested;          /* queues are full because they wait for their turn to be written:
                                  no mail is dealt with before they were. Its inbox fills, and the
                                  buses go on without this worker until it has drained */

    struct laggards laggards;            /* only with a memory ceiling */
    uint64_t yielding;                   /* ticks since it lets others shed first; 0: it does not */
    uint32_t round;                      /* of dealing with mail */
    struct inbox_item *late, **late_end; /* dealt with, but for those who are choked; empty
                                              outside of a round */

    struct list stalling; /* subscriptions to be set aside when the round ends */
    struct heap order;    /* scratch of stalls_take() */
    uint64_t last_turn;   /* of frames in backlogs */

    struct list sessions;
    uint64_t count;
    struct list ending; /* sessions to look at when the turn ends */
    struct list failed; /* to be closed, one after the other: libwebsockets walks over all its
                            connections for each that goes */
    uint64_t failed_at; /* ticks of the last look at these */
    uint32_t failed_credit;
    struct timer failed_due;
    bool draining;
    uint64_t drain_end; /* ticks */

    struct request_parser parser;
    struct buf topic; /* scratch of route_find() */
    struct buf out;   /* the reply that is being written */
    struct slip *ping;
};

/* States are passed in this order, some are skipped, none comes back. */
enum session_state {
    SESSION_OPEN,
    SESSION_DRAINING, /* goaway is queued; all goes on until its time has come */
    SESSION_CLOSING,  /* takes no more frames; open requests and the queue are awaited */
    SESSION_FAILED,   /* beyond help (slow, no pong): closed when the turn ends */
    SESSION_CLOSED,   /* the transport has been told; session_gone() is awaited */
    SESSION_GONE,     /* freed when the turn ends */
};

/* First, together, what each message and each write looks at: of many thousand sessions hardly one is
 * in the processor's cache. */
#define SESSION_OFTEN 320u /* bytes of it */
struct session {
    struct session_worker *w;
    struct transport *t; /* NULL: gone */
    struct flush_node flush;
    uint8_t state;      /* enum session_state */
    bool history_open;  /* a history request is at its bus */
    uint16_t code;      /* enum close_code, from CLOSING on */
    uint32_t choked_in; /* the worker's round in which it choked */
    uint64_t ride_from; /* ticks from which a ping goes along with what is written */
    uint64_t behind;    /* ticks of the first choke since the queue was empty; 0: none */
    struct outq out;
    uint64_t counted;      /* of `out`, in COUNTER_QUEUE_BYTES */
    struct raw *raw;       /* NULL: one of /ws */
    struct list hungry;    /* subscriptions that wait for room to pull */
    struct list stalls;    /* those that are set aside (session/stall.h) */
    struct list histories; /* errands that wait for their turn */
    struct laggard laggard;
    uint32_t below;      /* bytes that the transport had not sent when it choked */
    uint64_t choked_at;  /* ticks of the last write, if it is choked */
    uint32_t pulling;    /* chunks that were asked for */
    uint32_t subscribed; /* subscriptions, without those that are leaving */
    uint32_t leaving;
    uint32_t replays; /* subscriptions that asked for the past and are not live yet */
    uint32_t histories_count;
    uint32_t errors; /* since errors_from */
    uint64_t errors_from;
    struct budget budget;
    const char *limit; /* what it is closed for with CLOSE_LIMIT, constant; or NULL */
    uint64_t alive;    /* ticks of the last sign of life */
    uint64_t ping_due, leave;
    struct timer timer; /* OPEN, DRAINING: ping, its deadline, leave; CLOSING: the end of it */
    struct list node, ending;
    struct list subscriptions;
    struct list errands; /* at their bus */
    char peer[];
};

/* ---- session.c ------------------------------------------------------------------------------- */

/* Queues a frame. `tag` is an enum outq_kind, or that of a lane; `group` is the channel's that it
 * came through, or NULL. */
void session_push(struct session *s, struct slip *slip, uint32_t tag, struct fan_group *group);
/* All that waits for it, bytes; of which may be more in backlogs than in its queue. */
size_t session_waiting(const struct session *s);
void session_weigh(struct session *s); /* that has changed */
/* Of its queue, as long as it is behind. */
struct outq_limits session_limits(const struct session *s);
/* An empty buffer for a reply; session_reply() queues what was written to it. */
struct buf *session_writer(struct session *s);
void session_reply(struct session *s, enum outq_kind kind);
void session_tell(struct session *s, enum outq_kind kind, struct fan_group *group); /* the same */
struct slip *session_slip(struct session *s); /* what was written, to be queued later */
/* Does it still take part (its queue takes frames)? */
bool session_live(const struct session *s);
bool session_room(const struct session *s); /* a quarter of the queue at most is in use */
/* `goaway`; the session closes at `due` (ticks). */
void session_goaway(struct session *s, uint64_t retry_after, uint64_t due);
/* A request was answered or the queue moved: may be that a closing session is done. */
void session_progress(struct session *s);
/* Writes to the socket, at most two gathers. */
void session_flush(struct session *s);
/* There is no room for what may not be lost. */
void session_slow(struct session *s);
/* The process is at its memory ceiling, and this one is the most behind. */
void session_shed(struct session *s);
/* The end of the turn: closes or frees what is to be closed or freed. */
void session_settle(struct session *s);
/* Answers what is open, writes what the socket takes, closes. */
void session_cut(struct session *s, enum close_code code);

/* Into a later state, if it is not there yet; nothing is freed now. */
void session_end(struct session *s, enum session_state next, enum close_code code);

/* ---- heartbeat.c ------------------------------------------------------------------------------ */

/* Pings, signs of life, and the session's one timer: its state says what that is for. A ping whose time
 * is near goes along with what is written anyway: it costs a send() otherwise, as a message does. */
void heartbeat_init(struct session *s);
void heartbeat_begin(struct session *s);
void heartbeat_arm(struct session *s);  /* anew, after what it is for has changed */
void heartbeat_ride(struct session *s); /* from ride_from on, before its queue is written */

/* ---- errors.c --------------------------------------------------------------------------------- */

/* The error in session_writer(); `busy` with when to ask again, which differs so that those who were
 * refused together do not come back together. */
void session_write_error(struct session *s, const struct reply_error *e);
/* Replies with an error and counts it, if it is one that the client could have avoided. */
void session_error(struct session *s, const struct reply_error *e);
void session_count_error(struct session *s, enum error_code code);
/* Counts `which` and closes with CLOSE_LIMIT, naming the option. */
void session_limit(struct session *s, const char *option, enum counter which);

/* ---- commands.c, answers.c ------------------------------------------------------------------- */

void session_command(struct session *s, struct span text);
void session_request(struct session *s, const struct request *r); /* a frame that was read */
/* Frees the item. False, with a message: it is not done yet, for sessions whose transports are
 * choked; session_answer_late() does the rest, before any other mail than messages. */
bool session_answer(struct session_worker *w, struct inbox_item *item);
void session_answer_late(struct session_worker *w, struct inbox_item *item);
/* A message, of which more of the same channel may follow: the socket would get them in one write
 * anyway, so each session gets them in one go, and what it costs to queue and write them does not
 * grow with their number. How many items this was, which are still the caller's (0: none; then it is
 * for session_answer()); ret_others as session_answer(). */
unsigned session_answer_row(struct session_worker *w, struct inbox_item *item, bool *ret_others);

/* ---- raw.c: for sessions with `raw` ----------------------------------------------------------- */

/* A frame of the hub for sessions of /raw: read when the first of them meets it. */
enum raw_kind { RAW_UNREAD, RAW_NOTHING, RAW_PAYLOAD, RAW_GAP };
struct raw_form {
    enum raw_kind kind;
    struct slip *slip;   /* RAW_PAYLOAD */
    struct slip *binary; /* the same for those who want all in this form; made when one comes */
    struct span reason;  /* RAW_GAP; in the frame */
};
struct raw_way {
    enum outq_kind kind;
    struct fan_group *group;
};

void raw_begin(struct session *s);
void raw_message(struct session *s, struct span payload);
void raw_push(struct session *s, struct raw_form *form, struct slip *slip,
              const struct raw_way *way);
/* Something was answered: a client that leaves may have waited for that. */
void raw_progress(struct session *s);
void raw_form_done(struct raw_form *form);
/* What a frame of /ws would have said: these end the session. */
void raw_error(struct session *s, const struct reply_error *e);
void raw_subscribed(struct session *s, enum recovered recovered, const char *reason);
void raw_left(struct session *s, struct span reason);
const char *raw_reason(const struct session *s); /* of the close; NULL: what is usual */

/* ---- ahead.c ---------------------------------------------------------------------------------- */

/* What the mail from `item` on will look at is asked of memory now, so that dealing with one does not
 * wait for it, and then the next for its own. Of how many items. */
unsigned ahead_fetch(struct session_worker *w, const struct inbox_item *item);

/* ---- worker.c -------------------------------------------------------------------------------- */

/* While draining: a random part of what is left of the window, ms. */
uint64_t worker_retry_after(const struct session_worker *w);
uint64_t worker_number(struct session_worker *w);
bool worker_post(struct session_worker *w, unsigned bus, struct inbox_item *item)
    __attribute__((warn_unused_result));
/* MAIL_UNSUBSCRIBE and MAIL_PULL are never refused. */
void worker_tell(struct session_worker *w, unsigned bus, struct mail_leave *mail);

#endif
