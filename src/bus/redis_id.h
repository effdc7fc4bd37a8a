/* Ids of entries as positions: partition 0, epoch 0, hi = milliseconds, lo = sequence.
 *
 * The text is that of Redis, "1699999999999-0"; 0-0 is the place before the first entry, which no
 * entry may have. Successor and predecessor are exact: between an id and its successor there is no
 * other. Pure. */
#ifndef BUS_REDIS_ID_H
#define BUS_REDIS_ID_H

#include <stdbool.h>
#include <stddef.h>

#include <wsbus/backend.h>

#define REDIS_ID_MAX 42 /* of the text, with the NUL: two numbers of 20 digits */

/* The backend's pos_parse() and pos_format(). Only what redis_pos_format() writes is parsed: both
 * numbers, without leading zeros. */
int redis_pos_parse(const char *text, size_t len, struct wsbus_pos *ret);
size_t redis_pos_format(const struct wsbus_pos *pos, char *buf);

/* The same as a C string, in `buf` of REDIS_ID_MAX, which is returned. */
const char *redis_id_text(const struct wsbus_pos *pos, char *buf);
/* The id that follows at once; the greatest stays what it is. The reverse is pos_before(). */
struct wsbus_pos redis_id_next(struct wsbus_pos pos);
/* The first id of a millisecond; negative times are 0-0. */
struct wsbus_pos redis_id_at(int64_t ms);

#endif
