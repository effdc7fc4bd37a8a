/* Positions of Kafka: epoch 0, hi 0, lo = offset + 1. As text the offset in base 10 without leading
 * zeros; "-1" is the place before the first message. Pure. */
#ifndef BUS_KAFKA_POS_H
#define BUS_KAFKA_POS_H

#include <wsbus/backend.h>

/* As the operations of struct wsbus_backend with these names. */
int kafka_pos_parse(const char *text, size_t len, struct wsbus_pos *ret);
size_t kafka_pos_format(const struct wsbus_pos *pos, char *buf);

/* The place before the message with this offset: reading goes on with it. */
static inline struct wsbus_pos kafka_pos_before(int32_t partition, int64_t offset)
{
    return (struct wsbus_pos){.partition = partition, .lo = (uint64_t)offset};
}

/* The offset of the first message that may follow. */
static inline int64_t kafka_pos_next(const struct wsbus_pos *pos)
{
    return (int64_t)pos->lo;
}

#endif
