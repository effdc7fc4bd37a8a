/* The suite on Redis channels, on a real server. */
#include <stdlib.h>

#include "bus/redis_config.h"
#include "bus/registry.h"
#include "redis_server.h"
#include "redis_values.h"
#include "suite.h"

static struct redis_server *server;
static struct wsbus_value *options;

static int start(void)
{
    server = redis_server_start(false);
    if (!server) return -1;
    options = redis_values(redis_options);
    redis_value(redis_options, options, "url")->string = redis_server_url(server);
    return 0;
}

static void stop(void)
{
    redis_server_stop(server);
    free(options);
}

static void cut(void)
{
    redis_server_cut(server);
}

static const struct wsbus_value *values(void)
{
    return options;
}

int main(void)
{
    const struct contract_fixture pubsub = {
        .name = "redis pubsub",
        .backend = &backend_redis,
        .caps = backend_redis.caps(NULL),
        .start = start,
        .stop = stop,
        .cut = cut,
        .shared = true,
        .values = values,
    };
    return contract_run(&pubsub);
}
