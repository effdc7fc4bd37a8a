/* The first message of a time or later in each partition, looked for by reading back from the end, where
 * the brokers know of none. Pure: says which windows to read, is told what was in them.
 *
 * They may err. Compaction leaves an empty batch where one was aborted, or is the last of a producer that
 * still writes; it keeps its time stamp, and Kafka looks for a time in the first segment that has one as
 * high: if nothing else in that segment is as new, it answers that there is no such message, whatever
 * stands behind (Kafka 4.3.0; LogSegment.findOffsetByTimestamp).
 *
 * Windows double, until one holds messages and all of them are older: what is older still is not looked
 * at, also where the time stamps of a log are in no order. */
#ifndef BUS_KAFKA_SINCE_H
#define BUS_KAFKA_SINCE_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/kafka_range.h"

struct kafka_since;

/* `doubtful` (copied): where the partitions to be looked at begin and end; others are over in it.
 * `max_scan`: offsets to look at beside the first window of each. */
struct kafka_since *kafka_since_new(const struct kafka_range *doubtful, int64_t time,
                                    uint64_t max_scan);
void kafka_since_free(struct kafka_since *s);
/* As kafka_newest_next() and kafka_newest_look(). */
struct kafka_range *kafka_since_next(struct kafka_since *s);
void kafka_since_look(struct kafka_since *s, int32_t partition, int64_t offset, int64_t ts);

/* When it is decided: where each partition that was looked at begins; its end if there is none. */
int64_t kafka_since_at(const struct kafka_since *s, int32_t partition);
/* max_scan was reached, and there may be older ones. */
bool kafka_since_more(const struct kafka_since *s);

#endif
