/* Redis channels: one SUBSCRIBE for each channel that is followed, whatever the number of feeds, on
 * a connection of its own that is made with the first feed.
 *
 * A channel has at most one command under way, and replies come in the order of the commands; so
 * SUBSCRIBE and UNSUBSCRIBE of one channel can never be mistaken for each other:
 *
 *   WANTED   waits to be asked for                -> ASKED
 *   ASKED    SUBSCRIBE is under way               -> ON, or refused
 *   ON       confirmed                            -> PARTING when its last feed has gone
 *   PARTING  confirmed, waits to be left          -> LEAVING; a new feed: ON again
 *   LEAVING  UNSUBSCRIBE is under way             -> WANTED if there are feeds by then, else gone
 *
 * What came together while commands are under way goes with the next ones, in batches. After a loss
 * all channels with feeds are WANTED; each feed that was confirmed before gets a gap when its channel
 * is on again, before the next message. SUBSCRIBE of several that the server refuses names no
 * channel: it is made again one by one, and a feed whose channel alone is refused is answered or
 * ended with the server's words. Bus thread. */
#ifndef BUS_REDIS_PUBSUB_H
#define BUS_REDIS_PUBSUB_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "bus/redis_config.h"
#include "bus/redis_link.h"

struct redis_pubsub;

struct redis_pubsub_figures {
    size_t channels; /* that are followed */
    size_t feeds;
    uint64_t messages;
    struct link_figures link;
};

struct redis_pubsub *pubsub_new(const struct wsbus_host *host, const struct redis_config *config);
void pubsub_subscribe(struct redis_pubsub *p, uint64_t feed, const struct wsbus_topic *topic);
bool pubsub_unsubscribe(struct redis_pubsub *p, uint64_t feed); /* false: not one of its feeds */
void pubsub_hasten(struct redis_pubsub *p); /* the server is back: link_hasten() */
struct redis_pubsub_figures pubsub_figures(const struct redis_pubsub *p);
/* Answers feeds that are not confirmed yet (WSBUS_UNAVAILABLE). No callback after it. */
void pubsub_stop(struct redis_pubsub *p);
void pubsub_free(struct redis_pubsub *p);

#endif
