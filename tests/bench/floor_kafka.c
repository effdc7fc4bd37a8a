#include "floor.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire.h"

enum { PARTITIONS = 4, TAKE = 1000 };

static rd_kafka_queue_t *queue;
static int ends[2];

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) == RD_KAFKA_CONF_OK) return;
    fprintf(stderr, "floor: %s\n", error);
    exit(1);
}

static int open_kafka(char **argv)
{
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", wire_arg(argv, "kafka", ""));
    set(conf, "group.id", "floor");
    set(conf, "enable.auto.commit", "false");
    rd_kafka_t *k = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(PARTITIONS);
    if (!k || pipe(ends) != 0) wire_die(error);
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(all, wire_arg(argv, "topic", ""), i)->offset =
            RD_KAFKA_OFFSET_END;
    rd_kafka_poll_set_consumer(k);
    if (rd_kafka_assign(k, all) != RD_KAFKA_RESP_ERR_NO_ERROR) wire_die("assign");
    rd_kafka_topic_partition_list_destroy(all);
    queue = rd_kafka_queue_get_consumer(k);
    rd_kafka_queue_io_event_enable(queue, ends[1], "1", 1);
    /* It is told of a queue that gets something, not of one that has something. */
    if (write(ends[1], "1", 1) != 1) wire_die("pipe");
    return ends[0];
}

static void read_kafka(void)
{
    static rd_kafka_message_t *list[TAKE];
    char drained[256];
    if (read(ends[0], drained, sizeof(drained)) < 0) wire_die("pipe");
    ssize_t n;
    do {
        n = rd_kafka_consume_batch_queue(queue, 0, list, TAKE);
        for (ssize_t i = 0; i < n; i++) {
            const rd_kafka_message_t *m = list[i];
            char key[16] = {0};
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && m->key_len < sizeof(key)) {
                memcpy(key, m->key, m->key_len);
                floor_deliver(m->payload, m->len, (unsigned)strtoul(key, NULL, 10));
            }
            rd_kafka_message_destroy(list[i]);
        }
    } while (n == TAKE);
}

static void join(unsigned channel)
{
    (void)channel; /* all keys come */
}

const struct floor_bus floor_kafka = {"kafka", open_kafka, read_kafka, join};
