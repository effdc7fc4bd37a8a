/* What the contract says about topics with several partitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aid.h"
#include "base/mem.h"
#include "cases.h"
#include "protocol/cursor.h"

#define PARTS 5

/* Number i is in partition i % PARTS; each has a time stamp that is not before the last one's. */
static void publish(struct harness *h, const struct wsbus_topic *topic, unsigned count,
                    struct wsbus_pos *ret_pos)
{
    for (unsigned i = 0; i < count; i++) {
        char payload[16];
        snprintf(payload, sizeof(payload), "%u", i);
        struct wsbus_publish p = contract_text(topic, payload);
        p.partition = (int32_t)(i % PARTS);
        ret_pos[i] = contract_published(h, harness_publish(h, &p));
        assert_int_equal(ret_pos[i].partition, i % PARTS);
    }
}

/* Reads from a place to the end in pieces, marks what came: within a partition in order, none twice,
 * every cursor complete. Returns how many. */
static unsigned read_marks(struct harness *h, struct wsbus_read r, bool *seen, unsigned count)
{
    unsigned n = 0;
    memset(seen, 0, count * sizeof(*seen));
    for (unsigned turns = 0; turns < SPLICE * 2; turns++) {
        const struct event *e = contract_read(h, &r);
        assert_true(e->count <= r.max_messages);
        assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
        assert_int_equal(e->cursor->count, PARTS);
        for (size_t i = 0; i < e->count; i++) {
            unsigned number = contract_number_of(e->messages[i]);
            assert_in_range(number, 0, count - 1);
            assert_false(seen[number]);
            for (unsigned later = number + PARTS; later < count; later += PARTS)
                assert_false(seen[later]);
            seen[number] = true;
            n++;
        }
        r.from = e->cursor;
        if (e->end) return n;
    }
    fail_msg("reading does not come to an end");
    return 0;
}

/* Exactly the numbers from `first` on come after this place. */
static void expect_from(struct harness *h, const struct wsbus_topic *topic,
                        const struct wsbus_cursor *place, unsigned first)
{
    bool seen[MANY];
    struct wsbus_read r = contract_read_all(topic);
    r.from = place;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY - first);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen[i], i >= first);
}

/* The places after which numbers from `next` on follow. */
static struct wsbus_cursor *cursor_at(const struct wsbus_pos *pos, unsigned next)
{
    struct wsbus_cursor *c = cursor_new(PARTS);
    for (unsigned i = 0; i < PARTS; i++)
        c->pos[i] = pos_before(pos[i]);
    for (unsigned i = 0; i < next; i++)
        c->pos[i % PARTS] = pos[i];
    return c;
}

/* ---- locate ------------------------------------------------------------------------------- */

void locates_the_last_over_partitions(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    struct wsbus_pos pos[MANY];
    publish(h, &topic, MANY, pos);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_LAST, .count = MANY};
    expect_from(h, &topic, contract_locate(h, &l)->cursor, 0);
    l.count = 0;
    expect_from(h, &topic, contract_locate(h, &l)->cursor, MANY);
    /* Of those with the same time stamp any may be chosen, but as many as asked for. */
    bool seen[MANY];
    struct wsbus_read r = contract_read_all(&topic);
    for (l.count = 1; l.count < MANY; l.count += 7) {
        r.from = contract_locate(h, &l)->cursor;
        assert_int_equal(read_marks(h, r, seen, MANY), l.count);
    }
    struct wsbus_cursor *until = cursor_at(pos, 50);
    l.until = r.until = until;
    l.count = 20;
    r.from = contract_locate(h, &l)->cursor;
    assert_int_equal(read_marks(h, r, seen, MANY), 20);
    for (unsigned i = 50; i < MANY; i++)
        assert_false(seen[i]);
    cursor_free(until);
    harness_stop(h);
}

void locates_after_a_cursor_of_partitions(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    struct wsbus_pos pos[MANY];
    publish(h, &topic, MANY, pos);
    struct wsbus_cursor *after = cursor_at(pos, 37);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_AFTER, .cursor = after};
    const struct event *e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
    expect_from(h, &topic, e->cursor, 37);
    /* One partition is of another log: that one begins at its beginning, the others go on. */
    after->pos[3].lo += 1000;
    e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_LOST_EPOCH);
    assert_int_equal(e->cursor->count, PARTS);
    for (unsigned i = 0; i < PARTS; i++) {
        struct wsbus_pos expected = i == 3 ? pos_before(pos[3]) : after->pos[i];
        assert_int_equal(pos_compare(&e->cursor->pos[i], &expected), 0);
    }
    /* And so is a cursor with a partition that is not there. */
    cursor_free(after);
    after = cursor_at(pos, 37);
    struct wsbus_pos foreign = {.partition = PARTS, .epoch = pos[0].epoch, .lo = 1};
    cursor_put(&after, &foreign);
    l.cursor = after;
    e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_LOST_EPOCH);
    expect_from(h, &topic, e->cursor, 37);
    cursor_free(after);
    harness_stop(h);
}

void a_partition_that_the_cursor_lacks(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    struct wsbus_pos pos[MANY];
    bool seen[MANY];
    publish(h, &topic, MANY, pos);
    struct wsbus_cursor *after = cursor_at(pos, MANY);
    after->count = PARTS - 2;
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_AFTER, .cursor = after};
    const struct event *e = contract_locate(h, &l);
    assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
    struct wsbus_read r = contract_read_all(&topic);
    r.max_messages = 3;
    r.from = e->cursor;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY / PARTS * 2);
    r.from = after;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY / PARTS * 2);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen[i], i % PARTS >= PARTS - 2);
    /* An end that lacks them goes as far as the log does. */
    struct wsbus_cursor *until = cursor_at(pos, 0);
    until->count = PARTS - 2;
    r.from = NULL;
    r.until = until;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY / PARTS * 2);
    cursor_free(until);
    cursor_free(after);
    harness_stop(h);
}

void limits_over_partitions(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    struct wsbus_pos pos[MANY];
    publish(h, &topic, MANY, pos);
    struct wsbus_locate l = {.topic = topic, .place = WSBUS_EARLIEST, .max_messages = MANY};
    const struct event *e = contract_locate(h, &l);
    assert_false(e->limited);
    expect_from(h, &topic, e->cursor, 0);
    l.max_messages = 20;
    e = contract_locate(h, &l);
    assert_true(e->limited);
    expect_from(h, &topic, e->cursor, MANY - 20);
    harness_stop(h);
}

/* ---- read --------------------------------------------------------------------------------- */

void reads_partitions_in_pieces(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    struct wsbus_pos pos[MANY];
    bool seen[MANY];
    publish(h, &topic, MANY, pos);
    struct wsbus_read r = contract_read_all(&topic);
    assert_int_equal(read_marks(h, r, seen, MANY), MANY);
    r.max_messages = 7;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY);
    r.max_messages = 1000;
    r.max_bytes = 1;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY);
    r.max_bytes = 1 << 20;
    r.max_scan = 3;
    assert_int_equal(read_marks(h, r, seen, MANY), MANY);
    struct wsbus_cursor *from = cursor_at(pos, 13), *until = cursor_at(pos, 71);
    r.from = from;
    r.until = until;
    assert_int_equal(read_marks(h, r, seen, MANY), 58);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(seen[i], i >= 13 && i < 71);
    r.from = until;
    assert_int_equal(read_marks(h, r, seen, MANY), 0);
    cursor_free(from);
    cursor_free(until);
    harness_stop(h);
}

/* What was published before the confirmation is read, what comes after is delivered: each once. */
void past_and_feed_of_partitions_join_exactly(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG | WSBUS_CAP_PARTITION);
    struct wsbus_topic topic = contract_topic_of(PARTS);
    struct harness *h = contract_begin();
    uint64_t feed = 0, first = 0;
    for (unsigned i = 0; i < SPLICE; i++) {
        if (i == SPLICE / 2) feed = harness_subscribe(h, &topic);
        char payload[16];
        snprintf(payload, sizeof(payload), "%u", i);
        struct wsbus_publish p = contract_text(&topic, payload);
        p.partition = (int32_t)(i % PARTS);
        uint64_t token = harness_publish(h, &p);
        if (i == 0) first = token;
    }
    const struct event *e = harness_wait(h, EVENT_SUBSCRIBED, feed);
    assert_int_equal(e->status, WSBUS_OK);
    assert_int_equal(e->cursor->count, PARTS);
    /* The feed took one of the numbers. */
    for (uint64_t token = first; token < first + SPLICE + 1; token++)
        if (token != feed) contract_published(h, token);
    bool *seen = mem_zero(SPLICE * sizeof(*seen));
    struct wsbus_read r = contract_read_all(&topic);
    r.until = e->cursor;
    r.max_messages = 100;
    unsigned past = read_marks(h, r, seen, SPLICE);
    harness_wait_messages(h, feed, SPLICE - past);
    harness_close(h);
    assert_int_equal(harness_count(h, EVENT_MESSAGE, feed), SPLICE - past);
    for (unsigned i = 0; i < SPLICE - past; i++) {
        unsigned number = contract_number_of(harness_message(h, feed, i));
        assert_false(seen[number]);
        seen[number] = true;
    }
    free(seen);
    harness_stop(h);
}
