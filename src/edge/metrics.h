/* What the process says of itself, in Prometheus' text format: sums over the counters of all
 * workers and buses, and what is read at that moment. Pure but for /proc. */
#ifndef EDGE_METRICS_H
#define EDGE_METRICS_H

#include "base/buf.h"
#include "base/inbox.h"
#include "edge/edge.h"
#include "hub/mail.h"

struct metrics_worker {
    const struct edge *edge;
    const struct inbox *inbox;
};

/* All workers. */
struct metrics_view {
    const struct metrics_worker *workers;
    unsigned count;
};

/* `figures` are of the buses that have answered, in any order. */
void metrics_write(struct buf *out, const struct metrics_view *view,
                   struct mail_figures *const *figures, unsigned figure_count);

#endif
