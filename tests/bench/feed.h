/* What feed.c sends to Kafka. */
#ifndef BENCH_FEED_H
#define BENCH_FEED_H

#include <stddef.h>

void feed_kafka_open(const char *brokers, const char *topic);
void feed_kafka_put(unsigned channel, const char *body, size_t len);
void feed_kafka_poll(void);
void feed_kafka_end(void);

#endif
