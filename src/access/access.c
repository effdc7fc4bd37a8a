#include "access/access.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "config/origin.h"

struct acl {
    struct pattern **patterns;
    size_t count;
};

struct access {
    bool everything; /* no `access` in the configuration, which only loopback can have */
    bool origins_given;
    struct origin *origins;
    size_t origin_count;
    struct acl rights[2]; /* by enum access_right, of anonymous clients */
};

static int read_origins(struct access *a, const struct config_patterns *list, char *err,
                        size_t err_size)
{
    a->origins_given = list->list != NULL;
    if (!list->list) return 0;
    a->origins = mem_zero((list->count + 1) * sizeof *a->origins);
    for (; a->origin_count < list->count; a->origin_count++)
        if (origin_pattern(span_str(list->list[a->origin_count]), &a->origins[a->origin_count], err,
                           err_size) < 0)
            return -1;
    return 0;
}

static int read_acl(struct acl *acl, const struct config_patterns *list, char *err, size_t err_size)
{
    if (!list->list) return 0;
    acl->patterns = mem_zero((list->count + 1) * sizeof(struct pattern *));
    for (; acl->count < list->count; acl->count++) {
        struct pattern *p = pattern_new(span_str(list->list[acl->count]), err, err_size);
        if (!p) return -1;
        acl->patterns[acl->count] = p;
    }
    return 0;
}

struct access *access_new(const struct config *config, char *err, size_t err_size)
{
    struct access *a = mem_zero(sizeof *a);
    a->everything = !config->access.given;
    if (read_origins(a, &config->access.origins, err, err_size) < 0 ||
        read_acl(&a->rights[ACCESS_SUBSCRIBE], &config->access.subscribe, err, err_size) < 0 ||
        read_acl(&a->rights[ACCESS_PUBLISH], &config->access.publish, err, err_size) < 0) {
        access_free(a);
        return NULL;
    }
    return a;
}

void access_free(struct access *a)
{
    if (!a) return;
    for (size_t r = 0; r < 2; r++) {
        for (size_t i = 0; i < a->rights[r].count; i++)
            pattern_free(a->rights[r].patterns[i]);
        free(a->rights[r].patterns);
    }
    free(a->origins);
    free(a);
}

static bool origin_listed(const struct access *a, struct span text)
{
    struct origin origin;
    if (!origin_parse(text, &origin)) return false;
    for (size_t i = 0; i < a->origin_count; i++)
        if (origin_matches(&a->origins[i], &origin)) return true;
    return false;
}

bool access_origin(const struct access *a, struct span origin, struct span host,
                   struct access_way way)
{
    struct origin page, own;
    if (a->origins_given) return !origin.p || origin_listed(a, origin);
    bool host_known = host.p && origin_parse_host(host, &own);
    if (way.loopback && (!host_known || !origin_host_loopback(&own))) return false;
    if (!origin.p) return true;
    return host_known && origin_parse(origin, &page) && origin_is_own(&page, &own, way.tls);
}

bool access_channel(const struct access *a, enum access_right right, struct span channel)
{
    const struct acl *acl = &a->rights[right];
    if (a->everything) return true;
    for (size_t i = 0; i < acl->count; i++)
        if (pattern_match(acl->patterns[i], channel, NULL)) return true;
    return false;
}
