/* Channel rules: a line each of match, topic, key and prefix, then channels, one a line. */
#include "fuzz.h"

#include "base/text.h"
#include "bus/registry.h"
#include "hub/route.h"
#include "protocol/channel.h"

static struct config_bus bus = {.name = "m"};

static char *line(struct span *rest)
{
    struct span part = fuzz_part(rest, '\n');
    return part.n ? fuzz_text((const uint8_t *)part.p, part.n) : NULL;
}

static void find(const struct route_table *t, struct span channel)
{
    struct route r;
    struct buf scratch;

    if (!utf8_valid(channel) || !channel_valid(channel)) return;
    buf_init(&scratch, BUF_UNLIMITED);
    if (route_find(t, channel, &scratch, &r)) {
        HOLDS(r.rule && r.topic.p && r.topic.p[r.topic.n] == '\0');
        HOLDS(r.topic.n <= scratch.n && r.key.n <= scratch.n);
    }
    buf_free(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size);
    char *match = line(&rest), *topic = line(&rest), *key = line(&rest), *prefix = line(&rest);
    struct config_rule rule = {.match = match ? match : "", .topic = topic, .key = key};
    struct config config = {.buses = &bus, .bus_count = 1, .rules = &rule, .rule_count = 1};
    struct route_table *t;
    char err[512] = "";

    bus.backend = bus_registry[0];
    rule.prefix = prefix;
    rule.hide_internal = size % 2 == 0;
    t = route_new(&config, err, sizeof err);
    HOLDS(t || *err);
    while (t && rest.n > 0)
        find(t, fuzz_part(&rest, '\n'));
    route_free(t);
    free(match);
    free(topic);
    free(key);
    free(prefix);
    return 0;
}
