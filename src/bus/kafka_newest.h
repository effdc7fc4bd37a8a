/* The newest n messages of a topic, over its partitions together by time stamp, found by looking back
 * from the ends in windows that grow. Pure: says which windows to read, is told what was in them.
 *
 * What is chosen of a partition is always an end of its log, whatever the order of its time stamps: the
 * message that is chosen next is the one with the highest time stamp among the last ones of each
 * partition that are not chosen yet. */
#ifndef BUS_KAFKA_NEWEST_H
#define BUS_KAFKA_NEWEST_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/kafka_range.h"

struct kafka_newest;

struct newest_spec {
    uint64_t wanted;   /* at least 1 */
    bool one_more;     /* find out whether there are more */
    bool sparse;       /* not everything that is looked at counts */
    uint64_t max_scan; /* messages to look at; 0: no limit */
};

/* `range` (copied) holds where each partition begins and ends. */
struct kafka_newest *kafka_newest_new(const struct newest_spec *spec,
                                      const struct kafka_range *range);
void kafka_newest_free(struct kafka_newest *n);
/* What is to be looked at next, to be freed; NULL: it is decided. Then each message of it is told, in
 * the order of its partition, and then this is called again. */
struct kafka_range *kafka_newest_next(struct kafka_newest *n);
void kafka_newest_look(struct kafka_newest *n, int32_t partition, int64_t offset, int64_t ts,
                       bool counts);

/* When it is decided: */
int64_t kafka_newest_at(const struct kafka_newest *n, int32_t partition); /* first offset chosen */
/* There are more than `wanted`, or max_scan has been reached before. */
bool kafka_newest_more(const struct kafka_newest *n);

#endif
