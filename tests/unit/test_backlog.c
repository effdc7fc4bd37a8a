/* What is kept for readers at different places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "session/backlog.h"

static struct slip *slip; /* 2 bytes of head, 2 of payload */

static int setup(void **state)
{
    (void)state;
    slip = slip_new(frame_new(FRAME_TEXT, SPAN("ab")));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    slip_unref(slip);
    return 0;
}

static void append(struct backlog *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        backlog_append(b, slip, i % 2, 2 * b->end, b->end);
}

static void test_sums(void **state)
{
    struct backlog *b = backlog_new();
    uint64_t place = backlog_enter(b);
    (void)state;

    append(b, 10);
    assert_int_equal(b->bytes, 40);
    assert_int_equal(backlog_before(b, 3), 12);
    assert_int_equal(backlog_before(b, 10), 40);
    assert_int_equal(backlog_others(b, 3), 2);
    assert_int_equal(backlog_others(b, 10), 5);
    assert_int_equal(backlog_find(b, 0, 0), 0);
    assert_int_equal(backlog_find(b, 0, 7), 4);
    assert_int_equal(backlog_find(b, 6, 7), 6);
    assert_int_equal(backlog_find(b, 0, 100), 10);
    backlog_leave(b, place);
    assert_int_equal(slip->refs, 1);
    backlog_free(b);
}

/* Frames go with the last reader that stands before them, in whatever order they move. */
static void test_readers(void **state)
{
    struct backlog *b = backlog_new();
    uint64_t slow = backlog_enter(b), late;
    (void)state;

    append(b, 1000);
    late = backlog_enter(b);
    assert_int_equal(late, 1000);
    append(b, 1000);
    assert_int_equal(slip->refs, 2001);
    backlog_move(b, late, 1500);
    assert_int_equal(slip->refs, 2001);
    backlog_move(b, slow, 1200);
    assert_int_equal(slip->refs, 801);
    assert_int_equal(b->first, 1200);
    backlog_move(b, 1200, 2000);
    assert_int_equal(b->first, 1500);
    backlog_leave(b, 1500);
    assert_int_equal(slip->refs, 1);
    append(b, 5);
    assert_int_equal(backlog_at(b, 2000)->at, 2000);
    assert_true(b->size <= 512); /* what is not used is given back */
    backlog_leave(b, 2000);
    assert_int_equal(b->readers, 0);
    backlog_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
