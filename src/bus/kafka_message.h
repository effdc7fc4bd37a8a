/* A message of librdkafka as one of ours. Any thread.
 *
 * A null key, a null payload and a header whose value is null or empty are told apart as the contract
 * asks: NULL is none, empty is not NULL. A null header value becomes an empty one. A message without
 * a time stamp (format 0) has ts 0. */
#ifndef BUS_KAFKA_MESSAGE_H
#define BUS_KAFKA_MESSAGE_H

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

/* A copy with one reference; `m` carries no error. */
struct wsbus_message *kafka_message_new(const rd_kafka_message_t *m);
/* Has it this key? `key` NULL: always. */
bool kafka_message_matches(const rd_kafka_message_t *m, const char *key, size_t key_len);

/* What an error of Kafka is in our terms, for requests that only ask; WSBUS_REFUSED for those that
 * have no name of their own. */
enum wsbus_status kafka_status(rd_kafka_resp_err_t err);
/* May the same request succeed later: no broker, no leader, a time-out? Those are
 * WSBUS_UNAVAILABLE. */
bool kafka_passes(rd_kafka_resp_err_t err);

#endif
