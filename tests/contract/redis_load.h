/* Who writes to Redis Streams at full speed, and keeps book: streams s0, s1, ... of a server whose user
 * `writer` (password `pw`) is theirs, so that all others can be cut off without them.
 *
 * One thread, but for the producers, which are threads of their own between start and stop. */
#ifndef CONTRACT_REDIS_LOAD_H
#define CONTRACT_REDIS_LOAD_H

#include <stddef.h>

#include <hiredis/hiredis.h>

#include <wsbus/backend.h>

#include "redis_server.h"

#define LOAD_STREAMS 12

/* Sorted ids. */
struct ids {
    struct wsbus_pos *pos;
    size_t count, size;
};

void ids_add(struct ids *l, struct wsbus_pos pos);
/* The index of the first id after a place. */
size_t ids_after(const struct ids *l, const struct wsbus_pos *pos);

/* A connection of the producers' user, who is made if need be. */
redisContext *load_dial(struct redis_server *server);
/* Waits for a time like "0.05" of seconds. */
void load_pause(redisContext *c, const char *seconds);

/* Begins with an empty server. `maxlen` of XADD; 0: none. */
void load_start(struct redis_server *server, unsigned maxlen);
/* Ends the producers. What they stored is in load_stored() then; if nothing was trimmed, it is
 * compared with what the server has. */
void load_stop(void);
const struct ids *load_stored(unsigned stream);
void load_forget(void);

#endif
