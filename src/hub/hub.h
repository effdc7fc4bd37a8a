/* The hub: one feed for each topic that somebody follows, on the thread of its bus, and the post
 * between these threads and the workers.
 *
 * hub_start() opens the buses of the configuration; from then on a worker posts struct mail_… to
 * hub_inbox(bus) and gets its answers in its own inbox. See hub/mail.h for who says what, and
 * hub/feed.h for what a feed does. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/inbox.h"
#include "config/config.h"

struct hub;

/* `workers` are the inboxes of the workers, by index; they must outlive the hub. NULL with one
 * sentence in `err`. Main thread. */
struct hub *hub_start(const struct config *config, struct inbox *const *workers,
                      unsigned worker_count, char *err, size_t err_size);
/* Answers everything that was accepted, closes the buses within the deadline, joins their
 * threads. The answers are in the workers' inboxes then. Main thread. */
void hub_stop(struct hub *h, uint64_t deadline_ms);
void hub_free(struct hub *h);

/* Any thread. */
struct inbox *hub_inbox(struct hub *h, unsigned bus);
unsigned hub_bus_count(const struct hub *h);
bool hub_bus_up(const struct hub *h, unsigned bus);
const struct counters *hub_counters(const struct hub *h, unsigned bus);

#endif
