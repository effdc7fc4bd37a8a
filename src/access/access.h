/* Who may connect, subscribe and publish: every such question is asked here. Constant after
 * access_new(), shared by all workers. */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include <stdbool.h>

#include "base/span.h"
#include "config/config.h"

struct access;

enum access_right { ACCESS_SUBSCRIBE, ACCESS_PUBLISH };

/* NULL with one sentence in `err`. The configuration must outlive it. */
struct access *access_new(const struct config *config, char *err, size_t err_size);
void access_free(struct access *a);

/* How a request came in. */
struct access_way {
    bool loopback; /* on a loopback listener */
    bool tls;      /* that listener speaks TLS */
};

/* May a request with these headers be upgraded? `origin` and `host` are the header values, p NULL:
 * absent.
 *   - `access.origins` given: no Origin, or one of the list (scheme, host and port compared after
 *     lower-casing scheme and host and filling in the scheme's default port; "*." in front of a
 *     pattern's host stands for one or more labels);
 *   - not given: no Origin, or its host and port are those of `Host`; and on a loopback listener
 *     Host must be a loopback name (localhost, *.localhost, 127.0.0.0/8, [::1]) - DNS rebinding;
 *     where TLS came in, the page's scheme is https.
 * "null" and anything that is no origin is foreign. */
bool access_origin(const struct access *a, struct span origin, struct span host,
                   struct access_way way);

/* May an anonymous client do this with the channel? */
bool access_channel(const struct access *a, enum access_right right, struct span channel);

#endif
