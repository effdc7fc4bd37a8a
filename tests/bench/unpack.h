/* Messages that were packed by permessage-deflate without context: each stands for itself, and the same
 * one goes to many sockets. So a message is unpacked once, and the others are compared with what was
 * packed. */
#ifndef BENCH_UNPACK_H
#define BENCH_UNPACK_H

#include <stddef.h>

/* The text; it is there until so many others have come as are kept. Ends the program if it cannot be
 * unpacked. */
const char *unpack(const char *packed, size_t len, size_t *ret_len);
/* How many were unpacked, and how many bytes went in and came out of all calls. */
void unpack_print(void);

#endif
