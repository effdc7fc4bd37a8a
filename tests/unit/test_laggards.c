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

    laggards_init(&all);
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_worst)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
