/* How many connections each address has, and how fast it makes new ones: one table for all
 * workers. Any thread; it is asked when a connection begins and when it ends, never in between.
 *
 * An address that has no connection any more is remembered until its bucket is full again, so that
 * coming and going is no way around the rate; of those only so many, the oldest go first. */
#ifndef EDGE_ADDRESSES_H
#define EDGE_ADDRESSES_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

struct addresses;
struct addresses_entry;

struct addresses_limits {
    uint64_t connections; /* 0: any number */
    uint64_t per_second;  /* likewise */
};

enum addresses_verdict { ADDRESSES_OK, ADDRESSES_CONNECTIONS, ADDRESSES_RATE };

struct addresses *addresses_new(struct addresses_limits limits);
void addresses_free(struct addresses *a); /* nobody may have an entry */

/* A new connection of this address, `now` in ms. Only with ADDRESSES_OK is there an entry (NULL
 * where nothing is limited), and addresses_leave() is due for it. */
enum addresses_verdict addresses_enter(struct addresses *a, const struct address *from,
                                       uint64_t now, struct addresses_entry **ret);
void addresses_leave(struct addresses_entry *e); /* NULL is fine */
size_t addresses_count(struct addresses *a);     /* that are remembered */

#endif
