/* The first message of a time or later, looked for from the end, on logs that are arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bus/kafka_since.h"

#define PARTS 3
#define LENGTH 5000
#define PLENTY 1000000

/* A time stamp below 0: a hole. */
static int64_t logs[PARTS][LENGTH];
static unsigned passes, looked;

static void fill(int32_t part, int64_t ts, int64_t step)
{
    for (int64_t k = 0; k < LENGTH; k++)
        logs[part][k] = ts + k * step;
}

static void holes(int32_t part, int64_t first, int64_t end)
{
    for (int64_t k = first; k < end; k++)
        logs[part][k] = -1;
}

/* Plays the reader until it is decided; partitions from `parts` on are over. */
static struct kafka_since *find(int32_t parts, int64_t first, int64_t time, uint64_t max_scan)
{
    struct kafka_range *r = kafka_range_new(PARTS);
    struct kafka_since *s;

    for (int32_t i = 0; i < PARTS; i++)
        kafka_range_set(r, i, i < parts ? first : LENGTH, LENGTH);
    s = kafka_since_new(r, time, max_scan);
    free(r);
    passes = looked = 0;
    while ((r = kafka_since_next(s))) {
        assert_true(++passes < 1000);
        assert_true(r->open > 0);
        for (int32_t i = 0; i < PARTS; i++) {
            for (int64_t k = r->part[i].at; k < r->part[i].end; k++) {
                assert_true(i < parts && k >= first);
                looked++;
                if (logs[i][k] >= 0) kafka_since_look(s, i, k, logs[i][k]);
            }
        }
        free(r);
    }
    return s;
}

static void none_is_found_at_once(void **state)
{
    struct kafka_since *s;

    (void)state;
    fill(0, 1000, 1);
    fill(1, 0, 0);
    s = find(2, 0, 1000 + LENGTH, PLENTY);
    assert_int_equal(kafka_since_at(s, 0), LENGTH);
    assert_int_equal(kafka_since_at(s, 1), LENGTH);
    assert_int_equal(kafka_since_at(s, 2), LENGTH);
    assert_int_equal(passes, 1);
    assert_false(kafka_since_more(s));
    kafka_since_free(s);
}

static void what_the_brokers_missed(void **state)
{
    struct kafka_since *s;

    (void)state;
    fill(0, 0, 10);
    fill(1, 0, 1);
    fill(2, 0, 2);
    for (int64_t time = 1; time <= 10 * LENGTH; time += 777) {
        int64_t first = (time + 9) / 10;
        s = find(1, 0, time, PLENTY);
        assert_int_equal(kafka_since_at(s, 0), first);
        assert_true(looked < 128 + 6 * (LENGTH - first));
        kafka_since_free(s);
    }
    s = find(3, 100, 4000, PLENTY);
    assert_int_equal(kafka_since_at(s, 0), 400);
    assert_int_equal(kafka_since_at(s, 1), 4000);
    assert_int_equal(kafka_since_at(s, 2), 2000);
    kafka_since_free(s);
}

static void down_to_what_is_there(void **state)
{
    struct kafka_since *s;

    (void)state;
    fill(0, 1000, 1);
    s = find(1, 4321, 5, PLENTY);
    assert_int_equal(kafka_since_at(s, 0), 4321);
    assert_false(kafka_since_more(s));
    kafka_since_free(s);
}

static void through_holes(void **state)
{
    struct kafka_since *s;

    (void)state;
    fill(0, 0, 1);
    holes(0, 1000, LENGTH);
    s = find(1, 0, 900, PLENTY);
    assert_int_equal(kafka_since_at(s, 0), 900);
    kafka_since_free(s);
    holes(0, 0, LENGTH);
    s = find(1, 0, 900, PLENTY);
    assert_int_equal(kafka_since_at(s, 0), LENGTH);
    kafka_since_free(s);
}

static void within_what_may_be_looked_at(void **state)
{
    struct kafka_since *s;

    (void)state;
    fill(0, 0, 1);
    s = find(1, 0, 100, 1000);
    assert_true(kafka_since_more(s));
    assert_true(looked <= 1000 + 64 * PARTS);
    assert_int_equal(kafka_since_at(s, 0), LENGTH - looked);
    kafka_since_free(s);
    /* Of each partition the first window at least. */
    fill(1, 0, 1);
    fill(2, 0, 1);
    s = find(3, 0, LENGTH - 10, 1);
    for (int32_t i = 0; i < PARTS; i++)
        assert_int_equal(kafka_since_at(s, i), LENGTH - 10);
    assert_false(kafka_since_more(s));
    kafka_since_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_found_at_once),        cmocka_unit_test(what_the_brokers_missed),
        cmocka_unit_test(down_to_what_is_there),        cmocka_unit_test(through_holes),
        cmocka_unit_test(within_what_may_be_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
