#include "edge/trust.h"

#include <stdlib.h>

#include "base/mem.h"

struct trust {
    size_t count;
    struct address_net nets[];
};

struct trust *trust_new(const struct config *config)
{
    size_t count = config->trusted_proxies.count;
    struct trust *t = mem_zero(sizeof *t + count * sizeof t->nets[0]);
    char err[200];

    for (size_t i = 0; i < count; i++) /* the configuration has looked at them */
        if (address_net_parse(config->trusted_proxies.list[i], &t->nets[t->count], err,
                              sizeof err) == 0)
            t->count++;
    return t;
}

void trust_free(struct trust *t)
{
    free(t);
}

bool trust_has(const struct trust *t, const struct address *a)
{
    for (size_t i = 0; i < t->count; i++)
        if (address_in(a, &t->nets[i])) return true;
    return false;
}

static struct span trim(struct span s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = span_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct address trust_client(const struct trust *t, const struct address *peer, struct span header)
{
    struct address client = *peer, next;

    while (header.n > 0 && trust_has(t, &client)) {
        size_t at = header.n;
        while (at > 0 && header.p[at - 1] != ',')
            at--;
        if (!address_parse(trim(span_of(header.p + at, header.n - at)), &next)) break;
        client = next;
        header.n = at > 0 ? at - 1 : 0;
    }
    return client;
}
