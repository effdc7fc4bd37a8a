#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/pace.h"

#define BEGIN 5000u
#define SHARE 16u

static void live_for_a_while(void **state)
{
    struct pace p = {.share = SHARE};

    (void)state;
    assert_false(pace_is_live(&p, BEGIN));
    pace_live(&p, BEGIN);
    assert_true(pace_is_live(&p, BEGIN));
    assert_true(pace_is_live(&p, BEGIN + PACE_LIVE_US - 1));
    assert_false(pace_is_live(&p, BEGIN + PACE_LIVE_US));
}

/* Replays of `each` us, as many as may be, in turns that come every 100 us at the latest. Returns the
 * time that they had within a second. */
static uint64_t work(struct pace *p, uint64_t each, bool live)
{
    uint64_t now = BEGIN, worked = 0;

    while (now < BEGIN + 1000000) {
        uint64_t turn = 0;
        if (live) pace_live(p, now);
        pace_turn(p, now);
        for (; pace_may(p); turn += each)
            pace_spent(p, each);
        assert_true(turn < (live ? PACE_TURN_LIVE_US : PACE_TURN_US) + each);
        worked += turn;
        now += turn + 100;
    }
    return worked;
}

static void part_of_the_time(void **state)
{
    const uint64_t sizes[] = {1, 60, 240, 600};

    (void)state;
    for (int i = 0; i < 4; i++) {
        for (unsigned share = 4; share <= 32; share *= 2) {
            struct pace p;
            pace_init(&p, share);
            assert_in_range(work(&p, sizes[i], true), 1000000 / share, 1000000 / share + 4000);
        }
    }
}

static void no_limit_without_live(void **state)
{
    struct pace p = {.share = SHARE};

    (void)state;
    assert_in_range(work(&p, 50, false), 700000, 720000); /* 250 of every 350 us */
    assert_false(pace_waits(&p, BEGIN + 1000000));
}

/* Who comes now and then does not wait. */
static void little_is_at_once(void **state)
{
    struct pace p = {.share = SHARE};

    (void)state;
    for (uint64_t now = BEGIN; now < BEGIN + 10000000; now += 50000) {
        pace_live(&p, now);
        for (int i = 0; i < 8; i++) {
            pace_turn(&p, now);
            assert_true(pace_may(&p));
            pace_spent(&p, 240);
        }
        assert_false(pace_waits(&p, now));
    }
}

/* Neither a long idle time nor one long turn counts for ever. */
static void forgets(void **state)
{
    struct pace p = {.share = SHARE};
    uint64_t now = BEGIN, waited = 0, saved = 0;

    (void)state;
    (void)pace_waits(&p, now);
    now += 60000000;
    for (pace_live(&p, now); !pace_waits(&p, now); saved += 100)
        pace_spent(&p, 100);
    assert_in_range(saved, 1000, 3000);
    pace_spent(&p, 10000000);
    for (; pace_waits(&p, now); now += 100, waited += 100)
        pace_live(&p, now);
    assert_in_range(waited, 10000, 60000);
}

/* Short steps of the clock add up. */
static void earns_in_small_steps(void **state)
{
    struct pace p = {.share = SHARE};
    uint64_t now = BEGIN;

    (void)state;
    (void)pace_waits(&p, now);
    pace_spent(&p, 1000000);
    for (uint64_t end = now + 100000; now < end; now += 3) {
        pace_live(&p, now);
        if (!pace_waits(&p, now)) break;
    }
    assert_in_range(now - BEGIN, 10000, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_for_a_while),
        cmocka_unit_test(part_of_the_time),
        cmocka_unit_test(no_limit_without_live),
        cmocka_unit_test(little_is_at_once),
        cmocka_unit_test(forgets),
        cmocka_unit_test(earns_in_small_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
