/* Whose word about a client's address is believed: trusted_proxies. Constant after trust_new(),
 * shared by all workers. */
#ifndef EDGE_TRUST_H
#define EDGE_TRUST_H

#include <stdbool.h>

#include "base/address.h"
#include "base/span.h"
#include "config/config.h"

struct trust;

struct trust *trust_new(const struct config *config);
void trust_free(struct trust *t);

bool trust_has(const struct trust *t, const struct address *a);
/* The client behind `peer`, by the X-Forwarded-For that came with its request. Each proxy adds the
 * address that it saw at the end, so the list is read from there, as long as what stands there is
 * a proxy that is trusted; the first that is not is the client. What the client itself may have
 * written in front is never looked at. Without anything to believe it is `peer`. */
struct address trust_client(const struct trust *t, const struct address *peer, struct span header);

#endif
