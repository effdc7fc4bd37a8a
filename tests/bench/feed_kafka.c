#include "feed.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire.h"

static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char error[256];
    if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) == RD_KAFKA_CONF_OK) return;
    fprintf(stderr, "feed: %s\n", error);
    exit(1);
}

void feed_kafka_open(const char *brokers, const char *name)
{
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "linger.ms", "1");
    set(conf, "acks", "1");
    set(conf, "queue.buffering.max.messages", "1000000");
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    if (!producer) wire_die(error);
    topic = rd_kafka_topic_new(producer, name, NULL);
    /* The first message is not to wait for this. */
    const rd_kafka_metadata_t *known;
    if (rd_kafka_metadata(producer, 0, topic, &known, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        wire_die("Kafka's metadata");
    rd_kafka_metadata_destroy(known);
}

void feed_kafka_put(unsigned channel, const char *body, size_t len)
{
    char key[16];
    int key_len = snprintf(key, sizeof(key), "%05u", channel);
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (char *)body, len,
                            key, (size_t)key_len, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) wire_die("produce");
        rd_kafka_poll(producer, 10);
    }
}

void feed_kafka_poll(void)
{
    rd_kafka_poll(producer, 0);
}

void feed_kafka_end(void)
{
    if (rd_kafka_flush(producer, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR) wire_die("flush");
}
