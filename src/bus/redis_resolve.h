/* The addresses of a host name, looked up off the bus thread. Bus thread. */
#ifndef BUS_REDIS_RESOLVE_H
#define BUS_REDIS_RESOLVE_H

#include <netdb.h>
#include <stdint.h>

#include <wsbus/backend.h>

struct resolve;

struct resolve_spec {
    const struct wsbus_host *host;
    const char *name;
    uint16_t port;
    /* `list` is the callee's, to be freed with freeaddrinfo(); or NULL, with one sentence. */
    void (*done)(void *arg, struct addrinfo *list, const char *words);
    void *arg;
};

/* An address in numbers needs no look-up: NULL if the name is none. To be freed with
 * freeaddrinfo(). */
struct addrinfo *resolve_numeric(const char *name, uint16_t port);
/* `done` comes from the loop, never from inside. */
struct resolve *resolve_start(const struct resolve_spec *spec);
/* `done` will not come any more. The look-up itself cannot be stopped: its end finds nobody. */
void resolve_forget(struct resolve *r);

#endif
