/* What XINFO STREAM says about what was lost. */
#include <stdio.h>

#include "redis_text.h"

#include "bus/redis_id.h"
#include "bus/redis_info.h"
#include "protocol/cursor.h"

#define ENTRY(id) "*2 $ " id " *2 $ data $ x"

static struct wsbus_pos id(const char *text)
{
    struct wsbus_pos pos = {0};
    assert_int_equal(redis_pos_parse(text, strlen(text), &pos), 0);
    return pos;
}

static void is_id(const struct wsbus_pos *pos, const char *text)
{
    char buf[REDIS_ID_MAX];
    assert_string_equal(redis_id_text(pos, buf), text);
}

/* ---- replies ---------------------------------------------------------------------------------- */

static struct redis_info parsed(const char *text)
{
    struct redis_info i;
    redisReply *r = redis_text(text);
    assert_int_equal(info_parse(r, &i), 0);
    freeReplyObject(r);
    return i;
}

static void reads_7_0(void **state)
{
    struct redis_info i =
        parsed("*20 $ length :2 $ radix-tree-keys :1 $ radix-tree-nodes :2 "
               "$ last-generated-id $ 9-1 $ max-deleted-entry-id $ 3-0 $ entries-added :5 "
               "$ recorded-first-entry-id $ 4-0 $ groups :0 $ first-entry " ENTRY(
                   "4-0") " $ last-entry " ENTRY("9-0"));
    (void)state;
    assert_true(i.exists && i.counted);
    assert_int_equal(i.length, 2);
    assert_int_equal(i.added, 5);
    is_id(&i.last, "9-1");
    is_id(&i.first, "4-0");
    is_id(&i.deleted, "3-0");
    assert_in_range(i.entry_bytes, 5, 50);
}

static void reads_6_2(void **state)
{
    struct redis_info i = parsed("*14 $ length :2 $ radix-tree-keys :1 $ radix-tree-nodes :2 "
                                 "$ last-generated-id $ 9-0 $ groups :0 $ first-entry " ENTRY(
                                     "4-0") " $ last-entry " ENTRY("9-0"));
    (void)state;
    assert_true(i.exists);
    assert_false(i.counted);
    is_id(&i.first, "4-0");
    i = parsed("*14 $ length :0 $ radix-tree-keys :0 $ radix-tree-nodes :1 "
               "$ last-generated-id $ 9-0 $ groups :0 $ first-entry $-1 $ last-entry $-1");
    assert_int_equal(i.length, 0);
    assert_int_equal(i.entry_bytes, 0);
}

static void no_key_is_an_answer(void **state)
{
    struct redis_info i = parsed("-ERR_no_such_key");
    (void)state;
    assert_false(i.exists);
    is_id(&i.last, "0-0");
}

static void other_replies_are_refused(void **state)
{
    static const char *const texts[] = {
        "-WRONGTYPE_Operation_against_a_key",
        "-NOPERM_no",
        ":1",
        "*0",
        "*2 $ length :1",
        "*4 $ length :1 $ last-generated-id $ 1-0",
        "*6 $ length :1 $ last-generated-id $ x $ first-entry " ENTRY("1-0"),
        "*6 $ length :-1 $ last-generated-id $ 1-0 $ first-entry " ENTRY("1-0"),
        "*6 $ length :1 $ last-generated-id $ 1-0 $ first-entry $-1",
        "*2 :1 :2",
    };
    (void)state;
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        struct redis_info i;
        redisReply *r = redis_text(texts[k]);
        assert_int_equal(info_parse(r, &i), -1);
        freeReplyObject(r);
    }
}

/* ---- a stream as a row -------------------------------------------------------------------------- */

struct row {
    const char *why;
    /* the stream: length -1 is no key, added -1 an older server */
    int length, added;
    const char *first, *last, *deleted;
};

static struct redis_info info_of(const struct row *row)
{
    struct redis_info i = {.exists = row->length >= 0};
    if (!i.exists) return i;
    i.length = (uint64_t)row->length;
    i.last = id(row->last);
    if (row->length) i.first = id(row->first);
    i.counted = row->added >= 0;
    if (i.counted) i.added = (uint64_t)row->added;
    if (i.counted) i.deleted = id(row->deleted);
    return i;
}

static void what_a_cursor_has_lost(void **state)
{
    static const struct {
        struct row row;
        const char *after;
        enum wsbus_lost lost;
    } rows[] = {
        {{"no key, from the beginning", -1, 0, 0, 0, 0}, "0-0", WSBUS_NOTHING_LOST},
        {{"no key, a cursor of one that was", -1, 0, 0, 0, 0}, "5-0", WSBUS_LOST_EPOCH},
        {{"at the end", 3, 3, "5-0", "9-0", "0-0"}, "9-0", WSBUS_NOTHING_LOST},
        {{"beyond the end", 3, 3, "5-0", "9-0", "0-0"}, "9-1", WSBUS_LOST_EPOCH},
        {{"within", 3, 3, "5-0", "9-0", "0-0"}, "6-3", WSBUS_NOTHING_LOST},
        {{"at the first", 3, 8, "5-0", "9-0", "0-0"}, "5-0", WSBUS_NOTHING_LOST},
        {{"just before the first", 3, 8, "5-1", "9-0", "0-0"}, "5-0", WSBUS_NOTHING_LOST},
        {{"just before it, over a millisecond", 3, 8, "5-0", "9-0", "0-0"},
         "4-18446744073709551615",
         WSBUS_NOTHING_LOST},
        {{"before the first, some trimmed", 3, 8, "5-0", "9-0", "0-0"}, "4-0", WSBUS_LOST_EXPIRED},
        {{"the beginning, some trimmed", 3, 8, "5-0", "9-0", "0-0"}, "0-0", WSBUS_LOST_EXPIRED},
        {{"the beginning, none trimmed", 3, 3, "5-0", "9-0", "0-0"}, "0-0", WSBUS_NOTHING_LOST},
        {{"of a stream before this one", 3, 3, "5-0", "9-0", "0-0"}, "2-0", WSBUS_LOST_EPOCH},
        {{"one behind it was deleted", 3, 4, "5-0", "9-0", "7-0"}, "6-0", WSBUS_LOST_UNKNOWN},
        {{"one at it was deleted", 3, 4, "5-0", "9-0", "6-0"}, "6-0", WSBUS_NOTHING_LOST},
        {{"the first was deleted", 3, 4, "5-0", "9-0", "4-0"}, "3-0", WSBUS_LOST_EXPIRED},
        {{"all trimmed, at the end", 0, 4, 0, "9-0", "0-0"}, "9-0", WSBUS_NOTHING_LOST},
        {{"all trimmed, before the end", 0, 4, 0, "9-0", "0-0"}, "8-0", WSBUS_LOST_EXPIRED},
        {{"made without an entry", 0, 0, 0, "0-0", "0-0"}, "0-0", WSBUS_NOTHING_LOST},
        {{"6.2, within", 3, -1, "5-0", "9-0", 0}, "6-0", WSBUS_NOTHING_LOST},
        {{"6.2, just before the first", 3, -1, "5-1", "9-0", 0}, "5-0", WSBUS_NOTHING_LOST},
        {{"6.2, before the first", 3, -1, "5-0", "9-0", 0}, "4-0", WSBUS_LOST_EXPIRED},
        {{"6.2, the beginning", 3, -1, "5-0", "9-0", 0}, "0-0", WSBUS_LOST_EXPIRED},
        {{"6.2, beyond the end", 3, -1, "5-0", "9-0", 0}, "10-0", WSBUS_LOST_EPOCH},
        {{"6.2, all trimmed", 0, -1, 0, "9-0", 0}, "8-0", WSBUS_LOST_EXPIRED},
    };
    (void)state;
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        struct redis_info i = info_of(&rows[k].row);
        struct wsbus_pos after = id(rows[k].after);
        if (info_lost(&i, &after) != rows[k].lost)
            fail_msg("%s: %d", rows[k].row.why, (int)info_lost(&i, &after));
    }
}

static void where_a_stream_begins(void **state)
{
    const struct row some = {"", 3, 3, "5-0", "9-0", "0-0"}, none = {"", 0, 3, 0, "9-0", "0-0"},
                     gone = {"", -1, 0, 0, 0, 0};
    struct redis_info i = info_of(&some);
    struct wsbus_pos floor = info_floor(&i);
    (void)state;
    is_id(&floor, "4-18446744073709551615");
    i = info_of(&none);
    floor = info_floor(&i);
    is_id(&floor, "9-0");
    i = info_of(&gone);
    floor = info_floor(&i);
    is_id(&floor, "0-0");
}

static const struct {
    struct row row;
    const char *at;
    int added; /* up to `at`; -1: not known */
    const char *held[3];
    enum redis_verdict verdict;
    const char *beyond;
    int beyond_added;
} missed[] = {
    {{"nothing new", 3, 3, "5-0", "9-0", "0-0"}, "9-0", 3, {0}, VERDICT_WHOLE, 0, 0},
    {{"all new are there", 5, 5, "5-0", "12-0", "0-0"}, "9-0", 3, {"10-0"}, VERDICT_WHOLE, 0, 0},
    {{"no key any more", -1, 0, 0, 0, 0}, "9-0", 3, {0}, VERDICT_WHOLE, 0, 0},
    {{"no key yet", -1, 0, 0, 0, 0}, "0-0", 0, {0}, VERDICT_WHOLE, 0, 0},
    {{"the first ever", 1, 1, "9-0", "9-0", "0-0"}, "0-0", 0, {"9-0"}, VERDICT_WHOLE, 0, 0},
    {{"the last three are left of four", 3, 4, "6-0", "9-0", "0-0"},
     "0-0",
     0,
     {"6-0"},
     VERDICT_TRIMMED,
     "5-18446744073709551615",
     1},
    {{"trimmed up to the mark", 1, 4, "10-0", "10-0", "0-0"},
     "9-0",
     3,
     {"10-0"},
     VERDICT_WHOLE,
     0,
     0},
    {{"trimmed beyond the mark", 1, 5, "11-0", "11-0", "0-0"},
     "9-0",
     3,
     {"11-0"},
     VERDICT_TRIMMED,
     "10-18446744073709551615",
     4},
    {{"trimmed beyond it, nothing held", 1, 5, "11-0", "11-0", "0-0"},
     "9-0",
     3,
     {0},
     VERDICT_TRIMMED,
     "10-18446744073709551615",
     4},
    {{"held ones are gone already", 1, 6, "13-0", "13-0", "12-0"},
     "9-0",
     3,
     {"11-0", "12-0"},
     VERDICT_WHOLE,
     0,
     0},
    {{"held ones are gone, and one before", 1, 7, "13-0", "13-0", "12-0"},
     "9-0",
     3,
     {"11-0", "12-0"},
     VERDICT_TRIMMED,
     "10-18446744073709551615",
     -1},
    {{"a held one is gone, and one before", 2, 7, "12-0", "13-0", "0-0"},
     "9-0",
     3,
     {"11-0", "12-0"},
     VERDICT_TRIMMED,
     "10-18446744073709551615",
     4},
    {{"all gone, after it was read", 0, 4, 0, "10-0", "10-0"},
     "9-0",
     3,
     {"10-0"},
     VERDICT_WHOLE,
     0,
     0},
    {{"all gone, unread", 0, 5, 0, "11-0", "0-0"}, "9-0", 3, {0}, VERDICT_TRIMMED, "11-0", 5},
    {{"follows at once", 1, -1, "9-1", "9-1", 0}, "9-0", -1, {"9-1"}, VERDICT_WHOLE, 0, 0},
    {{"ends before the mark", 3, 3, "5-0", "8-0", "0-0"}, "9-0", 9, {0}, VERDICT_ANEW, 0, 0},
    {{"another one, with smaller ids too", 3, 3, "5-0", "12-0", "0-0"},
     "9-0",
     5,
     {0},
     VERDICT_ANEW,
     0,
     0},
    {{"another one, shorter", 2, 2, "20-0", "21-0", "0-0"},
     "9-0",
     5,
     {"20-0"},
     VERDICT_TRIMMED,
     "19-18446744073709551615",
     0},
    {{"another one, longer", 9, 9, "20-0", "30-0", "0-0"},
     "9-0",
     5,
     {"20-0"},
     VERDICT_TRIMMED,
     "19-18446744073709551615",
     0},
    {{"gone with what was held", -1, 0, 0, 0, 0},
     "9-0",
     3,
     {"12-0"},
     VERDICT_TRIMMED,
     "11-18446744073709551615",
     -1},
    {{"gone, but nothing between", -1, 0, 0, 0, 0}, "9-0", 3, {"9-1"}, VERDICT_WHOLE, 0, 0},
    {{"6.2, an older one is left", 2, -1, "9-0", "10-0", 0},
     "9-5",
     -1,
     {"10-0"},
     VERDICT_WHOLE,
     0,
     0},
    {{"6.2, none is left", 2, -1, "10-0", "11-0", 0},
     "9-5",
     -1,
     {"10-0"},
     VERDICT_TRIMMED,
     "9-18446744073709551615",
     -1},
    {{"6.2, ends before the mark", 2, -1, "5-0", "6-0", 0}, "9-5", -1, {0}, VERDICT_ANEW, 0, 0},
};

static void what_a_reader_has_missed(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof missed / sizeof missed[0]; k++) {
        struct redis_info i = info_of(&missed[k].row);
        struct redis_mark mark = {.at = id(missed[k].at), .counted = missed[k].added >= 0};
        struct redis_mark beyond = {0};
        struct wsbus_pos held[3];
        size_t count = 0;
        enum redis_verdict verdict;
        if (mark.counted) mark.added = (uint64_t)missed[k].added;
        while (count < 3 && missed[k].held[count]) {
            held[count] = id(missed[k].held[count]);
            count++;
        }
        verdict = info_judge(&i, &mark, held, count, &beyond);
        if (verdict != missed[k].verdict) fail_msg("%s: %d", missed[k].row.why, (int)verdict);
        if (verdict != VERDICT_TRIMMED) continue;
        is_id(&beyond.at, missed[k].beyond);
        assert_int_equal(beyond.counted, missed[k].beyond_added >= 0);
        if (beyond.counted) assert_int_equal(beyond.added, missed[k].beyond_added);
    }
}

static void begins_at_the_end(void **state)
{
    const struct row some = {"", 3, 7, "5-0", "9-0", "0-0"}, gone = {"", -1, 0, 0, 0, 0},
                     old = {"", 3, -1, "5-0", "9-0", 0};
    struct redis_info i = info_of(&some);
    struct redis_mark mark = info_end(&i);
    (void)state;
    is_id(&mark.at, "9-0");
    assert_true(mark.counted && mark.added == 7);
    i = info_of(&gone);
    mark = info_end(&i);
    is_id(&mark.at, "0-0");
    assert_true(mark.counted && mark.added == 0);
    i = info_of(&old);
    mark = info_end(&i);
    assert_false(mark.counted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_7_0),
        cmocka_unit_test(reads_6_2),
        cmocka_unit_test(no_key_is_an_answer),
        cmocka_unit_test(other_replies_are_refused),
        cmocka_unit_test(what_a_cursor_has_lost),
        cmocka_unit_test(where_a_stream_begins),
        cmocka_unit_test(what_a_reader_has_missed),
        cmocka_unit_test(begins_at_the_end),
    };
    return cmocka_run_group_tests_name("redis_info", tests, NULL, NULL);
}
