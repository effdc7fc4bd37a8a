/* A market that nobody trades on: a random walk of prices, for a daemon that has no bus to show.
 *
 * Publishes {"symbol":"EURUSD","bid":1.08431,"ask":1.08445,"last":1.08438,"time":1763720000123}
 * to the topic `quotes` with the symbol as key; once for every symbol at the start, so that there
 * is a newest price of each, then `rate` a second in all. On the bus thread. */
#ifndef BUS_QUOTES_H
#define BUS_QUOTES_H

#include <wsbus/backend.h>

struct quotes;

/* rate: 1 to 100000. `publish` is called from within and from timers of the host. */
struct quotes *quotes_start(const struct wsbus_host *host, uint32_t rate,
                            void (*publish)(void *arg, const struct wsbus_publish *p), void *arg);
void quotes_stop(struct quotes *q); /* NULL is fine */

#endif
