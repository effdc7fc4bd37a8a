#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "session/flush.h"

struct fixture {
    struct fanout fanout;
    struct flush flush;
    struct fan_member member[2];
    struct fan_group *busy, *quiet;
    struct flush_node node[10];
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    clock_freeze(1000000, 0);
    fanout_init(&f.fanout);
    flush_init(&f.flush, &f.fanout);
    for (int i = 0; i < 2; i++)
        fanout_join(&f.fanout, (uint64_t)i, (struct fan_seat){.member = &f.member[i]});
    f.busy = fanout_group(&f.fanout, 0);
    f.quiet = fanout_group(&f.fanout, 1);
    for (int i = 0; i < 10; i++)
        flush_node_init(&f.node[i]);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(flush_state(&f->flush), FLUSH_IDLE);
    for (int i = 0; i < 2; i++)
        fanout_leave(&f->fanout, &f->member[i]);
    flush_done(&f->flush);
    fanout_done(&f->fanout);
    clock_thaw();
    return 0;
}

static void expect_next(struct fixture *f, int i)
{
    assert_ptr_equal(flush_next(&f->flush), i < 0 ? NULL : &f->node[i]);
}

static void test_rotation(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 5; i++)
        flush_mark(&f->flush, &f->node[i], f->busy);
    flush_mark(&f->flush, &f->node[6], f->quiet);
    flush_mark(&f->flush, &f->node[8], NULL);
    flush_mark(&f->flush, &f->node[9], NULL);
    flush_mark(&f->flush, &f->node[9], NULL); /* once is enough */
    const int order[] = {0, 6, 8, 1, 9, 2, 3, 4, -1};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        expect_next(f, order[i]);
}

static void test_replays_stand_back(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++)
        flush_mark(&f->flush, &f->node[i], &f->flush.replays);
    for (int i = 2; i < 10; i++)
        flush_mark(&f->flush, &f->node[i], f->busy);
    const int order[] = {2, 3, 4, 5, 6, 7, 8, 0, 9};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        expect_next(f, order[i]);
    flush_mark(&f->flush, &f->node[0], &f->flush.replays);
    expect_next(f, 1); /* nobody else waits */
    expect_next(f, 0);
    expect_next(f, -1);
}

static void write_replays(struct fixture *f, unsigned us)
{
    pace_spent(&f->flush.pace, us);
}

static void test_replays_have_a_part_of_each_turn(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 4; i++)
        flush_mark(&f->flush, &f->node[i], &f->flush.replays);
    flush_begin(&f->flush, false);
    expect_next(f, 0);
    write_replays(f, PACE_TURN_US / 2);
    expect_next(f, 1);
    write_replays(f, PACE_TURN_US);
    expect_next(f, -1);
    assert_int_equal(flush_state(&f->flush), FLUSH_READY);
    flush_mark(&f->flush, &f->node[6], f->busy); /* others go on */
    expect_next(f, 6);
    expect_next(f, -1);
    flush_begin(&f->flush, false);
    expect_next(f, 2);
    expect_next(f, 3);
    assert_int_equal(flush_state(&f->flush), FLUSH_IDLE);
}

static void test_replays_wait_beside_live(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++)
        flush_mark(&f->flush, &f->node[i], &f->flush.replays);
    pace_live(&f->flush.pace, clock_us());
    write_replays(f, 1000000);
    flush_begin(&f->flush, false);
    expect_next(f, -1);
    assert_int_equal(flush_state(&f->flush), FLUSH_PAUSED);
    flush_mark(&f->flush, &f->node[6], f->busy);
    assert_int_equal(flush_state(&f->flush), FLUSH_READY);
    expect_next(f, 6);
    flush_begin(&f->flush, true); /* in a hurry they do not wait */
    expect_next(f, 0);
    assert_int_equal(flush_state(&f->flush), FLUSH_READY);
    flush_begin(&f->flush, false);
    assert_int_equal(flush_state(&f->flush), FLUSH_PAUSED);
    for (int i = 0; i < 2; i++) { /* what is owed takes a while */
        clock_advance(90);
        pace_live(&f->flush.pace, clock_us());
    }
    flush_begin(&f->flush, false);
    expect_next(f, 1);
    clock_advance(1);
    flush_done_with(&f->flush); /* what it took is on the clock */
    assert_int_equal(f->flush.pace.left, (int64_t)PACE_TURN_LIVE_US - 1000);
    expect_next(f, -1);
    clock_advance(100); /* nothing live for a while */
    flush_begin(&f->flush, false);
    expect_next(f, 2);
}

static void test_moves_to_shorter_list(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 6; i++)
        flush_mark(&f->flush, &f->node[i], f->busy);
    flush_mark(&f->flush, &f->node[5], f->quiet);
    assert_ptr_equal(f->node[5].group, f->quiet);
    assert_int_equal(f->busy->waiting_count, 5);
    flush_mark(&f->flush, &f->node[4], f->quiet);
    flush_mark(&f->flush, &f->node[3], f->quiet); /* not less than half as long any more */
    assert_ptr_equal(f->node[3].group, f->busy);
    flush_mark(&f->flush, &f->node[5], f->busy); /* never to a longer one */
    assert_ptr_equal(f->node[5].group, f->quiet);
    const int order[] = {0, 5, 1, 4, 2, 3, -1};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        expect_next(f, order[i]);
}

static void test_choked_waits_nowhere(void **state)
{
    struct fixture *f = *state;

    f->node[0].choked = true;
    flush_mark(&f->flush, &f->node[0], f->busy);
    assert_int_equal(flush_state(&f->flush), FLUSH_IDLE);
    f->node[0].choked = false;
    flush_mark(&f->flush, &f->node[0], f->busy);
    flush_drop(&f->flush, &f->node[0]);
    flush_drop(&f->flush, &f->node[0]);
    expect_next(f, -1);
}

/* A group whose members have left stays until its last session was written. */
static void test_group_outlives_members(void **state)
{
    struct fixture *f = *state;

    flush_mark(&f->flush, &f->node[0], f->busy);
    fanout_leave(&f->fanout, &f->member[0]);
    assert_non_null(fanout_group(&f->fanout, 0));
    expect_next(f, 0);
    assert_null(fanout_group(&f->fanout, 0));
}

/* ---- writes ---------------------------------------------------------------------------------- */

static size_t written[8];
static const unsigned char *last;
static unsigned writes;

static enum transport_result record(struct transport *t, const unsigned char *p, size_t n)
{
    (void)t;
    last = p;
    written[writes++ % 8] = n;
    return TRANSPORT_CHOKED;
}

static void push(struct outq *q, size_t n)
{
    static char text[2 * FLUSH_GATHER];
    struct slip *s = slip_new(frame_new(FRAME_BINARY, span_of(text, n)));

    outq_push(q, s, OUTQ_PACED, 0);
    slip_unref(s);
}

static void test_gather(void **state)
{
    static const struct transport_ops ops = {.write = record};
    const size_t sizes[] = {10, 20, 30000, 30000, 30000, 2 * FLUSH_GATHER, 5};
    const size_t expected[] = {12 + 22 + 60008, 30004, 2 * FLUSH_GATHER + 10, 7};
    struct transport t = {.ops = &ops};
    struct fixture *f = *state;
    struct outq q;

    outq_init(&q);
    writes = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        push(&q, sizes[i]);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct frame *first = outq_head(&q);
        bool direct = i > 0;
        const unsigned char *bytes = first->bytes;
        assert_int_equal(flush_write(&f->flush, &q, &t), TRANSPORT_CHOKED);
        assert_int_equal(written[i], expected[i]);
        assert_ptr_equal(last, direct ? bytes : f->flush.gather); /* one frame is not copied */
    }
    assert_true(outq_empty(&q));
}

/* The same queue for a client that takes compressed messages: what is worth it is smaller. */
static void test_compressed(void **state)
{
    static const struct transport_ops ops = {.write = record};
    struct transport t = {.ops = &ops, .window_bits = 15};
    struct fixture *f = *state;
    struct outq q;

    outq_init(&q);
    f->flush.packer = packer_new(1, 100);
    writes = 0;
    push(&q, 10);
    push(&q, 2 * FLUSH_GATHER);
    push(&q, 20);
    assert_int_equal(flush_write(&f->flush, &q, &t), TRANSPORT_CHOKED); /* all in one */
    assert_true(outq_empty(&q));
    assert_int_equal(writes, 1);
    assert_int_equal(last[0], 0x82);
    assert_int_equal(last[12], 0xc2);
    assert_int_equal(f->flush.frames, 3);
    assert_int_equal(f->flush.bytes, written[0]);
    assert_int_equal(f->flush.packed.frames, 1);
    assert_int_equal(f->flush.packed.bytes, written[0] - 12 - 22);
    assert_int_equal(f->flush.packed.plain, 2 * FLUSH_GATHER + 10);

    push(&q, 1000);
    t.window_bits = 9;
    flush_write(&f->flush, &q, &t); /* too large for this one's window */
    assert_int_equal(written[1], 1004);
    push(&q, 1000);
    t.window_bits = 0;
    flush_write(&f->flush, &q, &t);
    assert_int_equal(written[2], 1004);
    packer_free(f->flush.packer);
}

static void test_held_lists_have_no_turn(void **state)
{
    struct fixture *f = *state;

    flush_mark(&f->flush, &f->node[0], f->busy);
    assert_true(f->flush.fresh);
    flush_hold(&f->flush);
    flush_mark(&f->flush, &f->node[1], f->busy); /* the list has its turn already */
    flush_mark(&f->flush, &f->node[2], f->quiet);
    flush_mark(&f->flush, &f->node[3], f->quiet);
    flush_mark(&f->flush, &f->node[0], f->quiet); /* it would wait there */
    flush_mark(&f->flush, &f->node[4], NULL);
    flush_mark(&f->flush, &f->node[3], NULL); /* a reply waits for nobody */
    assert_false(f->flush.fresh);
    const int now[] = {0, 4, 1, 3, -1};
    for (size_t i = 0; i < sizeof now / sizeof *now; i++)
        expect_next(f, now[i]);
    flush_mark(&f->flush, &f->node[1], f->busy); /* anew: held */
    expect_next(f, -1);
    flush_let_go(&f->flush);
    assert_true(f->flush.fresh);
    expect_next(f, 2);
    expect_next(f, 1);
    expect_next(f, -1);
    flush_mark(&f->flush, &f->node[5], f->quiet);
    flush_hold(&f->flush);
    flush_mark(&f->flush, &f->node[6], f->busy);
    flush_mark(&f->flush, &f->node[6], f->quiet); /* has its turn sooner there */
    flush_mark(&f->flush, &f->node[7], f->busy);
    flush_drop(&f->flush, &f->node[7]);
    expect_next(f, 5);
    expect_next(f, 6);
    flush_let_go(&f->flush);
    expect_next(f, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_held_lists_have_no_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replays_stand_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replays_have_a_part_of_each_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replays_wait_beside_live, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moves_to_shorter_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choked_waits_nowhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_group_outlives_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gather, setup, teardown),
        cmocka_unit_test_setup_teardown(test_compressed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
