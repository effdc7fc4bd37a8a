/* A place between the sockets and libwebsockets, where what clients send can be looked at first.
 *
 * libwebsockets has no hook for that: it calls recv(), or SSL_read() where the connection has TLS,
 * and parses what it gets. Both are functions of shared libraries, so the program may have its own
 * of these names, which the dynamic linker gives to every library in the process; they call the
 * real ones. For a descriptor that is watched in the calling thread they ask the watcher instead.
 * For everybody else (the clients of the buses have threads of their own) it is one comparison more.
 *
 * What reaches libwebsockets has passed here, or the handshake is refused (edge/handshake.c): in a
 * program that is linked in another way nothing would be unguarded, it would not work. */
#ifndef EDGE_TAP_H
#define EDGE_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_st;

struct tap_source {
    int fd;
    struct ssl_st *ssl; /* NULL: without TLS */
};

/* Does what recv() or SSL_read() was called for and returns what that would. */
typedef ssize_t tap_reader(void *who, const struct tap_source *from, void *p, size_t n);

/* In this thread, `reader` is called for the descriptor from now on, with `who`. */
void tap_watch(int fd, tap_reader *reader, void *who);
/* No more, unless it is somebody else's by now: descriptors are used again. */
void tap_forget(int fd, const void *who);
void tap_done(void); /* of this thread */

/* The real function; and the same without taking what it gives. */
ssize_t tap_read(const struct tap_source *from, void *p, size_t n);
ssize_t tap_peek(const struct tap_source *from, void *p, size_t n);
/* Under TLS nothing more will be written: tells the peer so. NULL is fine. */
void tap_goodbye(struct ssl_st *ssl);

#endif
