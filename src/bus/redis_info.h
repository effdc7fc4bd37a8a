/* What XINFO STREAM says, and what follows from it: which entries a reader has missed.
 *
 * Facts that the conclusions rest on (Redis 6.0 to 7.4; streams are trimmed from the front):
 *   - trimming (XTRIM, XADD MAXLEN, MINID) takes the smallest ids. While one entry at or before a
 *     place is left, no entry behind it was trimmed;
 *   - XDEL takes entries from anywhere and is not a loss for who reads on: it was taken back. Since
 *     7.0 `max-deleted-entry-id` is the greatest id that XDEL took; trimming leaves it alone;
 *   - since 7.0 `entries-added` counts all that were ever added, also those that are gone. A stream
 *     that comes from a file of an older server starts with its length then. Before 7.0 neither is
 *     there, and what cannot be told counts as lost;
 *   - a stream that is deleted and created anew has ids by the clock again, as a rule greater ones;
 *     its `entries-added` starts at 0.
 * Pure. */
#ifndef BUS_REDIS_INFO_H
#define BUS_REDIS_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

struct redisReply;

struct redis_info {
    bool exists;  /* false: there is no such key; all else is 0 */
    bool counted; /* `added` and `deleted` are known: 7.0 or later */
    uint64_t length;
    uint64_t added;           /* entries-added */
    struct wsbus_pos last;    /* last-generated-id */
    struct wsbus_pos first;   /* the oldest entry; 0-0: none */
    struct wsbus_pos deleted; /* max-deleted-entry-id */
    size_t entry_bytes;       /* about what an entry has, by the first and the last; 0: none */
};

/* The reply to XINFO STREAM key; the error that there is no such key is one of the answers. 0, or
 * -1: another error, or not understood. */
int info_parse(const struct redisReply *r, struct redis_info *ret);

/* The place before the oldest entry; of a stream without entries its end. */
struct wsbus_pos info_floor(const struct redis_info *i);

/* For a cursor whose history is not known: is everything after it there? A cursor before the oldest
 * entry has lost nothing only if nothing was ever removed and it is 0-0: another one was never in
 * this log. */
enum wsbus_lost info_lost(const struct redis_info *i, const struct wsbus_pos *after);

/* How far a reader has come in one stream. */
struct redis_mark {
    struct wsbus_pos at; /* everything up to here was delivered */
    bool counted;
    uint64_t added; /* with `counted`: so many entries were ever added up to here */
};

/* At the end of the stream as it is. */
struct redis_mark info_end(const struct redis_info *i);

enum redis_verdict {
    VERDICT_WHOLE,   /* nothing between the mark and what is next was lost */
    VERDICT_TRIMMED, /* something was, or that cannot be excluded */
    VERDICT_ANEW,    /* the stream ends before the mark, or has had fewer entries: another one */
};

/* `held` are the ids of the `count` entries that were read from behind the mark already, before this
 * XINFO. With VERDICT_TRIMMED *ret_beyond is the mark behind what was lost, before the first one
 * held. */
enum redis_verdict info_judge(const struct redis_info *i, const struct redis_mark *mark,
                              const struct wsbus_pos *held, size_t count,
                              struct redis_mark *ret_beyond);

#endif
