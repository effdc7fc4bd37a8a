/* What workers and bus threads say to each other: the items of their inboxes.
 *
 * Every item is one heap allocation that the receiver frees with mail_free(). Spans point into
 * the item itself. A worker is named by its index, a subscription and a request by numbers that
 * the worker never uses twice; a channel by a number that no bus uses twice. Nothing is
 * ever matched by name, so an answer that comes late can only find what it belongs to. */
#ifndef HUB_MAIL_H
#define HUB_MAIL_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/frame.h"
#include "base/inbox.h"
#include "base/span.h"
#include "protocol/codes.h"
#include "protocol/reply.h"
#include "protocol/request.h"

enum mail_kind {
    /* worker -> bus */
    MAIL_SUBSCRIBE,   /* struct mail_ask -> MAIL_SUBSCRIBED or MAIL_REFUSED */
    MAIL_UNSUBSCRIBE, /* struct mail_leave -> MAIL_LEFT if it asks for an answer */
    MAIL_PULL,        /* struct mail_leave: room for one more chunk of a replay -> MAIL_CHUNK */
    MAIL_HISTORY,     /* struct mail_ask -> MAIL_HISTORY_DONE */
    MAIL_PUBLISH,     /* struct mail_publish -> MAIL_PUBLISHED */
    MAIL_DRAINED,     /* struct mail_leave: this worker's inbox has room again */
    MAIL_FIGURES,     /* struct mail_figures: it comes back, filled in, to where it says */
    /* bus -> worker */
    MAIL_SUBSCRIBED,
    MAIL_REFUSED, /* the answer to MAIL_SUBSCRIBE: no */
    MAIL_LIVE,    /* struct mail_frame: for all members of a channel */
    MAIL_FRAME,   /* struct mail_frame: for one subscription (replay, gap, live) */
    MAIL_CHUNK,   /* struct mail_chunk: the chunk that was pulled ends here */
    MAIL_LEFT,    /* struct mail_left: the answer to MAIL_UNSUBSCRIBE, or the bus's own doing */
    MAIL_HISTORY_DONE, /* struct mail_done */
    MAIL_PUBLISHED,    /* struct mail_done */
};

/* MAIL_SUBSCRIBE and MAIL_HISTORY. */
struct mail_ask {
    struct inbox_item item;
    unsigned worker;
    uint64_t id; /* of the subscription, or of the request */
    uint64_t
        before; /* subscription of the same client and channel that is answered first; 0: none */
    const struct config_rule *rule;
    unsigned caps;
    struct span channel, topic; /* topic is NUL-terminated */
    struct span key;            /* p NULL: the whole topic */
    enum from_kind from;
    int64_t number;
    struct wsbus_cursor *cursor; /* owned by the item; from after */
    struct wsbus_cursor *until;  /* owned by the item; history */
    uint32_t limit;              /* history */
};

struct mail_leave {
    struct inbox_item item;
    unsigned worker;
    uint64_t id; /* of the subscription */
    bool answer;
};

struct mail_publish {
    struct inbox_item item;
    unsigned worker;
    uint64_t id;
    struct wsbus_publish publish; /* all it points to is in the item */
    bool placed;                  /* the answer is to say where it stands */
};

struct mail_frame {
    struct inbox_item item;
    uint64_t id;      /* of the channel (MAIL_LIVE) or of the subscription */
    struct slip slip; /* one reference, the inbox's, given back by mail_free() */
};

struct mail_subscribed {
    struct inbox_item item;
    uint64_t id;
    uint64_t channel;   /* not 0: a member from here on (`from` now) */
    struct span cursor; /* JSON text */
    enum recovered recovered;
    const char *reason; /* constant */
};

struct mail_chunk {
    struct inbox_item item;
    uint64_t id;
    uint64_t channel; /* not 0: the replay is complete, a member from here on */
};

struct mail_left {
    struct inbox_item item;
    uint64_t id;
    bool answer;        /* to MAIL_UNSUBSCRIBE */
    struct span reason; /* otherwise */
};

/* MAIL_REFUSED, MAIL_PUBLISHED, MAIL_HISTORY_DONE. */
struct mail_done {
    struct inbox_item item;
    uint64_t id;
    enum error_code error; /* ERR_NONE: done */
    struct span text;      /* error: its sentence, or p NULL; published: the position as
                                     JSON text, or p NULL; history: the body */
    int64_t receivers;
};

#define FIGURES_MAX 64u

/* What a backend says of itself (wsbus_backend.stats). */
struct mail_figures {
    struct inbox_item item;
    struct inbox *answer;
    uint64_t id; /* the asker's */
    unsigned bus;
    uint32_t count;
    struct {
        char name[48];
        int64_t value;
    } list[FIGURES_MAX];
};

/* Frees an item of any kind with all that it owns. Of MAIL_LIVE and MAIL_FRAME it gives back the
 * inbox's reference of the slip: the item lives on until queues have given back theirs. */
void mail_free(struct inbox_item *item); /* NULL is fine */

/* All of these copy what their spans point to. Members that are no arguments are zero and the
 * caller's to set. */
struct mail_ask *mail_ask_new(enum mail_kind kind, struct span channel, struct span topic,
                              struct span key);
struct mail_leave *mail_leave_new(enum mail_kind kind, unsigned worker, uint64_t id, bool answer);
struct mail_figures *mail_figures_new(struct inbox *answer, uint64_t id, unsigned bus);
struct mail_publish *mail_publish_new(const struct wsbus_publish *from);
/* Takes over the caller's reference of the frame. */
struct mail_frame *mail_frame_new(enum mail_kind kind, uint64_t id, struct frame *frame);
struct mail_subscribed *mail_subscribed_new(uint64_t id, struct span cursor);
struct mail_chunk *mail_chunk_new(uint64_t id, uint64_t channel);
struct mail_left *mail_left_new(uint64_t id, bool answer, struct span reason);
struct mail_done *mail_done_new(enum mail_kind kind, uint64_t id, enum error_code error,
                                struct span text);

#endif
