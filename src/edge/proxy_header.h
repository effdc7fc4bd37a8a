/* The PROXY protocol, versions 1 and 2: what a proxy writes in front of a connection to say whose
 * it is (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Pure. */
#ifndef EDGE_PROXY_HEADER_H
#define EDGE_PROXY_HEADER_H

#include <stddef.h>

#include "base/address.h"

/* A longer one (version 2 may carry anything behind the addresses) is refused. */
#define PROXY_HEADER_MAX 1024

enum proxy_verdict {
    PROXY_MORE, /* all of it belongs to a header, which is not complete */
    PROXY_DONE,
    PROXY_NONE, /* this does not begin like a header */
    PROXY_BAD,  /* it does, and is not one */
};

struct proxy_header {
    size_t length;
    struct address client; /* ADDRESS_NONE: the proxy speaks for itself (its health check), or does
                              not know */
};

/* `n` bytes from the beginning of a connection. *ret is set with PROXY_DONE only. */
enum proxy_verdict proxy_header_parse(const unsigned char *p, size_t n, struct proxy_header *ret);

#endif
