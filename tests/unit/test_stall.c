/* Stalled subscriptions, at random against a reference (stall_model.h), and one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/ceiling.h"
#include "stall_model.h"

static void run(uint64_t queue_bytes, uint64_t queue_ms, uint32_t most)
{
    static uint64_t from;

    for (unsigned round = 0; round < 12; round++) {
        stall_model_begin(queue_bytes, queue_ms, ++from);
        for (unsigned i = 0; i < 4000; i++)
            stall_model_step(most);
        stall_model_finish();
    }
}

static void test_small_queues(void **state)
{
    (void)state;
    run(4096, 10000, 600);
}

static void test_many_small_messages(void **state)
{
    (void)state;
    run(20000, 0, 50);
}

/* More than one write takes. */
static void test_large_queues(void **state)
{
    (void)state;
    run(400000, 100000, 8000);
}

static void test_age(void **state)
{
    (void)state;
    run(1 << 20, 700, 300);
}

static uint64_t pretend(void)
{
    return stall_resident;
}

/* Who is behind may lose all, or be closed, at any time. */
static void test_memory_ceiling(void **state)
{
    (void)state;
    ceiling_pretend(pretend);
    ceiling_set(100 << 20);
    stall_resident = 50 << 20;
    run(400000, 100000, 8000);
    stall_resident = 0;
    ceiling_set(0);
    ceiling_pretend(NULL);
}

/* ---- one by one ------------------------------------------------------------------------------ */

/* What is waited for by many is kept once, and goes with the last who waits. */
static void test_kept_once(void **state)
{
    struct fan_group *g;
    (void)state;

    stall_model_begin(1 << 20, 0, 1);
    for (unsigned i = 0; i < 3; i++) {
        stall_model_subscribe(&stall_ends[i], 2);
        stall_ends[i].wire.result = TRANSPORT_CHOKED;
    }
    stall_model_post(2, 1);
    rig_wait(&stall_rig, STALL_MS);
    stall_model_look();
    g = fanout_group(&stall_rig.worker->fanout, 52);
    assert_int_equal(g->aside, 0);
    stall_model_post(2, 1); /* this one waits in each queue */
    assert_int_equal(g->aside, 3);
    assert_int_equal(g->count, 0);
    stall_model_post(2, 1000);
    assert_int_equal(g->backlog->end - g->backlog->first, 1000);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(stall_ends[i].wire.session->out.count, 1);
    stall_model_flow(&stall_ends[0], true);
    assert_int_equal(g->count, 1);
    assert_int_equal(g->backlog->end - g->backlog->first, 1000);
    stall_model_flow(&stall_ends[1], true);
    stall_model_unsubscribe(&stall_ends[2], 2);
    assert_null(g->backlog);
    stall_model_finish();
}

/* A client that takes a little now and then gets what one write takes. */
static void test_little_by_little(void **state)
{
    const struct stall *st;
    (void)state;

    stall_model_begin(1 << 20, 0, 1);
    stall_model_subscribe(&stall_ends[0], 2);
    stall_ends[0].wire.result = TRANSPORT_CHOKED;
    stall_model_post(2, 1);
    rig_wait(&stall_rig, STALL_MS);
    stall_model_look();
    stall_model_post(2, 3001);
    st = stall_ends[0].subs[2].open
             ? LIST_ITEM(stall_ends[0].wire.session->stalls.next, struct stall, node)
             : NULL;
    assert_int_equal(st->log->end - st->place, 3000);
    stall_model_flow(&stall_ends[0], false);
    stall_model_look();
    stall_model_read();
    assert_in_range(st->log->end - st->place, 1500, 2500);
    assert_int_equal(stall_ends[0].wire.session->out.count, 1);
    stall_model_flow(&stall_ends[0], true);
    stall_model_finish();
}

/* Another subscription of the same client is replayed meanwhile, and becomes live. */
static void test_replay_beside(void **state)
{
    struct stall_end *e = &stall_ends[0];
    uint64_t id;
    (void)state;

    stall_model_begin(1 << 20, 0, 1);
    stall_model_subscribe(e, 2);
    e->wire.result = TRANSPORT_CHOKED;
    stall_model_post(2, 1);
    rig_wait(&stall_rig, STALL_MS);
    stall_model_look();
    stall_model_post(2, 5);
    wire_send(&stall_rig, &e->wire,
              "{\"type\":\"subscribe\",\"channel\":\"log.0\",\"from\":\"earliest\"}");
    id = stall_model_mail(MAIL_SUBSCRIBE);
    rig_subscribed(&stall_rig, id, 0);
    stall_model_mail(MAIL_PULL);
    rig_frame(&stall_rig, id, SPAN("{\"type\":\"replayed\"}"));
    rig_chunk(&stall_rig, id, 50);
    stall_model_post(2, 5);
    e->subs[0].open = true;
    stall_model_post(0, 5);
    stall_model_post(2, 5);
    assert_int_equal(e->subs[2].count, 16);
    stall_model_flow(e, true);
    stall_model_finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_queues),     cmocka_unit_test(test_many_small_messages),
        cmocka_unit_test(test_large_queues),     cmocka_unit_test(test_age),
        cmocka_unit_test(test_memory_ceiling),   cmocka_unit_test(test_kept_once),
        cmocka_unit_test(test_little_by_little), cmocka_unit_test(test_replay_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
