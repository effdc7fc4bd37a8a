/* Token buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "session/budget.h"

#define BURST_S (unsigned)(BUCKET_DEPTH / BUCKET_S)

static struct budget_rates rates_of(uint64_t per_second)
{
    struct config c;
    struct budget_rates r;
    memset(&c, 0, sizeof c);
    c.limits.frames_per_second = per_second;
    budget_rates_init(&r, &c);
    return r;
}

static void test_none(void **state)
{
    struct budget_rates r = rates_of(0);
    struct budget b = {{0}};
    (void)state;
    for (int i = 0; i < 100000; i++)
        assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1000000, 7));
}

static void test_burst(void **state)
{
    struct budget_rates r = rates_of(10);
    struct budget b = {{0}};
    (void)state;
    for (unsigned i = 0; i < 10 * BURST_S; i++)
        assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1, 1000));
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1, 1000));
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1, 1000)); /* a refusal costs nothing */
    assert_int_equal(budget_wait(&b, &r, BUDGET_FRAMES, 1, 1000), 101);
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1, 1099));
    assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1, 1100));
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1, 1199));
}

static void test_steady(void **state)
{
    struct budget_rates r = rates_of(1000);
    struct budget b = {{0}};
    uint64_t now = 5000;
    (void)state;
    for (int i = 0; i < 100000; i++) /* one each millisecond, for ever */
        assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1, now++));
}

static void test_average(void **state)
{
    struct budget_rates r = rates_of(100);
    struct budget b = {{0}};
    unsigned taken = 0;
    (void)state;
    for (uint64_t now = 1; now <= 20000; now++)
        for (int i = 0; i < 3; i++)
            taken += budget_take(&b, &r, BUDGET_FRAMES, 1, now);
    assert_in_range(taken, 100 * (20 + BURST_S) - 1, 100 * (20 + BURST_S) + 1);
}

static void test_larger_than_the_bucket(void **state)
{
    struct budget_rates r = rates_of(10);
    struct budget b = {{0}};
    (void)state;
    assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1000, 1));
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1000, 50000));
    assert_int_equal(budget_wait(&b, &r, BUDGET_FRAMES, 1000, 50000), 50002);
    assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1000, 100002));
}

static void test_kinds_are_apart(void **state)
{
    struct config c;
    struct budget_rates r;
    struct budget b = {{0}};
    (void)state;
    memset(&c, 0, sizeof c);
    c.limits.frames_per_second = 1;
    c.limits.publishes_per_second = 1;
    c.limits.bytes_per_second = 4000000000u; /* more than one each nanosecond */
    budget_rates_init(&r, &c);
    for (unsigned i = 0; i < BURST_S; i++)
        assert_true(budget_take(&b, &r, BUDGET_FRAMES, 1, 1));
    assert_false(budget_take(&b, &r, BUDGET_FRAMES, 1, 1));
    assert_true(budget_take(&b, &r, BUDGET_PUBLISHES, 1, 1));
    assert_true(budget_take(&b, &r, BUDGET_BYTES, 1000000, 1));
    assert_true(budget_take(&b, &r, BUDGET_SUBSCRIBES, 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_larger_than_the_bucket),
        cmocka_unit_test(test_kinds_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
