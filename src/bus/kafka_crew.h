/* Helper threads of a bus for what librdkafka only does blocking: metadata, offsets, assignments, the
 * end of a handle.
 *
 * Not host->offload(): its few threads are shared by all buses, and whoever stops a bus waits for
 * them. These belong to one bus, and what still blocks when the bus must be gone is left behind: it
 * ends by itself, or with the process. All calls of librdkafka that are made here have time-outs,
 * except the destruction of a handle, which has been seen to wait for a broker that does not answer.
 *
 * A job is embedded in the caller's struct. work() runs on a helper thread, then done() on the bus
 * thread; if the crew was stopped meanwhile, left() runs in place of done(), on whatever thread: it
 * frees what the job holds and touches nothing of the bus. Bus thread, except work() and left(). */
#ifndef BUS_KAFKA_CREW_H
#define BUS_KAFKA_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/list.h"

struct kafka_crew;
struct crew_core;

struct crew_job {
    void (*work)(struct crew_job *j);
    void (*done)(struct crew_job *j);
    void (*left)(struct crew_job *j);
    /* The crew's: */
    struct list node;
    struct crew_core *core;
};

/* `threads`: at most so many, made when they are needed. NULL: no descriptor can be had. */
struct kafka_crew *kafka_crew_new(const struct wsbus_host *host, unsigned threads);
/* Jobs begin in the order in which they were given. */
void kafka_crew_run(struct kafka_crew *c, struct crew_job *j);
/* On a thread of its own: for what may block for ever. */
void kafka_crew_run_alone(struct kafka_crew *c, struct crew_job *j);
size_t kafka_crew_busy(const struct kafka_crew *c); /* jobs whose done() is outstanding */
/* No done() after it; jobs that have not begun are left at once. */
void kafka_crew_stop(struct kafka_crew *c);
void kafka_crew_free(struct kafka_crew *c); /* after kafka_crew_stop() */

#endif
