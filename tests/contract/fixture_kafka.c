/* The suite on Kafka, on a real broker. */
#include <stdlib.h>

#include "bus/kafka_config.h"
#include "bus/registry.h"
#include "kafka_server.h"
#include "redis_values.h"
#include "suite.h"

static struct kafka_server *server;
static struct wsbus_value *options;

static int start(void)
{
    server = kafka_server_start();
    if (!server) return -1;
    options = redis_values(kafka_options);
    redis_value(kafka_options, options, "url")->string = kafka_server_url(server);
    return 0;
}

static void stop(void)
{
    kafka_server_stop(server);
    free(options);
}

static void make(const char *topic, unsigned partitions)
{
    if (kafka_server_create(server, topic, (int)partitions) < 0) abort();
}

static void cut(void)
{
    kafka_server_cut(server);
}

static void shorten(const char *topic, unsigned keep)
{
    if (kafka_server_shorten(server, topic, keep) < 0) abort();
}

static const struct wsbus_value *values(void)
{
    return options;
}

int main(void)
{
    const struct contract_fixture kafka = {
        .name = "kafka",
        .backend = &backend_kafka,
        .caps = backend_kafka.caps(NULL),
        .start = start,
        .stop = stop,
        .make = make,
        .cut = cut,
        .shared = true,
        .values = values,
        .shorten = shorten,
    };
    return contract_run(&kafka);
}
