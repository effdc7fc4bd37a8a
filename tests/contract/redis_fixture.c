#include "redis_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "bus/redis_config.h"
#include "bus/registry.h"
#include "redis_server.h"
#include "redis_values.h"
#include "suite.h"

static struct redis_server *server;
static struct wsbus_value *options, *rule;
static bool with_tls;

static int start(void)
{
    server = redis_server_start(with_tls);
    if (!server) return -1;
    options = redis_values(redis_options);
    redis_value(redis_options, options, "url")->string = redis_server_url(server);
    if (with_tls) redis_value(redis_options, options, "ca")->string = redis_server_ca(server);
    return 0;
}

static void stop(void)
{
    redis_server_stop(server);
    free(options);
    free(rule);
}

static void cut(void)
{
    redis_server_cut(server);
}

static void shorten(const char *topic, unsigned keep)
{
    char command[128], reply[64];

    snprintf(command, sizeof command, "XTRIM %s MAXLEN = %u", topic, keep);
    if (redis_server_ask(server, command, reply, sizeof reply) < 0) abort();
}

static const struct wsbus_value *values(void)
{
    return options;
}

int redis_fixture_run(const char *name, bool streams, bool tls)
{
    with_tls = tls;
    rule = redis_values(redis_rule_options);
    redis_value(redis_rule_options, rule, "kind")->string = streams ? "stream" : "pubsub";
    const struct contract_fixture fixture = {
        .name = name,
        .backend = &backend_redis,
        .caps = backend_redis.caps(rule),
        .rule = rule,
        .start = start,
        .stop = stop,
        .cut = cut,
        .shared = true,
        .values = values,
        .shorten = streams ? shorten : NULL,
        .doubts = streams,
    };
    return contract_run(&fixture);
}
