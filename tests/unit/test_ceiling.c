#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/ceiling.h"

#define MIB 1048576

static uint64_t resident;

static uint64_t pretend(void)
{
    return resident;
}

static int setup(void **state)
{
    (void)state;
    ceiling_pretend(pretend);
    ceiling_set(1000ULL * MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ceiling_count(-(ptrdiff_t)ceiling_counted());
    ceiling_set(0);
    ceiling_pretend(NULL);
    return 0;
}

/* Both together: memory that is counted and that the process has. */
static void take(int mib)
{
    ceiling_count((ptrdiff_t)mib * MIB);
    resident = (uint64_t)((int64_t)resident + (int64_t)mib * MIB);
}

static void test_below(void **state)
{
    (void)state;
    resident = 100 * MIB;
    assert_true(ceiling_is_set());
    assert_false(ceiling_over(1000));
    take(500);
    assert_false(ceiling_over(1001)); /* more than at the last look: it looks again */
    take(300);
    assert_false(ceiling_over(1001));
    assert_false(ceiling_crowded());
}

static void test_at_the_ceiling(void **state)
{
    (void)state;
    resident = 100 * MIB;
    assert_false(ceiling_over(1000));
    take(870);
    assert_true(ceiling_over(1000));
    /* What goes is freed, but the process keeps it. */
    ceiling_count(-40 * MIB);
    assert_true(ceiling_over(1010));
    ceiling_count(-20 * MIB);
    assert_false(ceiling_over(1020));
    assert_false(ceiling_over(2000)); /* whenever it looks */
    /* It is used again. */
    ceiling_count(5 * MIB);
    assert_false(ceiling_over(3000));
    ceiling_count(10 * MIB);
    assert_true(ceiling_over(3000));
    ceiling_count(-10 * MIB);
    assert_false(ceiling_over(3000));
    /* It grows nevertheless: what may be held becomes less. */
    resident += 30 * MIB;
    assert_true(ceiling_over(4000));
    ceiling_count(-30 * MIB);
    assert_false(ceiling_over(4000));
    /* Given back at last. */
    resident = 500 * MIB;
    assert_false(ceiling_over(5000));
    take(400);
    assert_false(ceiling_over(5000));
}

static void test_crowded(void **state)
{
    (void)state;
    resident = 1040 * MIB;
    assert_false(ceiling_over(1000));
    assert_true(ceiling_crowded());
    resident = 1000 * MIB;
    assert_false(ceiling_over(2000));
    assert_false(ceiling_crowded());
}

static void test_none(void **state)
{
    (void)state;
    ceiling_set(0);
    resident = UINT64_MAX / 4;
    take(1000);
    assert_false(ceiling_is_set());
    assert_false(ceiling_over(1000));
    assert_false(ceiling_crowded());
}

static void test_the_kernel_says_something(void **state)
{
    (void)state;
    ceiling_pretend(NULL);
    ceiling_set(4 * MIB / 4); /* one MiB: any process has more */
    assert_false(ceiling_over(1000));
    assert_true(ceiling_crowded());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_below, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_the_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crowded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_kernel_says_something, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
