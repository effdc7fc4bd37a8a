/* Channel names: 1 to 255 bytes of UTF-8, segments separated by single dots, none empty, no
 * control characters (C0, DEL, C1), no Unicode white space, no '*', '{', '}'. Case-sensitive. */
#ifndef PROTOCOL_CHANNEL_H
#define PROTOCOL_CHANNEL_H

#include <stdbool.h>

#include "base/span.h"

#define CHANNEL_MAX 255

bool channel_valid(struct span name);

#endif
