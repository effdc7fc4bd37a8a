/* The addresses of Kafka's brokers as a URL; kafka_config.h has the forms. Pure. What stands before
 * the "@" is never repeated in a message. */
#ifndef BUS_KAFKA_URL_H
#define BUS_KAFKA_URL_H

#include <stdbool.h>
#include <stddef.h>

struct kafka_url {
    char *brokers;         /* "host:port,host:port", as librdkafka takes it */
    char *user, *password; /* or NULL: both or none */
    bool tls;
};

/* 0, or -1 with one sentence in `err`; kafka_url_free() in both cases. */
int kafka_url_parse(const char *text, struct kafka_url *ret, char *err, size_t err_size);
void kafka_url_free(struct kafka_url *u);

#endif
