/* Reads of the past that replays and history pages make: at most `replay.readers` of them are with
 * the backend at a time, the others wait in line here, where they cost little: what is to be read is
 * said only when it is their turn.
 *
 * What brings a worker forward that fell behind the live feed is no read of this kind and never
 * waits. Private to hub/, on the bus thread. */
#ifndef HUB_READS_H
#define HUB_READS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct hub_bus;
struct pending;

struct reads {
    struct list waiting; /* struct pending */
    size_t count;        /* of them */
    unsigned open;       /* at the backend */
    bool running;        /* the line is being moved on: a backend may answer from inside */
    uint64_t total;      /* that were asked of the backend */
};

void reads_init(struct reads *r);
/* When it is the turn of `p`, replay_read() or history_read() is called with it, from inside or
 * later. */
void reads_ask(struct hub_bus *b, struct pending *p);
void reads_answered(struct hub_bus *b, struct pending *p); /* it was one of these, or not */
void reads_next(struct hub_bus *b);                        /* asks for those whose turn it is */
void reads_drop(struct hub_bus *b, struct pending *p);     /* not waiting: nothing happens */
bool reads_waits(const struct pending *p);

#endif
