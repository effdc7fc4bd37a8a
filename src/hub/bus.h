/* One bus of the hub: what comes out of its inbox and out of its backend, and where it goes.
 * Private to hub/. */
#ifndef HUB_BUS_H
#define HUB_BUS_H

#include "hub/feed.h"

struct hub_bus_spec {
    const struct config *config;
    const struct config_bus *bus;
    unsigned index; /* of the bus */
    struct inbox *const *workers;
    unsigned worker_count;
};

/* Opens the instance and starts its thread. NULL with one sentence in `err`. Main thread. */
struct hub_bus *bus_start(const struct hub_bus_spec *spec, char *err, size_t err_size);
/* Answers what is pending, ends the thread. Main thread. */
void bus_stop(struct hub_bus *b, uint64_t deadline_ms);
void bus_free(struct hub_bus *b); /* after bus_stop(), when nobody posts any more */

#endif
