/* A subscription of a session: from the client's frame to the last word of the bus.
 *
 *     PENDING ──subscribed──▶ REPLAY ──last chunk──▶ LIVE
 *        │         └────────────(from now)────────────▲
 *        └──unsubscribe──▶ LEAVING ──left──▶ (freed)
 *
 * A confirmed one is freed at once when its client leaves; what its bus still sends for it finds
 * nobody. One that is not confirmed yet has two answers to wait for, in the order of the bus. */
#ifndef SESSION_SUBSCRIPTION_H
#define SESSION_SUBSCRIPTION_H

#include "session/inside.h"

enum subscription_state { SUB_PENDING, SUB_REPLAY, SUB_LIVE, SUB_LEAVING };

struct subscription {
    struct fan_member member;
    struct session *session;
    uint32_t tag;        /* of messages in the queue: OUTQ_CAPPED, or that of the lane */
    struct lane *lane;   /* policy `drop`; otherwise NULL */
    struct stall *stall; /* NULL: it does not */
    uint64_t number;
    struct map_node by_number, by_name;
    struct list node;   /* of the session */
    struct list hungry; /* of the session; LIVE: of the worker, to be set aside */
    char *asked, *left; /* ids of the frames that await an answer; NULL: none */
    struct held *held;  /* replies that must not overtake these answers */
    uint16_t bus;
    uint8_t state; /* enum subscription_state */
    bool pulling;
    bool past; /* it counts in session.replays */
    uint8_t channel_len;
    char channel[];
};

/* PENDING. `id` is that of the client's frame, or p NULL. */
struct subscription *subscription_new(struct session *s, unsigned bus, struct span channel,
                                      struct span id);
/* It asked for the past: it counts as a replay until it is live or gone. */
void subscription_replays(struct subscription *sub);
struct subscription *subscription_find(struct session_worker *w, uint64_t number);
/* What a message needs to know of it: the session, the tag and flags. All stay as they are from the
 * first message on. */
struct fan_seat subscription_seat(struct subscription *sub);
#define SEAT_RAW 1u  /* the session has no frames of ours (session/raw.c) */
#define SEAT_SEES 2u /* its lane looks at each message (session/lane.h) */
/* The one that is not leaving. */
struct subscription *subscription_named(struct session *s, struct span channel);
struct span subscription_channel(const struct subscription *sub);

/* The bus confirmed it, or a chunk ends here: `channel` 0 means that there is more to pull. */
void subscription_confirm(struct subscription *sub, uint64_t channel);
void subscription_chunk(struct subscription *sub, uint64_t channel);
/* The client leaves before the confirmation; `id` is that of the unsubscribe. */
void subscription_leave(struct subscription *sub, struct span id);
/* Forgets it without a word to anybody. */
void subscription_free(struct subscription *sub);
/* Tells the bus, which is not to answer, and forgets it. */
void subscription_withdraw(struct subscription *sub);

/* The newest of this name that its bus owes an answer for, or NULL: replies about the channel's
 * subscription wait behind that answer. */
struct subscription *subscription_awaited(struct session *s, struct span channel);
/* Takes over a reference of the slip. */
void subscription_hold(struct subscription *sub, struct slip *slip);
/* The subscribe was answered, or the unsubscribe (`left`): queues what waited for that. */
void subscription_release(struct subscription *sub, bool left);

/* The id of the subscribe or unsubscribe that is answered now: the caller frees it. */
char *subscription_take_asked(struct subscription *sub);
char *subscription_take_left(struct subscription *sub);

/* There may be room: asks for chunks. */
void subscriptions_pull(struct session *s);
/* The session closes: withdraws all whose answers nobody waits for. */
void subscriptions_close(struct session *s);
void subscriptions_withdraw(struct session *s); /* all */

#endif
