/* Entries of a stream and messages.
 *
 * An entry is a list of fields, name and value in turn, in which a name may come more than once.
 * The field `data` (an option of the rule says which) is the payload, `key` the key, the others are
 * headers, also a second one of these names. An entry without a payload field is, as payload, a
 * JSON object of all its fields: a name that comes once has a string, one that comes more often an
 * array of them in their order; a value that is not UTF-8 is {"binary":"<base64>"}, a name that is
 * not UTF-8 is left out, as with headers. The key is the key there too. The time of a message is
 * that in its id. Pure. */
#ifndef BUS_REDIS_ENTRY_H
#define BUS_REDIS_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/span.h"
#include "bus/redis_config.h"

struct redisReply;

#define ENTRY_BYTES_MAX (UINT32_C(1) << 29) /* as JSON that is at most six times as many */

struct redis_entry {
    struct wsbus_pos pos;
    uint32_t count; /* of fields: fields[0 .. 2 * count) */
    const struct span *fields;
    size_t bytes; /* of names and values */
};

/* Memory for the fields of one entry at a time, that is used again. Zeroed at first. */
struct entry_room {
    struct span *fields;
    size_t size;
};
void entry_room_done(struct entry_room *room);

/* [id, [name, value, ...]] of XREAD, XRANGE, XREVRANGE. The entry points into the reply and the
 * room. 0, or -1: it is no entry, or has more than ENTRY_BYTES_MAX (*ret has its position then, if
 * that can be read, and no fields; otherwise position 0-0). */
int entry_parse(const struct redisReply *r, struct entry_room *room, struct redis_entry *ret);
/* Only its position: 0, or -1. */
int entry_pos(const struct redisReply *r, struct wsbus_pos *ret);
/* A copy in one allocation, for free(). */
struct redis_entry *entry_copy(const struct redis_entry *e);

/* With one reference. */
struct wsbus_message *entry_message(const struct redis_entry *e, const struct redis_rule *rule);
/* The value of its key field; p is NULL if it has none. */
struct span entry_key(const struct redis_entry *e, const struct redis_rule *rule);

#endif
