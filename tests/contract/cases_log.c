/* What the contract says about the past: locate(), read(), positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aid.h"
#include "cases.h"
#include "protocol/cursor.h"

/* ---- locate ------------------------------------------------------------------------------- */

void locates_the_ends(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_EARLIEST};
    const struct event *empty = contract_locate(h, &l);
    assert_int_equal(empty->cursor->count, 1);
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    assert_int_equal(contract_number_after(h, &topic, empty->cursor, NULL), 0);
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), 0);
    l.place = WSBUS_LATEST;
    const struct event *e = contract_locate(h, &l);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), -1);
    assert_int_equal(pos_compare(&e->cursor->pos[0], &pos[MANY - 1]), 0);
    l.place = WSBUS_EARLIEST;
    l.max_messages = 10;
    e = contract_locate(h, &l);
    assert_true(e->limited);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), MANY - 10);
    l.max_messages = MANY;
    e = contract_locate(h, &l);
    assert_false(e->limited);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), 0);
    harness_stop(h);
}

void locates_the_last(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_LAST, .count = 1};
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL),
                     MANY - 1);
    l.count = 0;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), -1);
    l.count = MANY + 5;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), 0);
    struct wsbus_cursor *until = contract_cursor(pos[49]);
    l.until = until;
    l.count = 10;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), 40);
    l.max_messages = 4;
    const struct event *e = contract_locate(h, &l);
    assert_true(e->limited);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), 46);
    cursor_free(until);
    harness_stop(h);
}

void locates_by_key(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_KEY);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_LAST, .key = "a", .key_len = 1};
    l.count = 2; /* of 0, 3, … 96, 99 */
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, "a"), 96);
    struct wsbus_cursor *until = contract_cursor(pos[50]);
    l.until = until;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, "a"), 45);
    cursor_free(until);
    l.until = NULL;
    l.count = 1000;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, "a"), 0);
    l.key = "nobody";
    l.key_len = 6;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, "nobody"),
                     -1);
    harness_stop(h);
}

void locates_by_time(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_TIME);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_read r = contract_read_all(&topic);
    const struct event *all = contract_read(h, &r);
    assert_int_equal(all->count, MANY);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_AT_TIME, .time = 0};
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), 0);
    int64_t middle = all->messages[MANY / 2]->ts;
    unsigned expected = 0;
    while (all->messages[expected]->ts < middle)
        expected++;
    l.time = middle;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL),
                     expected);
    l.time = all->messages[MANY - 1]->ts + 1;
    assert_int_equal(contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL), -1);
    harness_stop(h);
}

void locates_after_a_cursor(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_cursor *after = contract_cursor(pos[30]);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_AFTER, .cursor = after};
    const struct event *e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), 31);
    l.max_messages = 5;
    e = contract_locate(h, &l);
    assert_true(e->limited);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), MANY - 5);
    l.max_messages = 0;
    after->count = 0; /* names no partition: all are new */
    e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), 0);
    after->count = 1;
    after->pos[0] = pos[MANY - 1];
    after->pos[0].lo += 1000;
    e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_LOST_EPOCH);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), 0);
    cursor_free(after);
    harness_stop(h);
}

void tells_what_has_expired(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    const struct contract_fixture *fixture = contract_fixture;
    if (!fixture->values_short && !fixture->shorten) skip();
    struct harness *h = fixture->shorten
                            ? contract_begin()
                            : harness_start(fixture->backend, fixture->values_short(10));
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    if (fixture->shorten) fixture->shorten(topic.name, 10);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_EARLIEST};
    int oldest = contract_number_after(h, &topic, contract_locate(h, &l)->cursor, NULL);
    assert_in_range(oldest, 1, MANY - 1);
    struct wsbus_cursor *after = contract_cursor(pos[oldest - 1]);
    l.place = WSBUS_AFTER;
    l.cursor = after;
    if (!fixture->doubts) assert_int_equal(contract_locate(h, &l)->lost, WSBUS_NOTHING_LOST);
    after->pos[0] = pos[oldest];
    assert_int_equal(contract_locate(h, &l)->lost, WSBUS_NOTHING_LOST);
    after->pos[0] = pos_before(pos[oldest - 1]);
    const struct event *e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_LOST_EXPIRED);
    assert_int_equal(contract_number_after(h, &topic, e->cursor, NULL), oldest);
    struct wsbus_read r = contract_read_all(&topic);
    r.from = after;
    e = contract_read(h, &r);
    assert_int_equal(e->lost, WSBUS_LOST_EXPIRED);
    assert_non_null(e->lost_until);
    assert_true(pos_compare(&e->lost_until->pos[0], &pos[oldest - 1]) >= 0);
    assert_true(pos_compare(&e->lost_until->pos[0], &pos[oldest]) < 0);
    assert_int_equal(contract_number_of(e->messages[0]), oldest);
    cursor_free(after);
    harness_stop(h);
}

/* ---- read --------------------------------------------------------------------------------- */

void reads_in_pieces(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_read r = contract_read_all(&topic);
    assert_int_equal(contract_read_numbers(h, r, 0, 1), MANY);
    r.max_messages = 7;
    assert_int_equal(contract_read_numbers(h, r, 0, 1), MANY);
    r.max_messages = 1000;
    r.max_bytes = 1;
    assert_int_equal(contract_read_numbers(h, r, 0, 1), MANY);
    r.max_bytes = 1 << 20;
    r.max_scan = 3;
    assert_int_equal(contract_read_numbers(h, r, 0, 1), MANY);
    struct wsbus_cursor *from = contract_cursor(pos[9]), *until = contract_cursor(pos[59]);
    r.from = from;
    r.until = until;
    assert_int_equal(contract_read_numbers(h, r, 10, 1), 50);
    r.from = until;
    assert_int_equal(contract_read_numbers(h, r, 0, 1), 0);
    cursor_free(from);
    cursor_free(until);
    harness_stop(h);
}

void reads_one_key(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_KEY);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, MANY, pos);
    struct wsbus_read r = contract_read_all(&topic);
    r.key = "a";
    r.key_len = 1;
    assert_int_equal(contract_read_numbers(h, r, 0, 3), 34);
    r.max_scan = 2;
    assert_int_equal(contract_read_numbers(h, r, 0, 3), 34);
    r.max_messages = 1;
    assert_int_equal(contract_read_numbers(h, r, 0, 3), 34);
    harness_stop(h);
}

/* What was published before the confirmation is read, what comes after is delivered: each once. */
void past_and_feed_join_exactly(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    uint64_t feed = 0, last = 0;
    for (unsigned i = 0; i < SPLICE; i++) {
        if (i == SPLICE / 2) feed = harness_subscribe(h, &topic);
        last = contract_number(h, &topic, i, NULL);
    }
    const struct event *e = harness_wait(h, EVENT_SUBSCRIBED, feed);
    assert_int_equal(e->status, WSBUS_OK);
    contract_published(h, last);
    struct wsbus_read r = contract_read_all(&topic);
    r.until = e->cursor;
    r.max_messages = 100;
    unsigned past = contract_read_numbers(h, r, 0, 1);
    harness_wait_messages(h, feed, SPLICE - past);
    harness_close(h);
    assert_int_equal(harness_count(h, EVENT_MESSAGE, feed), SPLICE - past);
    for (unsigned i = past; i < SPLICE; i += 97)
        assert_int_equal(contract_number_of(harness_message(h, feed, i - past)), i);
    harness_stop(h);
}

/* ---- positions ---------------------------------------------------------------------------- */

void positions_survive_their_text(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[4];
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_EARLIEST};
    pos[3] = contract_locate(h, &l)->cursor->pos[0];
    contract_publish_many(h, &topic, 3, pos);
    for (unsigned i = 0; i < 4; i++) {
        char buf[WSBUS_POS_TEXT_MAX];
        size_t n = contract_fixture->backend->pos_format(&pos[i], buf);
        assert_in_range(n, 1, sizeof(buf) - 1);
        struct wsbus_pos back = {.partition = pos[i].partition};
        assert_int_equal(contract_fixture->backend->pos_parse(buf, n, &back), 0);
        assert_memory_equal(&back.epoch, &pos[i].epoch, sizeof(back.epoch));
        assert_int_equal(pos_compare(&back, &pos[i]), 0);
    }
    harness_stop(h);
}

void broken_positions_are_refused(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    static const char *const broken[] = {
        "",
        "-",
        "--",
        " ",
        "x y",
        "1-",
        "-x",
        "1-1-1",
        "1-01",
        "1-99999999999999999999",
        "99999999999999999999999999-1",
        "1- 1",
        "1-+1",
        "\xff",
        "1-1 ",
        "../1",
        "1/1",
        "-1-1",
    };
    struct wsbus_pos pos;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        assert_int_equal(contract_fixture->backend->pos_parse(broken[i], strlen(broken[i]), &pos),
                         -1);
    assert_int_equal(contract_fixture->backend->pos_parse("1\0", 2, &pos), -1);
}
