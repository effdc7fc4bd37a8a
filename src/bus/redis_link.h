/* One connection to a Redis server that keeps itself alive: resolves the name (off the thread),
 * connects, speaks TLS, logs in, selects the database, and after a loss comes back by itself with
 * jittered back-off.
 *
 * Of hiredis it uses the reader (redis_reply.h) and what formats a command; socket and TLS are our
 * own (redis_dial.h, redis_wire.h), so that TLS checks names and works with every version, and the asynchronous
 * layer is not used (0.14 ends the process through an assertion: hiredis issues 1036, 1039). RESP2
 * only, which every version speaks.
 *
 * COMMANDS are formatted when they are given and wait in `waiting`; when the output buffer is empty
 * the next batch of at most 64 KB goes into it and counts as written from then on. So it is always
 * known which commands can not have reached the server: those are kept over a loss or taken back,
 * as the owner wishes, and a command that was written is never written again. Replies come in the
 * order of the commands; what comes unasked on a connection in subscribe mode goes to ops->push.
 *
 * LIFE SIGNS. Without a byte from the server for half of `timeout` a PING is sent, without one for
 * all of `timeout` the connection is dead: that is how a frozen server is found. A blocking command
 * must therefore block for less than half of `timeout`.
 *
 * WORDS. A failed attempt is logged when its words differ from those of the last one; the loss of a
 * connection that was ready is left to the owner, who hears of it by `down`.
 *
 * Everything on the bus thread. No callback is called from inside link_new(), link_start() or
 * link_send(). Callbacks may call link_send() and link_stop(), but not link_free(): a link is freed
 * outside of its own callbacks. */
#ifndef BUS_REDIS_LINK_H
#define BUS_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/list.h"
#include "bus/redis_config.h"

struct redisReply;
struct redis_link;

enum link_state {
    LINK_STOPPED,    /* not started, or stopped for good */
    LINK_CONNECTING, /* name look-up, TCP or unix socket, TLS */
    LINK_GREETING,   /* AUTH, SELECT, CLIENT SETNAME, and what the owner adds */
    LINK_READY,
    LINK_WAITING, /* for the next attempt */
};

enum call_fate {
    CALL_ANSWERED, /* with `reply`, which may be an error of the server */
    CALL_UNSENT,   /* it has not been written: the server has not seen it */
    CALL_LOST,     /* written, and the connection ended before the reply */
};

/* A command that waits for its reply. To be embedded; belongs to the owner again when `done` is
 * called, exactly once for each link_send() that returned 0. `reply` is lent. */
struct link_call {
    struct list node;
    void (*done)(struct link_call *c, enum call_fate fate, const struct redisReply *reply);
    char *text; /* formatted; the link's */
    size_t len;
    unsigned replies; /* that are expected; 0 is 1, more is for SUBSCRIBE of several (see `push`) */
    bool keep;        /* if unsent, stay in the queue over a loss */
    bool sent;        /* the link's: it may have reached the server */
};

struct link_ops {
    /* The connection is ready: the owner restores what it needs. Calls that were kept are written
     * after what is sent from inside. */
    void (*up)(void *owner);
    /* It was ready and is lost, or an attempt has failed. After the calls were settled. `words` is
     * one sentence: what and where. Called once for each loss and each failed attempt. */
    void (*down)(void *owner, const char *words);
    /* A reply that may belong to no call. May be NULL: then such a one is a breach of protocol, and
     * the connection is lost. With it every reply but an error comes here first: return true if `r` is
     * an event (message, and the like), false if it is one of the replies to a call. `done` comes
     * with the last of a call's replies, or with the error that stands for all of them. */
    bool (*push)(void *owner, const struct redisReply *r);
    /* All that has come in one go was handed over. May be NULL. */
    void (*pushed)(void *owner);
};

struct link_spec {
    const struct wsbus_host *host;
    const struct redis_config *config;
    const char *name; /* of its purpose, for the log and CLIENT SETNAME: "commands" */
    const struct link_ops *ops;
    void *owner;
    size_t queue_bytes; /* cap of what waits and of what is written and not answered */
    bool want_id;       /* ask for CLIENT ID in the greeting: link_client_id() */
    bool patient;       /* what comes can wait: little of it for each turn of the loop */
};

struct redis_link *link_new(const struct link_spec *spec);
/* After link_stop(), outside of its callbacks. Waits for nothing: a name look-up that is under way
 * finds the link gone. */
void link_free(struct redis_link *l);

void link_start(struct redis_link *l);
/* Ends the connection for good and settles all calls (CALL_UNSENT, CALL_LOST) before it returns. */
void link_stop(struct redis_link *l);
/* Gives a connection up as lost and makes a new one, at once the first time; from the loop. Nothing
 * happens while there is none. */
void link_restart(struct redis_link *l, const char *why);
/* Somebody knows that the server is back: a link that waits for its next attempt makes it soon. */
void link_hasten(struct redis_link *l);

enum link_state link_state(const struct redis_link *l);
bool link_ready(const struct redis_link *l);
long long link_client_id(const struct redis_link *l); /* 0: not known */

/* Gives a command. 0, or -1 if the queue is full (nothing was taken). Also while the link is not
 * ready: it waits if c->keep, otherwise `done` is called with CALL_UNSENT from the loop. */
int link_send(struct redis_link *l, struct link_call *c, int argc, const char *const *argv,
              const size_t *argv_len);
/* Takes back a call that was not written: true, and `done` is not called. */
bool link_cancel(struct redis_link *l, struct link_call *c);
size_t link_queued(const struct redis_link *l); /* bytes that wait or are not answered */

struct link_figures {
    uint64_t commands;    /* given by link_send() */
    uint64_t connections; /* that became ready */
};
struct link_figures link_figures(const struct redis_link *l);

#endif
