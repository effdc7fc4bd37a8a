/* A real Kafka broker for tests: the one at WSBUS_TEST_KAFKA (127.0.0.1:PORT) if that is set, or one of
 * its own (tests/kafka/broker), in a new folder, on free ports of 127.0.0.1, gone with the test's
 * process however that ends. That takes some seconds to start.
 *
 * Functions that return int: 0, or -1 with a line on stderr. One thread. */
#ifndef CONTRACT_KAFKA_SERVER_H
#define CONTRACT_KAFKA_SERVER_H

#include <stdint.h>

struct kafka_server;

struct kafka_server *kafka_server_start(void);  /* NULL: failed, with a line on stderr */
void kafka_server_stop(struct kafka_server *s); /* NULL is fine */

const char *kafka_server_url(const struct kafka_server *s);
int kafka_server_create(struct kafka_server *s, const char *topic, int partitions);
/* Deletes the oldest messages of partition 0 until so many offsets are left. */
int kafka_server_shorten(struct kafka_server *s, const char *topic, unsigned keep);
/* Cuts all connections that this process has to it. */
void kafka_server_cut(struct kafka_server *s);

#endif
