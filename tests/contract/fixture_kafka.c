/* The suite on Kafka, on a real broker. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "bus/kafka_config.h"
#include "bus/registry.h"
#include "kafka_server.h"
#include "redis_values.h"
#include "suite.h"

#define SLOW_MS 20

/* In place of librdkafka's: letting go of a partition waits for one of its threads, and for what other
 * topics ask of it. Here it always takes a while, so that what comes meanwhile is seen. */
rd_kafka_error_t *rd_kafka_incremental_unassign(rd_kafka_t *rk,
                                                const rd_kafka_topic_partition_list_t *list)
{
    static const struct timespec slow = {.tv_nsec = SLOW_MS * 1000000L};
    rd_kafka_error_t *(*real)(rd_kafka_t *, const rd_kafka_topic_partition_list_t *);
    void *symbol = dlsym(RTLD_NEXT, "rd_kafka_incremental_unassign");
    memcpy(&real, &symbol, sizeof(real));
    nanosleep(&slow, NULL);
    return real(rk, list);
}

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
