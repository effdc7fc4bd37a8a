/* Cursors: lists of positions, on the heap, sorted by partition. Pure; a cursor has one owner and
 * may be handed from thread to thread. The text of a position's id is the backend's. */
#ifndef PROTOCOL_CURSOR_H
#define PROTOCOL_CURSOR_H

#include <stdbool.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/span.h"

struct wsbus_cursor *cursor_new(uint32_t count); /* positions all zero, partitions 0, 1, … */
struct wsbus_cursor *cursor_copy(const struct wsbus_cursor *c); /* NULL stays NULL */
void cursor_free(struct wsbus_cursor *c);

/* The position of a partition, or NULL. */
struct wsbus_pos *cursor_find(struct wsbus_cursor *c, int32_t partition);
const struct wsbus_pos *cursor_get(const struct wsbus_cursor *c, int32_t partition);
/* Sets the position of its partition, growing the cursor if it lacks it (may move *c). */
void cursor_put(struct wsbus_cursor **c, const struct wsbus_pos *pos);
/* The same, but never backwards within an epoch. */
void cursor_advance(struct wsbus_cursor **c, const struct wsbus_pos *pos);

/* Order of two positions of one partition: <0, 0, >0 within one epoch. Different epochs: the
 * caller checks pos_comparable() first. */
int pos_compare(const struct wsbus_pos *a, const struct wsbus_pos *b);
bool pos_comparable(const struct wsbus_pos *a, const struct wsbus_pos *b);
/* The place just before that one; the first place stays where it is. */
struct wsbus_pos pos_before(struct wsbus_pos pos);

/* ["0/abc-17","1/def-2"]; null for a NULL cursor. */
void cursor_write(struct buf *out, const struct wsbus_cursor *c, const struct wsbus_backend *b);
/* "0/abc-17", with quotes. */
void pos_write(struct buf *out, const struct wsbus_pos *pos, const struct wsbus_backend *b);

/* The reverse of pos_write(), without the quotes, for text without escapes. 0, or -1. */
int pos_read(struct span text, const struct wsbus_backend *b, struct wsbus_pos *ret);

/* Reads a JSON array that json_check() has accepted. 0, or -1 with one sentence in *ret_why: not
 * an array of strings, a broken position (the partition is decimal without leading zeros), a
 * partition twice, more than 1024 positions. Unknown escapes in a position are broken too. */
int cursor_parse(struct span json, const struct wsbus_backend *b, struct wsbus_cursor **ret,
                 const char **ret_why);

#endif
