/* Kafka's past: locate() and read(), by a pool of consumers that read beside the live one, at most
 * host->readers of them. Bus thread. */
#ifndef BUS_KAFKA_PAST_H
#define BUS_KAFKA_PAST_H

#include <wsbus/backend.h>

#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_meta.h"

struct kafka_past;

/* Nothing is connected before the first request. All but `host` are lent until kafka_past_free(). */
struct kafka_past *kafka_past_new(const struct wsbus_host *host, const struct kafka_config *config,
                                  struct kafka_crew *crew, struct kafka_meta *meta);
/* Answered by host->located() and host->chunk(). */
void kafka_past_locate(struct kafka_past *p, uint64_t token, const struct wsbus_locate *l);
void kafka_past_read(struct kafka_past *p, uint64_t token, const struct wsbus_read *r);
/* Answers everything (WSBUS_UNAVAILABLE); no callback after it. Its handles may still end on their
 * threads. */
void kafka_past_stop(struct kafka_past *p);
void kafka_past_free(struct kafka_past *p); /* after kafka_past_stop() */

struct kafka_past_figures {
    size_t requests, waiting, readers;
};
struct kafka_past_figures kafka_past_figures(const struct kafka_past *p);

#endif
