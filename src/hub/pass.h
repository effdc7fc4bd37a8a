/* Passes: a piece of a topic's past that was read for one replay serves all that come by.
 *
 * When a thousand clients resume a topic from places near each other, its past is read, and turned
 * into frames, about once. A piece is what one read of the bus has brought: all messages after
 * `from` and not after `at`. A follower whose place lies between, in every partition not before
 * `from`, finds there all that comes next for it, up to `at`. So it does not matter who asked for
 * the piece, and nobody holds it for anybody: a slow client finds it gone and reads by itself.
 *
 *     READING ──answer──▶ READY ──PIECE_MS, or room is needed──▶ (freed)
 *        followers wait       followers find it
 *
 * While it is read it belongs to its `struct pending`, afterwards to bus.pieces, which is bounded
 * in bytes (replay.pass_bytes), in pieces of a topic and in time: what a log has lost or begun anew
 * must not be seen for long. Kept is only what somebody else may want.
 *
 * A read of one key brings the messages of that key and serves its channels only; where replays of
 * several others are under way the whole topic is read, for all of them.
 *
 * Private to hub/, on the bus thread. */
#ifndef HUB_PASS_H
#define HUB_PASS_H

#include "hub/feed.h"

#define PIECE_MS 2000u
#define PIECES_MAX 64u /* of one topic */

struct piece {
    struct list of_feed;  /* feed.reading or feed.pieces, oldest first */
    struct list of_bus;   /* bus.pieces, oldest first; on none while it is read */
    struct feed *feed;    /* NULL: it was stopped while the piece was read */
    struct pending *read; /* of this piece; NULL: it has been read */
    struct list waiting;  /* followers, until it has been read */
    struct span key;      /* p NULL: the whole topic */
    struct wsbus_cursor *from, *at;
    enum wsbus_lost lost;            /* then it serves only those that stand exactly at `from` */
    struct wsbus_cursor *lost_until; /* with `lost` */
    uint64_t due;                    /* ticks */
    size_t count;
    struct wsbus_message **messages;
    size_t bytes;         /* that it holds */
    struct frame *run;    /* all of them for `run_channel`; NULL: not asked for yet */
    uint64_t run_channel; /* number */
    uint32_t *ends;       /* where in the run each of them ends */
};

/* A piece that brings this replay further, or NULL. */
struct piece *pass_find(struct follower *s);
/* Lets it wait for a piece that is being read and probably brings it further. */
bool pass_wait(struct follower *s);
/* Takes one off those who wait, or NULL. */
struct follower *piece_release(struct piece *p);
/* One that is to be read for this replay: with its key, or without (key.p NULL). */
struct piece *piece_new(struct follower *s);
/* What was read. */
void piece_fill(struct piece *p, const struct wsbus_chunk *c, const struct wsbus_cursor *until);
/* It has been filled: keeps it for others. There may be no room: it may be gone then. */
void piece_keep(struct piece *p);
void piece_free(struct piece *p); /* NULL is fine; who waits is on no list then */
/* The frames of it that this follower has not had, as one run, or NULL: none. Moves it on. */
struct frame *piece_give(struct piece *p, struct follower *s);
void pass_tidy(struct hub_bus *b); /* frees what is too old or too much */
/* The feed has stopped, or its log has a hole: forgets what was read. */
void pass_forget(struct feed *f);
void pass_detach(struct feed *f); /* the feed has stopped: what is being read is nobody's */

#endif
