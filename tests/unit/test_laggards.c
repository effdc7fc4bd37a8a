#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/laggards.h"

#define K LAGGARD_LEAST

static void test_the_worst(void **state)
{
    struct laggards all;
    struct laggard a, b, c;
    (void)state;

    laggards_init(&all, 0);
    laggard_init(&a);
    laggard_init(&b);
    laggard_init(&c);
    assert_null(laggards_worst(&all));
    laggard_weigh(&all, &a, K - 1);
    assert_null(laggards_worst(&all));
    laggard_weigh(&all, &a, K);
    laggard_weigh(&all, &b, 5 * K);
    laggard_weigh(&all, &c, 3 * K);
    assert_ptr_equal(laggards_worst(&all), &b);
    laggard_weigh(&all, &c, (size_t)1 << 50);
    assert_ptr_equal(laggards_worst(&all), &c);
    laggard_weigh(&all, &c, 0);
    assert_ptr_equal(laggards_worst(&all), &b);
    laggard_drop(&b);
    assert_ptr_equal(laggards_worst(&all), &a);
    laggard_drop(&a);
    laggard_drop(&a);
    assert_null(laggards_worst(&all));
    laggard_weigh(&all, &a, 2 * K);
    assert_ptr_equal(laggards_worst(&all), &a);
    laggard_drop(&a);
}

static void test_other_workers(void **state)
{
    struct laggards one, two;
    struct laggard a, b;
    (void)state;

    laggards_init(&one, 1);
    laggards_init(&two, LAGGARD_WORKERS - 1);
    laggard_init(&a);
    laggard_init(&b);
    laggard_weigh(&one, &a, K);
    laggard_weigh(&two, &b, 9 * K);
    assert_false(laggards_yield(&one)); /* not told yet */
    laggards_tell(&one);
    laggards_tell(&two);
    assert_true(laggards_yield(&one));
    assert_false(laggards_yield(&two));
    laggard_weigh(&one, &a, 9 * K);
    assert_false(laggards_yield(&one));
    laggard_weigh(&one, &a, K);
    laggard_drop(&b);
    laggards_tell(&two);
    assert_false(laggards_yield(&one));
    laggard_drop(&a);
    laggards_tell(&one);
    assert_false(laggards_yield(&two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_worst),
                                       cmocka_unit_test(test_other_workers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
