/* How much of what was sent to a socket its peer has acknowledged. A file of its own: the kernel's
 * header of TCP and that of the C library exclude each other. */
#ifndef EDGE_ACKED_H
#define EDGE_ACKED_H

#include <stdint.h>

/* Bytes since the connection began; 0: the kernel does not say (a unix socket). */
uint64_t acked_bytes(int fd);

#endif
