/* Which offsets of which partitions are still to be looked at. Pure.
 *
 * Offsets have holes (compaction, control records of transactions, messages that were aborted): a
 * partition is over when a message at or beyond its end has come, or when the log says that it has
 * delivered everything before an offset. */
#ifndef BUS_KAFKA_RANGE_H
#define BUS_KAFKA_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

struct kafka_part {
    int64_t at;  /* everything before this offset was looked at */
    int64_t end; /* nothing from here on is wanted; at >= end: over */
};

struct kafka_range {
    int32_t count; /* partitions 0 … count - 1 */
    int32_t open;  /* those that are not over */
    struct kafka_part part[];
};

struct kafka_range *kafka_range_new(int32_t count); /* all over, at 0; free() it */
void kafka_range_set(struct kafka_range *r, int32_t partition, int64_t at, int64_t end);
bool kafka_range_has(const struct kafka_range *r, int32_t partition); /* is it open? */
/* A message has come: true if it is to be looked at. */
bool kafka_range_take(struct kafka_range *r, int32_t partition, int64_t offset);
/* Nothing before `offset` will come any more. */
void kafka_range_pass(struct kafka_range *r, int32_t partition, int64_t offset);
/* Nothing from `end` on is wanted or will come. */
void kafka_range_cut(struct kafka_range *r, int32_t partition, int64_t end);
/* The places that were reached; to be freed with cursor_free(). */
struct wsbus_cursor *kafka_range_cursor(const struct kafka_range *r);

#endif
