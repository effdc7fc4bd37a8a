#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/timers.h"

#define TIMERS 400

struct thing {
    struct timer timer;
    uint64_t model_due; /* UINT64_MAX: not set */
};

static struct timers wheel;
static struct thing things[TIMERS];
static uint64_t now;
static size_t fired;
static uint64_t seed;

static uint64_t roll(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static void on_fire(struct timer *t)
{
    struct thing *thing = CONTAINER_OF(t, struct thing, timer);
    assert_false(timer_is_set(t));
    assert_true(thing->model_due <= now);
    thing->model_due = UINT64_MAX;
    fired++;
}

static uint64_t earliest(void)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < TIMERS; i++)
        if (things[i].model_due < due) due = things[i].model_due;
    return due;
}

static void begin(uint64_t at)
{
    now = at;
    fired = 0;
    timers_init(&wheel, at);
    for (size_t i = 0; i < TIMERS; i++) {
        timer_init(&things[i].timer, on_fire);
        things[i].model_due = UINT64_MAX;
    }
}

static void set(size_t i, uint64_t due)
{
    timer_set(&wheel, &things[i].timer, due);
    things[i].model_due = due;
}

static void stop(size_t i)
{
    timer_stop(&wheel, &things[i].timer);
    things[i].model_due = UINT64_MAX;
}

/* After a run nothing that is due may be left, and the wait must never be past the earliest. */
static void run_and_check(void)
{
    timers_run(&wheel, now);
    uint64_t due = earliest();
    assert_true(due > now);
    uint64_t wait = timers_wait(&wheel);
    if (due == UINT64_MAX) {
        assert_int_equal(wait, UINT64_MAX);
        assert_int_equal(wheel.count, 0);
    } else {
        assert_true(wait > 0 && wait <= due - now);
    }
}

static void random_steps(uint64_t start, uint64_t span, size_t steps)
{
    begin(start);
    for (size_t step = 0; step < steps; step++) {
        size_t i = (size_t)roll(TIMERS);
        switch (roll(5)) {
        case 0: stop(i); break;
        case 1: now += roll(roll(20) ? span / 50 + 1 : span); break;
        case 2: {
            uint64_t wait = timers_wait(&wheel);
            if (wait != UINT64_MAX) now += wait;
            break;
        }
        default: set(i, now + roll(span)); break;
        }
        if (roll(3) == 0) run_and_check();
    }
    for (size_t i = 0; i < TIMERS; i++)
        stop(i);
    run_and_check();
    for (int level = 0; level < TIMERS_LEVELS; level++)
        for (int i = 0; i < TIMERS_WORDS; i++)
            assert_int_equal(wheel.occupied[level][i], 0);
}

static void agrees_with_a_plain_model(void **state)
{
    (void)state;
    seed = 20251121;
    random_steps(0, 100, 20000);
    random_steps(12345678, 5000, 20000);
    random_steps((UINT64_C(1) << 36) - 5000, 300000, 20000);
    random_steps((UINT64_C(1) << 36) * 7 - 1, UINT64_C(1) << 38, 20000);
    random_steps(UINT64_C(1) << 40, UINT64_C(1) << 33, 20000);
}

static size_t order[8];
static size_t ordered;

static void note(struct timer *t)
{
    order[ordered++] = (size_t)(CONTAINER_OF(t, struct thing, timer) - things);
}

static void fires_in_the_order_of_time_after_a_jump(void **state)
{
    (void)state;
    begin(1000);
    ordered = 0;
    const uint64_t due[] = {90000, 1001, 400000000, 1064, 1063, 5097, 500};
    for (size_t i = 0; i < 7; i++) {
        timer_init(&things[i].timer, note);
        timer_set(&wheel, &things[i].timer, due[i]);
    }
    assert_int_equal(timers_wait(&wheel), 0);
    timers_run(&wheel, UINT64_C(1) << 50);
    const size_t expected[] = {6, 1, 4, 3, 5, 0, 2};
    assert_int_equal(ordered, 7);
    assert_memory_equal(order, expected, sizeof(expected));
    assert_int_equal(timers_wait(&wheel), UINT64_MAX);
}

static void again_and_stop_other(struct timer *t)
{
    fired++;
    timer_set(&wheel, t, 0);
    timer_stop(&wheel, &things[1].timer);
}

static void a_callback_may_set_itself_and_stop_others(void **state)
{
    (void)state;
    begin(0);
    timer_init(&things[0].timer, again_and_stop_other);
    set(0, 10);
    set(1, 10);
    now = 1000000;
    timers_run(&wheel, now);
    assert_int_equal(fired, 1);
    assert_false(timer_is_set(&things[1].timer));
    assert_int_equal(timers_wait(&wheel), 0);
    timers_run(&wheel, now);
    assert_int_equal(fired, 2);
    timer_stop(&wheel, &things[0].timer);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(timers_wait(&wheel), UINT64_MAX);
}

static void time_that_goes_back_fires_nothing(void **state)
{
    (void)state;
    begin(5000);
    set(0, 5010);
    now = 100;
    timers_run(&wheel, now);
    assert_int_equal(fired, 0);
    assert_int_equal(wheel.now, 5000);
    assert_int_equal(timers_wait(&wheel), 10);
}

static void never_is_far_away(void **state)
{
    (void)state;
    begin(77);
    set(0, UINT64_MAX - 1);
    uint64_t wait = timers_wait(&wheel);
    assert_true(wait > UINT64_C(1) << 31 && wait != UINT64_MAX);
    now += wait;
    run_and_check();
    assert_int_equal(fired, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_model),
        cmocka_unit_test(fires_in_the_order_of_time_after_a_jump),
        cmocka_unit_test(a_callback_may_set_itself_and_stop_others),
        cmocka_unit_test(time_that_goes_back_fires_nothing),
        cmocka_unit_test(never_is_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
