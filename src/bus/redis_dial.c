#include "bus/redis_dial.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/mem.h"
#include "bus/redis_resolve.h"

struct redis_dial {
    struct dial_spec spec;
    struct resolve *resolve; /* while a name is looked up */
    struct addrinfo *addresses;
    struct addrinfo *next; /* to be tried if the present one fails */
    struct redis_wire wire;
    struct wsbus_watch *watch;
    unsigned watched;
    struct wsbus_timer *deadline;
};

static void close_wire(struct redis_dial *d)
{
    if (d->watch) d->spec.host->unwatch(d->watch);
    d->watch = NULL;
    redis_wire_close(&d->wire);
}

void dial_stop(struct redis_dial *d)
{
    if (d->resolve) resolve_forget(d->resolve);
    d->resolve = NULL;
    close_wire(d);
    if (d->addresses) freeaddrinfo(d->addresses);
    d->addresses = d->next = NULL;
    d->spec.host->timer_stop(d->deadline);
}

static void fail(struct redis_dial *d, const char *why)
{
    char words[384];
    snprintf(words, sizeof(words), "no connection to %s: %s", d->spec.config->where, why);
    dial_stop(d);
    d->spec.done(d->spec.arg, NULL, words);
}

static void succeed(struct redis_dial *d)
{
    struct redis_wire wire = d->wire;
    redis_wire_init(&d->wire);
    dial_stop(d);
    d->spec.done(d->spec.arg, &wire, NULL);
}

static void on_watch(void *arg, unsigned events);

static enum wire_step open_path(struct redis_dial *d)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->spec.config->path);
    return redis_wire_open(&d->wire, (const struct sockaddr *)&address, sizeof(address));
}

/* The next address that can be begun with. */
static enum wire_step open_address(struct redis_dial *d)
{
    enum wire_step step = WIRE_FAILED;
    while (d->next && step == WIRE_FAILED) {
        const struct addrinfo *a = d->next;
        d->next = a->ai_next;
        redis_wire_close(&d->wire);
        step = redis_wire_open(&d->wire, a->ai_addr, a->ai_addrlen);
    }
    return step;
}

static void open_wire(struct redis_dial *d)
{
    close_wire(d);
    if ((d->spec.config->path ? open_path(d) : open_address(d)) == WIRE_FAILED) {
        fail(d, d->wire.words);
        return;
    }
    d->spec.host->timer_set(d->deadline, d->spec.config->connect_timeout);
    d->watched = WSBUS_WRITABLE;
    d->watch = d->spec.host->watch(d->spec.host, d->wire.fd, d->watched, on_watch, d);
    if (!d->watch) fail(d, "the socket cannot be watched");
}

static void give_up_address(struct redis_dial *d, const char *why)
{
    if (d->next)
        open_wire(d);
    else
        fail(d, why);
}

static void wait_for(struct redis_dial *d, unsigned events)
{
    if (d->watched != events) d->spec.host->rewatch(d->watch, events);
    d->watched = events;
}

static void on_watch(void *arg, unsigned events)
{
    (void)events;
    struct redis_dial *d = arg;
    const struct redis_tls *tls = d->spec.config->tls;
    enum wire_step step = d->wire.tls ? WIRE_OK : redis_wire_connect(&d->wire);
    if (step == WIRE_OK && tls) step = redis_wire_secure(&d->wire, tls);
    switch (step) {
    case WIRE_OK: succeed(d); break;
    case WIRE_WANTS_READ: wait_for(d, WSBUS_READABLE); break;
    case WIRE_WANTS_WRITE: wait_for(d, WSBUS_WRITABLE); break;
    case WIRE_FAILED: give_up_address(d, d->wire.words); break;
    }
}

static void on_deadline(void *arg)
{
    struct redis_dial *d = arg;
    const char *what = d->resolve ? "the name look-up" : d->wire.tls ? "TLS" : "connecting";
    char why[128];
    snprintf(why, sizeof(why), "%s took longer than %" PRIu64 " ms", what,
             d->spec.config->connect_timeout);
    give_up_address(d, why);
}

static void resolved(void *arg, struct addrinfo *list, const char *words)
{
    struct redis_dial *d = arg;
    d->resolve = NULL;
    if (!list) {
        fail(d, words);
        return;
    }
    d->addresses = d->next = list;
    open_wire(d);
}

void dial_start(struct redis_dial *d)
{
    const struct redis_config *c = d->spec.config;
    dial_stop(d);
    if (c->host) d->addresses = d->next = resolve_numeric(c->host, c->port);
    if (c->path || d->addresses) {
        open_wire(d);
        return;
    }
    struct resolve_spec spec = {
        .host = d->spec.host, .name = c->host, .port = c->port, .done = resolved, .arg = d};
    d->resolve = resolve_start(&spec);
    d->spec.host->timer_set(d->deadline, c->connect_timeout);
}

struct redis_dial *dial_new(const struct dial_spec *spec)
{
    struct redis_dial *d = mem_zero(sizeof(*d));
    d->spec = *spec;
    redis_wire_init(&d->wire);
    d->deadline = spec->host->timer(spec->host, on_deadline, d);
    return d;
}

void dial_free(struct redis_dial *d)
{
    if (!d) return;
    d->spec.host->timer_free(d->deadline);
    free(d);
}
