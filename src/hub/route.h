/* Channel name -> (bus, topic, key) by the rules of the configuration, first match wins.
 * Constant after route_new(), shared by all threads. */
#ifndef HUB_ROUTE_H
#define HUB_ROUTE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/span.h"
#include "config/config.h"

struct route_table;

struct route {
    const struct config_rule *rule; /* NULL: no rule matches */
    struct span topic;
    struct span key; /* p NULL: the whole topic */
    unsigned caps;   /* enum wsbus_cap of this rule */
};

struct route_table *route_new(const struct config *config, char *err, size_t err_size);
void route_free(struct route_table *t);
/* `scratch` is cleared and holds topic and key. False: no rule. The name must be valid. */
bool route_find(const struct route_table *t, struct span channel, struct buf *scratch,
                struct route *ret);

#endif
