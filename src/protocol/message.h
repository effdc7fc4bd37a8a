/* A bus message as the `message` frame of a channel: encoded once for each channel that has
 * members. Pure. */
#ifndef PROTOCOL_MESSAGE_H
#define PROTOCOL_MESSAGE_H

#include <stdbool.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/span.h"

/* Appends {"type":"message","channel":…,"pos":…,"ts":…,"key":…,"headers":…,"data":…}.
 * The form of the payload (data, text, binary) is decided by its bytes alone and it is the last
 * member; a tombstone is "data":null,"tombstone":true. Without WSBUS_CAP_LOG (`log` false) there
 * is no pos. A message header that occurs several times counts with its last value; a header name
 * that is not UTF-8 is left out. */
void message_write(struct buf *out, struct span channel, const struct wsbus_message *m,
                   const struct wsbus_backend *b, bool log);

/* What stands before `,"pos":` in it. */
void message_open(struct buf *out, struct span channel);
/* Is this text of a frame a message's? */
bool message_is(struct span frame);

#endif
