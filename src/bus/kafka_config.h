/* The options of a bus of type kafka: read once, checked before anything starts.
 *
 *   url          kafka://[user:password@][host[:port][,host[:port]…]]     kafkas:// speaks TLS
 *   properties   any property of librdkafka, checked with its own words; those on which exactness
 *                rests are refused with the reason
 *
 * User and password are percent-decoded; with them SASL is on, mechanism PLAIN unless
 * `sasl.mechanisms` says otherwise. No message of this module repeats any part of the URL in which a
 * password may stand, or the value of a property. Any thread; kafka_config_new() reads certificates
 * from files. */
#ifndef BUS_KAFKA_CONFIG_H
#define BUS_KAFKA_CONFIG_H

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

struct kafka_config {
    rd_kafka_conf_t *base;    /* what the user gave and what every handle has */
    char *where;              /* "host:port,host:port", for words to people; no secrets */
    uint64_t publish_timeout; /* ms until a publish is answered */
    uint64_t request_timeout; /* ms that one question to the brokers may take */
    uint64_t refresh;         /* ms between looks for added and deleted partitions */
    size_t queue_bytes;       /* of publishes that are not answered */
    bool scram;               /* the login is SCRAM */
    /* The property list as given, lent: names and values in turn. */
    const char *const *given;
    size_t given_count;
};

/* What a handle of librdkafka is for. All consumers are read_committed unless the user says
 * otherwise, commit nothing, create no topics, announce the end of a partition (PARTITION_EOF) and
 * have auto.offset.reset=error: offsets are always given. */
enum kafka_role {
    KAFKA_QUERY,    /* consumer: metadata and offsets only */
    KAFKA_LIVE,     /* consumer: what is followed; short waits */
    KAFKA_READER,   /* consumer: the past; small queues */
    KAFKA_PRODUCER, /* idempotent, acks=all, murmur2 */
};

extern const struct wsbus_option kafka_options[];

/* NULL with one sentence in `err`. `values` are lent for as long as it lives. */
struct kafka_config *kafka_config_new(const struct wsbus_value *values, char *err, size_t err_size);
void kafka_config_free(struct kafka_config *c);
/* Also makes handles without brokers, which lets librdkafka read its files; starts threads and ends
 * them. */
int kafka_config_check(const struct wsbus_value *values, char *err, size_t err_size);
/* A copy of the properties for a handle: the caller's, who gives it to kafka_handle_new(). */
rd_kafka_conf_t *kafka_config_conf(const struct kafka_config *c, enum kafka_role role);

#endif
