#include "bus/redis_info.h"

#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/span.h"
#include "bus/redis_entry.h"
#include "bus/redis_id.h"
#include "protocol/cursor.h"

/* ---- the reply ---------------------------------------------------------------------------------- */

static bool is_id(const struct redisReply *r, struct wsbus_pos *ret)
{
    struct wsbus_pos pos = {0};

    if (r->type != REDIS_REPLY_STRING || redis_pos_parse(r->str, r->len, &pos) < 0) return false;
    *ret = pos;
    return true;
}

static bool is_count(const struct redisReply *r, uint64_t *ret)
{
    if (r->type != REDIS_REPLY_INTEGER || r->integer < 0) return false;
    *ret = (uint64_t)r->integer;
    return true;
}

static size_t entry_size(const struct redisReply *r)
{
    const struct redisReply *list =
        r->type == REDIS_REPLY_ARRAY && r->elements > 1 ? r->element[1] : NULL;
    size_t n = 0;

    for (size_t i = 0; list && list->type == REDIS_REPLY_ARRAY && i < list->elements; i++)
        n += list->element[i]->len + 8;
    return n;
}

/* Which of the members were there. */
enum { HAS_LENGTH = 1, HAS_LAST = 2, HAS_ADDED = 4, HAS_DELETED = 8, HAS_FIRST = 16 };

static unsigned take_member(struct redis_info *i, struct span name, const struct redisReply *value)
{
    size_t bytes;

    if (span_eq(name, SPAN("length"))) return is_count(value, &i->length) ? HAS_LENGTH : 0;
    if (span_eq(name, SPAN("last-generated-id"))) return is_id(value, &i->last) ? HAS_LAST : 0;
    if (span_eq(name, SPAN("entries-added"))) return is_count(value, &i->added) ? HAS_ADDED : 0;
    if (span_eq(name, SPAN("max-deleted-entry-id")))
        return is_id(value, &i->deleted) ? HAS_DELETED : 0;
    if (span_eq(name, SPAN("first-entry"))) {
        i->entry_bytes = entry_size(value);
        return entry_pos(value, &i->first) == 0 ? HAS_FIRST : 0;
    }
    if (span_eq(name, SPAN("last-entry"))) {
        bytes = entry_size(value);
        i->entry_bytes = (i->entry_bytes + bytes) / 2;
    }
    return 0;
}

static bool says_no_key(const struct redisReply *r)
{
    static const char words[] = "ERR no such key";

    return r->type == REDIS_REPLY_ERROR && r->len >= sizeof words - 1 &&
           memcmp(r->str, words, sizeof words - 1) == 0;
}

int info_parse(const struct redisReply *r, struct redis_info *ret)
{
    struct redis_info i = {.exists = true};
    unsigned has = 0;

    if (says_no_key(r)) {
        *ret = (struct redis_info){0};
        return 0;
    }
    if (r->type != REDIS_REPLY_ARRAY) return -1;
    for (size_t k = 0; k + 1 < r->elements; k += 2) {
        const struct redisReply *name = r->element[k];
        if (name->type != REDIS_REPLY_STRING && name->type != REDIS_REPLY_STATUS) return -1;
        has |= take_member(&i, span_of(name->str, name->len), r->element[k + 1]);
    }
    if (!(has & HAS_LENGTH) || !(has & HAS_LAST)) return -1;
    if (i.length > 0 && !(has & HAS_FIRST)) return -1;
    i.counted = (has & HAS_ADDED) && (has & HAS_DELETED) && i.added >= i.length;
    *ret = i;
    return 0;
}

/* ---- what follows ------------------------------------------------------------------------------- */

static bool is_start(const struct wsbus_pos *pos)
{
    return pos->hi == 0 && pos->lo == 0;
}

struct wsbus_pos info_floor(const struct redis_info *i)
{
    return i->length > 0 ? pos_before(i->first) : i->last;
}

enum wsbus_lost info_lost(const struct redis_info *i, const struct wsbus_pos *after)
{
    struct wsbus_pos floor = info_floor(i);

    if (pos_compare(after, &i->last) > 0) return WSBUS_LOST_EPOCH;
    if (pos_compare(&floor, after) <= 0)
        return i->counted && pos_compare(&i->deleted, after) > 0 ? WSBUS_LOST_UNKNOWN
                                                                 : WSBUS_NOTHING_LOST;
    if (!i->counted || i->added != i->length) return WSBUS_LOST_EXPIRED;
    return is_start(after) ? WSBUS_NOTHING_LOST : WSBUS_LOST_EPOCH;
}

struct redis_mark info_end(const struct redis_info *i)
{
    struct redis_mark end = {.at = i->last, .counted = i->counted, .added = i->added};

    if (!i->exists) end.counted = true; /* of nothing it is known how much it was */
    return end;
}

/* Entries that were read, and of which no trace is left. */
static size_t count_below(const struct wsbus_pos *held, size_t count, const struct wsbus_pos *floor)
{
    size_t n = 0;

    while (n < count && pos_compare(&held[n], floor) <= 0)
        n++;
    return n;
}

/* The mark at `beyond`. Of the entries that were removed, those held that are gone lie behind it; if
 * more than these may lie there, because all that is held is gone, it is not known how many. */
static struct redis_mark mark_at(const struct redis_info *i, struct wsbus_pos beyond, size_t below,
                                 bool all_below)
{
    struct redis_mark mark = {.at = beyond, .counted = i->counted && !all_below};
    uint64_t removed = i->added - i->length;

    if (mark.counted) mark.added = removed > below ? removed - below : 0;
    return mark;
}

enum redis_verdict info_judge(const struct redis_info *i, const struct redis_mark *mark,
                              const struct wsbus_pos *held, size_t count,
                              struct redis_mark *ret_beyond)
{
    struct wsbus_pos floor = info_floor(i), beyond = floor;
    bool counted = i->counted && mark->counted;
    size_t below;

    if (!i->exists && count == 0) return VERDICT_WHOLE;
    if (i->exists && pos_compare(&i->last, &mark->at) < 0) return VERDICT_ANEW;
    if (count > 0) {
        struct wsbus_pos before = pos_before(held[0]);
        if (!i->exists || pos_compare(&before, &beyond) < 0) beyond = before;
    }
    if (i->exists && pos_compare(&floor, &mark->at) <= 0)
        return counted && i->added < mark->added ? VERDICT_ANEW : VERDICT_WHOLE;
    if (pos_compare(&beyond, &mark->at) <= 0) return VERDICT_WHOLE;
    below = count_below(held, count, &floor);
    /* Nothing at or before the mark is left: what is there now, and what was read and is gone again,
     * must be all that was added since. */
    if (counted && i->added >= mark->added && i->added - mark->added == i->length + below)
        return VERDICT_WHOLE;
    *ret_beyond = mark_at(i, beyond, below, count > 0 && below == count);
    return VERDICT_TRIMMED;
}
