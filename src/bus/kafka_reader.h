/* A consumer that reads pieces of the past, one after the other.
 *
 * It is placed at offsets of a topic and then delivers until its owner stops it. It keeps the place
 * where it was stopped, with what it has fetched beyond: a piece that begins there costs nothing.
 *
 * Its flow stands still from ops->message returning false, or from kafka_reader_stop(), until
 * kafka_reader_place() or kafka_reader_go(). Only so is it certain that no message of an earlier place is taken for one of the
 * new: assign() drops what librdkafka has not delivered yet. Bus thread. */
#ifndef BUS_KAFKA_READER_H
#define BUS_KAFKA_READER_H

#include <stdbool.h>

#include <wsbus/backend.h>

#include "base/span.h"
#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"
#include "bus/kafka_handle.h"
#include "bus/kafka_range.h"

struct kafka_reader;

struct kafka_reader_ops {
    /* As kafka_handle_ops.message: a message, or the error of a partition. From inside nothing of this
     * module may be called but kafka_reader_free(). */
    bool (*message)(void *owner, const rd_kafka_message_t *m);
    /* kafka_reader_place() has ended, well or (`words`) not; the flow may have been stopped since. */
    void (*placed)(void *owner, const char *words);
    void (*error)(void *owner, rd_kafka_resp_err_t err, const char *words);
};

struct kafka_reader_spec {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    const struct kafka_reader_ops *ops;
    void *owner;
};

/* NULL with one sentence in `err`. */
struct kafka_reader *kafka_reader_new(const struct kafka_reader_spec *spec, char *err,
                                      size_t err_size);
void kafka_reader_free(struct kafka_reader *r); /* no callback after it */

/* Neither being placed nor delivering. */
bool kafka_reader_rests(const struct kafka_reader *r);
/* Would it deliver exactly what is open in the range next, were it to go on? */
bool kafka_reader_stands(const struct kafka_reader *r, struct span topic,
                         const struct kafka_range *range);
bool kafka_reader_holds(const struct kafka_reader *r); /* has it a place? */
/* These two while it rests: delivers what is open in the range; with NULL lets go of everything. */
void kafka_reader_place(struct kafka_reader *r, struct span topic, const struct kafka_range *range);
void kafka_reader_go(struct kafka_reader *r); /* goes on where it stands */
void kafka_reader_stop(struct kafka_reader *r);

#endif
