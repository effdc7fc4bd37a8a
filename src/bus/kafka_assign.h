/* Changes of what a consumer fetches, and looks at all its topics, made in the order in which they
 * were given by a helper thread (kafka_crew.h), as many at a time as wait. What is added is fetched as
 * soon as the fetches that are under way have been answered. Bus thread. */
#ifndef BUS_KAFKA_ASSIGN_H
#define BUS_KAFKA_ASSIGN_H

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

#include "base/span.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_handle.h"

struct kafka_assign;

struct kafka_assign_ops {
    /* These partitions could not be added; the topic's name may be of one that is followed no more. */
    void (*failed)(void *owner, struct span topic, const char *words);
    /* A partition was taken away: of what was fetched of it before, nothing comes any more. Once for
     * each kafka_assign_remove(). */
    void (*removed)(void *owner, struct span topic);
    /* A look found this of a topic; count 0 with an error. */
    void (*seen)(void *owner, struct span topic, rd_kafka_resp_err_t err, int32_t count);
};

/* `handle` is lent, and given up by kafka_assign_stop(). */
struct kafka_assign *kafka_assign_new(struct kafka_handle *handle, struct kafka_crew *crew,
                                      const struct kafka_assign_ops *ops, void *owner);
void kafka_assign_add(struct kafka_assign *a, struct span topic, int32_t partition, int64_t offset);
void kafka_assign_remove(struct kafka_assign *a, struct span topic, int32_t partition);
/* Looks at all topics of the consumer, in one question; `topic` is one that is followed. Nothing
 * happens if the last look is not done yet. */
void kafka_assign_look(struct kafka_assign *a, struct span topic, uint64_t timeout_ms);
void kafka_assign_stop(struct kafka_assign *a); /* no callback after it */
void kafka_assign_free(
    struct kafka_assign *a); /* after kafka_assign_stop() and kafka_crew_stop() */

#endif
