/* A lane: what a subscription with the policy `drop` has lost, and the `gap` that tells it.
 *
 * While such a client is too slow, the oldest of its droppable messages leave its queue
 * (session/outq.h). In the place of the last that went stands the mark of a gap; it becomes a
 * frame just before it is written, and covers all that its lane has lost by then: each loss is told
 * before the next message of the channel, and many losses are one frame.
 *
 * The queue knows a lane by a number, since entries are small and many. Places in the log are read
 * from the frames that are lost. A gap must name every partition (who re-fetches it would get the
 * others from their beginning): on topics of several partitions the lane keeps for each the place
 * up to which it has been served. Worker thread. */
#ifndef SESSION_LANE_H
#define SESSION_LANE_H

#include "session/backlog.h"
#include "session/subscription.h"

struct lane {
    struct map_node node; /* of the worker, by number */
    uint32_t number;
    uint32_t skip; /* of a message frame, what stands before its position */
    struct subscription *sub;
    const struct wsbus_backend *backend; /* NULL: no log */
    bool marked;                         /* a gap is in the queue, at `mark` */
    struct outq_place mark;
    bool many;                          /* partitions */
    uint64_t lost;                      /* messages, not told yet */
    struct wsbus_cursor *served;        /* with `many` */
    struct wsbus_cursor *after, *until; /* of what is lost, in the partitions that lost some */
};

/* For a subscription that is new; `backend` NULL: no log. */
void lane_new(struct subscription *sub, const struct wsbus_backend *backend, bool many);
/* What of it is in the queue stays there, and cannot be lost any more. */
void lane_free(struct subscription *sub);

/* The cursor of `subscribed` (JSON text), and each frame of the channel that is queued: on a topic
 * of several partitions. */
void lane_serve(struct lane *l, struct span cursor);
void lane_see(struct lane *l, const struct frame *f);

/* Is there room for n more bytes, or can it be made in the queue? */
bool lanes_make_room(struct session *s, size_t n);
/* A message that finds no room although nothing else of its kind is left in the queue. */
void lane_refuse(struct session *s, uint32_t number, const struct frame *f);
/* It loses what stands in a backlog between two places; frames that are no messages are queued. */
void lane_skip(struct lane *l, struct backlog *b, uint64_t from, uint64_t to);
/* Drops all in the queue that may be dropped. */
void lanes_clear(struct session *s);
/* The gaps that would be written next become frames. */
void lanes_tell(struct session *s);

#endif
