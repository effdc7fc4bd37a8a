/* Which offsets of which partitions are still to be looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bus/kafka_range.h"
#include "protocol/cursor.h"

static struct kafka_range *two(int64_t a, int64_t a_end, int64_t b, int64_t b_end)
{
    struct kafka_range *r = kafka_range_new(2);

    kafka_range_set(r, 0, a, a_end);
    kafka_range_set(r, 1, b, b_end);
    return r;
}

static void counts_what_is_open(void **state)
{
    struct kafka_range *r = two(0, 3, 5, 5);

    (void)state;
    assert_int_equal(r->open, 1);
    assert_true(kafka_range_has(r, 0));
    assert_false(kafka_range_has(r, 1));
    assert_false(kafka_range_has(r, 2));
    assert_false(kafka_range_has(r, -1));
    kafka_range_set(r, 1, 5, 6);
    assert_int_equal(r->open, 2);
    kafka_range_set(r, 1, 7, 6);
    assert_int_equal(r->open, 1);
    free(r);
}

static void takes_each_offset_once(void **state)
{
    struct kafka_range *r = two(2, 5, 0, 1);

    (void)state;
    assert_false(kafka_range_take(r, 0, 1));
    assert_true(kafka_range_take(r, 0, 2));
    assert_false(kafka_range_take(r, 0, 2));
    assert_true(kafka_range_take(r, 0, 3));
    assert_int_equal(r->open, 2);
    assert_true(kafka_range_take(r, 0, 4));
    assert_int_equal(r->open, 1);
    assert_false(kafka_range_take(r, 0, 5));
    assert_false(kafka_range_take(r, 7, 0));
    assert_true(kafka_range_take(r, 1, 0));
    assert_int_equal(r->open, 0);
    free(r);
}

/* The last messages before the end were compacted away, or are the marks of transactions. */
static void a_later_message_ends_it(void **state)
{
    struct kafka_range *r = two(0, 10, 0, 10);

    (void)state;
    assert_true(kafka_range_take(r, 0, 4));
    assert_int_equal(r->part[0].at, 5);
    assert_false(kafka_range_take(r, 0, 12));
    assert_int_equal(r->part[0].at, 10);
    assert_int_equal(r->open, 1);
    free(r);
}

static void the_end_of_the_log_ends_it(void **state)
{
    struct kafka_range *r = two(0, 10, 0, 10);

    (void)state;
    kafka_range_pass(r, 0, 7); /* not yet */
    assert_int_equal(r->part[0].at, 7);
    assert_int_equal(r->open, 2);
    kafka_range_pass(r, 0, 3);
    assert_int_equal(r->part[0].at, 7);
    kafka_range_pass(r, 0, 10);
    assert_int_equal(r->open, 1);
    kafka_range_pass(r, 1, 99);
    assert_int_equal(r->part[1].at, 10);
    assert_int_equal(r->open, 0);
    kafka_range_pass(r, 1, 100);
    kafka_range_pass(r, 5, 100);
    assert_int_equal(r->open, 0);
    free(r);
}

static void a_log_that_is_shorter_cuts_it(void **state)
{
    struct kafka_range *r = two(0, 10, 4, 10);

    (void)state;
    kafka_range_cut(r, 0, 12);
    assert_int_equal(r->part[0].end, 10);
    kafka_range_cut(r, 0, 6);
    assert_int_equal(r->part[0].end, 6);
    assert_int_equal(r->open, 2);
    kafka_range_cut(r, 1, 2);
    assert_int_equal(r->part[1].end, 4);
    assert_int_equal(r->part[1].at, 4);
    assert_int_equal(r->open, 1);
    kafka_range_cut(r, 1, 1);
    assert_int_equal(r->open, 1);
    free(r);
}

static void the_cursor_names_every_partition(void **state)
{
    struct kafka_range *r = two(0, 10, 4, 4);
    struct wsbus_cursor *c;

    (void)state;
    assert_true(kafka_range_take(r, 0, 6));
    c = kafka_range_cursor(r);
    assert_int_equal(c->count, 2);
    assert_int_equal(c->pos[0].partition, 0);
    assert_int_equal(c->pos[0].lo, 7);
    assert_int_equal(c->pos[1].partition, 1);
    assert_int_equal(c->pos[1].lo, 4);
    cursor_free(c);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_is_open),
        cmocka_unit_test(takes_each_offset_once),
        cmocka_unit_test(a_later_message_ends_it),
        cmocka_unit_test(the_end_of_the_log_ends_it),
        cmocka_unit_test(a_log_that_is_shorter_cuts_it),
        cmocka_unit_test(the_cursor_names_every_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
