#include "bus/redis_resolve.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct resolve {
    struct resolve_spec spec;
    char *name;
    bool forgotten; /* the bus thread's alone, as `spec` is */
    int rc;
    struct addrinfo *list;
};

static int look_up(const char *name, uint16_t port, int flags, struct addrinfo **ret)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    int rc = getaddrinfo(name, service, &hints, ret);
    if (rc != 0) *ret = NULL;
    return rc;
}

struct addrinfo *resolve_numeric(const char *name, uint16_t port)
{
    struct addrinfo *list;
    look_up(name, port, AI_NUMERICHOST, &list);
    return list;
}

/* On a helper thread. */
static void work(void *arg)
{
    struct resolve *r = arg;
    r->rc = look_up(r->name, r->spec.port, 0, &r->list);
}

static void worked(void *arg)
{
    struct resolve *r = arg;
    if (r->forgotten) {
        if (r->list) freeaddrinfo(r->list);
    } else {
        char words[256];
        snprintf(words, sizeof(words), "the name %s has no address: %s", r->name,
                 gai_strerror(r->rc));
        r->spec.done(r->spec.arg, r->list, r->list ? NULL : words);
    }
    free(r->name);
    free(r);
}

struct resolve *resolve_start(const struct resolve_spec *spec)
{
    struct resolve *r = mem_zero(sizeof(*r));
    r->spec = *spec;
    r->name = mem_dup(spec->name, strlen(spec->name));
    spec->host->offload(spec->host, work, worked, r);
    return r;
}

void resolve_forget(struct resolve *r)
{
    r->forgotten = true;
}
