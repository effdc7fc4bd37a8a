#include "hub/hub.h"

#include <stdlib.h>

#include "base/mem.h"
#include "hub/bus.h"

struct hub {
    struct hub_bus **buses;
    unsigned count;
};

struct hub *hub_start(const struct config *config, struct inbox *const *workers,
                      unsigned worker_count, char *err, size_t err_size)
{
    struct hub *h = mem_zero(sizeof *h);

    h->buses = mem_zero((config->bus_count + 1) * sizeof(struct hub_bus *));
    for (; h->count < config->bus_count; h->count++) {
        struct hub_bus_spec spec = {.config = config,
                                    .bus = &config->buses[h->count],
                                    .index = h->count,
                                    .workers = workers,
                                    .worker_count = worker_count};
        h->buses[h->count] = bus_start(&spec, err, err_size);
        if (h->buses[h->count]) continue;
        hub_stop(h, 0);
        hub_free(h);
        return NULL;
    }
    return h;
}

void hub_stop(struct hub *h, uint64_t deadline_ms)
{
    for (unsigned i = 0; i < h->count; i++)
        bus_stop(h->buses[i], deadline_ms);
}

void hub_free(struct hub *h)
{
    if (!h) return;
    for (unsigned i = 0; i < h->count; i++)
        bus_free(h->buses[i]);
    free(h->buses);
    free(h);
}

struct inbox *hub_inbox(struct hub *h, unsigned bus)
{
    return bus_thread_inbox(h->buses[bus]->thread);
}

unsigned hub_bus_count(const struct hub *h)
{
    return h->count;
}

bool hub_bus_up(const struct hub *h, unsigned bus)
{
    return atomic_load(&h->buses[bus]->up);
}

const struct counters *hub_counters(const struct hub *h, unsigned bus)
{
    return &h->buses[bus]->counters;
}
