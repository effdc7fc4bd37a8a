/* The newest n messages over partitions, on logs that are arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bus/kafka_newest.h"

#define PARTS_MAX 5
#define LENGTH_MAX 400

/* A time stamp below 0: a hole. */
struct log {
    int64_t first, end;
    int64_t ts[LENGTH_MAX];
    bool counts[LENGTH_MAX];
};

static struct log logs[PARTS_MAX];
static unsigned passes, looked;

static struct kafka_range *whole(int32_t parts)
{
    struct kafka_range *r = kafka_range_new(parts);

    for (int32_t i = 0; i < parts; i++)
        kafka_range_set(r, i, logs[i].first, logs[i].end);
    return r;
}

/* Plays the reader until it is decided. */
static struct kafka_newest *find(int32_t parts, const struct newest_spec *spec)
{
    struct kafka_range *all = whole(parts), *r;
    struct kafka_newest *n = kafka_newest_new(spec, all);

    passes = looked = 0;
    while ((r = kafka_newest_next(n))) {
        assert_true(++passes < 1000);
        assert_true(r->open > 0);
        for (int32_t i = 0; i < parts; i++) {
            assert_true(r->part[i].at >= all->part[i].at || r->part[i].at >= r->part[i].end);
            for (int64_t k = r->part[i].at; k < r->part[i].end; k++) {
                if (logs[i].ts[k] < 0) continue;
                looked++;
                kafka_newest_look(n, i, k, logs[i].ts[k], logs[i].counts[k]);
            }
        }
        free(r);
    }
    free(all);
    return n;
}

static void fill(int32_t part, int64_t length, int64_t ts, int64_t step)
{
    logs[part].first = 0;
    logs[part].end = length;
    for (int64_t k = 0; k < length; k++) {
        logs[part].ts[k] = ts + k * step;
        logs[part].counts[k] = true;
    }
}

static void expect(const struct kafka_newest *n, int32_t part, int64_t at)
{
    assert_int_equal(kafka_newest_at(n, part), at);
}

static void of_one_partition(void **state)
{
    struct newest_spec spec = {.wanted = 10};
    struct kafka_newest *n;

    (void)state;
    fill(0, 100, 1000, 1);
    n = find(1, &spec);
    expect(n, 0, 90);
    assert_int_equal(passes, 1);
    assert_int_equal(looked, 10); /* and no more than those */
    assert_false(kafka_newest_more(n));
    kafka_newest_free(n);
}

static void of_less_than_wanted(void **state)
{
    struct newest_spec spec = {.wanted = 1000, .one_more = true};
    struct kafka_newest *n;

    (void)state;
    fill(0, 7, 0, 1);
    fill(1, 0, 0, 0);
    n = find(2, &spec);
    expect(n, 0, 0);
    expect(n, 1, 0);
    assert_false(kafka_newest_more(n));
    kafka_newest_free(n);
    spec.wanted = 7;
    n = find(2, &spec);
    expect(n, 0, 0);
    assert_false(kafka_newest_more(n));
    kafka_newest_free(n);
    spec.wanted = 6;
    n = find(2, &spec);
    expect(n, 0, 1);
    assert_true(kafka_newest_more(n));
    kafka_newest_free(n);
}

static void over_partitions_by_time(void **state)
{
    struct newest_spec spec = {.wanted = 30};
    struct kafka_newest *n;

    (void)state;
    fill(0, 100, 0, 10);  /* …, 970, 980, 990 */
    fill(1, 100, 800, 2); /* …, 994, 996, 998 */
    fill(2, 50, 0, 1);    /* long ago */
    n = find(3, &spec);
    /* From 950 on: five of the first, 25 of the second. */
    expect(n, 0, 95);
    expect(n, 1, 75);
    expect(n, 2, 50);
    kafka_newest_free(n);
}

static void through_holes(void **state)
{
    struct newest_spec spec = {.wanted = 5};
    struct kafka_newest *n;

    (void)state;
    fill(0, 400, 0, 1);
    for (int64_t k = 0; k < 400; k++)
        if (k % 50 != 0) logs[0].ts[k] = -1;
    n = find(1, &spec);
    expect(n, 0, 150); /* 150, 200, 250, 300, 350 */
    kafka_newest_free(n);
}

static void only_what_counts(void **state)
{
    struct newest_spec spec = {.wanted = 3, .sparse = true};
    struct kafka_newest *n;

    (void)state;
    fill(0, 400, 0, 1);
    fill(1, 400, 0, 1);
    for (int64_t k = 0; k < 400; k++) {
        logs[0].counts[k] = k % 100 == 0;
        logs[1].counts[k] = k == 250;
    }
    n = find(2, &spec);
    expect(n, 0, 200); /* 300, 250, 200 */
    expect(n, 1, 250);
    kafka_newest_free(n);
}

static void within_what_may_be_looked_at(void **state)
{
    struct newest_spec spec = {.wanted = 3, .sparse = true, .max_scan = 120};
    struct kafka_newest *n;

    (void)state;
    fill(0, 400, 0, 1);
    for (int64_t k = 0; k < 400; k++)
        logs[0].counts[k] = k % 100 == 50;
    n = find(1, &spec);
    assert_int_equal(looked, 120);
    assert_true(kafka_newest_more(n));
    expect(n, 0, 280);
    kafka_newest_free(n);
}

/* Producers' clocks differ: what is chosen is an end of each log all the same. */
static void whatever_the_order_of_times(void **state)
{
    (void)state;
    srand(4711);
    for (unsigned round = 0; round < 300; round++) {
        int32_t parts = 1 + rand() % PARTS_MAX;
        struct newest_spec spec = {.wanted = 1 + (uint64_t)(rand() % 300), .one_more = rand() % 2};
        uint64_t chosen = 0, all = 0;
        struct kafka_newest *n;
        for (int32_t i = 0; i < parts; i++) {
            fill(i, rand() % LENGTH_MAX, 0, 0);
            logs[i].first = logs[i].end ? rand() % logs[i].end : 0;
            for (int64_t k = 0; k < logs[i].end; k++)
                logs[i].ts[k] = rand() % 4 ? rand() % 1000 : -1;
        }
        n = find(parts, &spec);
        for (int32_t i = 0; i < parts; i++) {
            for (int64_t k = logs[i].first; k < logs[i].end; k++) {
                if (logs[i].ts[k] < 0) continue;
                all++;
                if (k >= kafka_newest_at(n, i)) chosen++;
            }
        }
        assert_int_equal(chosen, all < spec.wanted ? all : spec.wanted);
        if (spec.one_more) assert_int_equal(kafka_newest_more(n), all > spec.wanted);
        kafka_newest_free(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_one_partition),
        cmocka_unit_test(of_less_than_wanted),
        cmocka_unit_test(over_partitions_by_time),
        cmocka_unit_test(through_holes),
        cmocka_unit_test(only_what_counts),
        cmocka_unit_test(within_what_may_be_looked_at),
        cmocka_unit_test(whatever_the_order_of_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
