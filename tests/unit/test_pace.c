#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/pace.h"

static void live_for_a_while(void **state)
{
    struct pace p = {0};

    (void)state;
    assert_false(pace_is_live(&p, 1000));
    pace_live(&p, 1000);
    assert_true(pace_is_live(&p, 1000));
    assert_true(pace_is_live(&p, 1000 + PACE_LIVE_MS - 1));
    assert_false(pace_is_live(&p, 1000 + PACE_LIVE_MS));
}

/* Turns of 600 us whenever it may, looked at every 100 us: it works half of the time. */
static void half_of_the_time(void **state)
{
    struct pace p = {0};
    uint64_t wall = 5000, work = 7000, end = wall + 1000000;

    (void)state;
    while (wall < end) {
        if (pace_may(&p, wall, work)) {
            wall += 600;
            work += 600;
        } else {
            wall += 100;
        }
    }
    assert_in_range(work - 7000, 490000, 515000);
}

/* Neither a long idle time nor one long turn counts for ever. */
static void forgets(void **state)
{
    struct pace p = {0};
    unsigned turns = 0;
    uint64_t wall = 1, work = 0;

    (void)state;
    (void)pace_may(&p, wall, work);
    wall += 60000000;
    for (; pace_may(&p, wall, work); turns++) {
        wall += 1000;
        work += 1000;
    }
    assert_in_range(turns, 2, 6);
    wall += 10000000;
    work += 10000000;
    assert_false(pace_may(&p, wall, work));
    assert_true(pace_may(&p, wall + 25000, work));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_for_a_while),
        cmocka_unit_test(half_of_the_time),
        cmocka_unit_test(forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
