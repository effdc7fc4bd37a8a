/* The Origin and Host headers, and the patterns of origins in `access.origins`. Pure.
 *
 * Here, below the room that decides by it, because a wrong pattern is a mistake of the
 * configuration, told with its place. */
#ifndef CONFIG_ORIGIN_H
#define CONFIG_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Scheme and host in lower case; an IPv6 address in its shortest form, with its brackets. */
struct origin {
    char scheme[32];
    char host[256];
    uint16_t port; /* 0: none is written and the scheme has no default */
    bool wildcard; /* of a pattern: one or more labels stand before the host */
};

/* Exactly scheme://host[:port], as browsers write it. False: "null", a path, a user, an empty
 * label, an odd port, letters beyond ASCII, anything else. */
bool origin_parse(struct span text, struct origin *ret);
/* The same, or with "*." before the host. 0, or -1 with one sentence in `err`. */
int origin_pattern(struct span text, struct origin *ret, char *err, size_t err_size);
bool origin_matches(const struct origin *pattern, const struct origin *origin);

/* The value of a Host header: host[:port]; scheme "", port 0 where none is written. */
bool origin_parse_host(struct span text, struct origin *ret);
/* Is it a page of this very host? With `tls` an https page; without it http or https: TLS may end
 * before us, and where Host has no port, the default of the page's scheme is meant. */
bool origin_is_own(const struct origin *origin, const struct origin *host, bool tls);
/* localhost, *.localhost, 127.0.0.0/8, [::1] */
bool origin_host_loopback(const struct origin *host);

#endif
