/* Reads of the past that replays and history pages make: at most `replay.readers` of them are with
 * the backend at a time, the others wait in line here, where they cost little.
 *
 * What brings a worker forward that fell behind the live feed is no read of this kind and never
 * waits. Private to hub/, on the bus thread. */
#ifndef HUB_READS_H
#define HUB_READS_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/list.h"

struct hub_bus;
struct pending;
struct wanted;

struct reads {
    struct list waiting; /* struct wanted */
    size_t count;        /* of them */
    unsigned open;       /* at the backend */
    bool running;        /* the line is being moved on: a backend may answer from inside */
    uint64_t total;      /* that were asked of the backend */
};

void reads_init(struct reads *r);
/* The read of `p`, whose owner hears of it by the answer. Copies what `r` lends. The backend may be
 * asked, and answer, from inside. */
void reads_ask(struct hub_bus *b, struct pending *p, struct wsbus_read r);
void reads_answered(struct hub_bus *b, struct pending *p); /* it was one of these, or not */
void reads_next(struct hub_bus *b);                        /* asks for those whose turn it is */
void reads_drop(struct pending *p); /* it waits no more; not waiting: nothing happens */

#endif
