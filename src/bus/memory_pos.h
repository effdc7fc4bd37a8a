/* Positions of the memory bus as text: "<epoch>-<id>", the epoch in base 36 and not 0, the id in
 * base 10; no leading zeros. Pure. */
#ifndef BUS_MEMORY_POS_H
#define BUS_MEMORY_POS_H

#include <wsbus/backend.h>

/* As the operations of struct wsbus_backend with these names. */
int memory_pos_parse(const char *text, size_t len, struct wsbus_pos *ret);
size_t memory_pos_format(const struct wsbus_pos *pos, char *buf);

#endif
