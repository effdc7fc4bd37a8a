#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bell.h"

static bool rings(const struct bell *b, int wait_ms)
{
    struct pollfd p = {.fd = b->fd, .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

static void test_one_answer_for_any_number_of_rings(void **state)
{
    struct bell b;
    (void)state;
    assert_int_equal(bell_open(&b), 0);
    assert_false(rings(&b, 0));
    bell_answer(&b); /* nobody rang: it does not wait */
    for (int i = 0; i < 3; i++)
        bell_ring(&b);
    assert_true(rings(&b, 0));
    assert_true(rings(&b, 0)); /* until it is answered */
    bell_answer(&b);
    assert_false(rings(&b, 0));
    bell_ring(&b);
    assert_true(rings(&b, 0));
    bell_close(&b);
    assert_int_equal(b.fd, -1);
    bell_close(&b);
}

static void *ring(void *arg)
{
    bell_ring(arg);
    return NULL;
}

static void test_of_another_thread(void **state)
{
    struct bell b;
    pthread_t thread;
    (void)state;
    assert_int_equal(bell_open(&b), 0);
    assert_int_equal(pthread_create(&thread, NULL, ring, &b), 0);
    assert_true(rings(&b, 10000));
    pthread_join(thread, NULL);
    bell_close(&b);
}

static void test_rings_are_held_back(void **state)
{
    struct bell a, b;
    (void)state;
    assert_int_equal(bell_open(&a), 0);
    assert_int_equal(bell_open(&b), 0);
    bells_hold();
    bell_ring(&a);
    bell_ring(&b);
    bell_ring(&a);
    assert_false(rings(&a, 0) || rings(&b, 0));
    bells_ring();
    assert_true(rings(&a, 0) && rings(&b, 0));
    bell_answer(&a);
    bells_ring(); /* once */
    assert_false(rings(&a, 0));
    bell_ring(&a);
    bells_free();
    assert_true(rings(&a, 0));
    bell_answer(&a);
    bell_ring(&a);
    assert_true(rings(&a, 0));
    bell_close(&a);
    bell_close(&b);
}

static void test_more_bells_than_can_be_held(void **state)
{
    struct bell bells[40];
    (void)state;
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(bell_open(&bells[i]), 0);
    bells_hold();
    for (unsigned i = 0; i < 40; i++)
        bell_ring(&bells[i]);
    bells_free();
    for (unsigned i = 0; i < 40; i++) {
        assert_true(rings(&bells[i], 0));
        bell_close(&bells[i]);
    }
}

struct host {
    const struct bell *answers, *again; /* what is rung during the visit */
    bool able;
    int visits;
};

static bool on_visit(void *arg)
{
    struct host *h = arg;
    h->visits++;
    if (h->answers) bell_ring(h->answers);
    if (h->again) bell_ring(h->again);
    return h->able;
}

static void test_visits(void **state)
{
    struct bell own, other, bus;
    struct host host = {.answers = &own, .able = true};
    (void)state;
    assert_int_equal(bell_open(&own), 0);
    assert_int_equal(bell_open(&other), 0);
    assert_int_equal(bell_open(&bus), 0);
    bus.visit = on_visit;
    bus.arg = &host;
    bells_hold();
    assert_false(bells_visit(&own)); /* nobody rang */
    bell_ring(&bus);
    bell_ring(&bus);
    bell_ring(&other);
    assert_true(bells_visit(&own));
    assert_int_equal(host.visits, 1);
    assert_true(rings(&other, 0));
    assert_false(rings(&bus, 0) || rings(&own, 0));
    host = (struct host){.able = false}; /* it has to be woken itself */
    bell_ring(&bus);
    assert_false(bells_visit(&own));
    assert_true(rings(&bus, 0));
    bell_answer(&bus);
    host = (struct host){.again = &bus, .able = true}; /* it has more to do, which is its own */
    bell_ring(&bus);
    assert_false(bells_visit(&own));
    assert_int_equal(host.visits, 1);
    assert_true(rings(&bus, 0));
    bell_answer(&bus);
    bell_ring(&bus);
    bells_ring(); /* visits nobody */
    assert_int_equal(host.visits, 1);
    assert_true(rings(&bus, 0));
    bells_free();
    bell_close(&own);
    bell_close(&other);
    bell_close(&bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_answer_for_any_number_of_rings),
        cmocka_unit_test(test_of_another_thread),
        cmocka_unit_test(test_rings_are_held_back),
        cmocka_unit_test(test_more_bells_than_can_be_held),
        cmocka_unit_test(test_visits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
