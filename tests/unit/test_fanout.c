#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/fanout.h"

/* What a seat says is of its member, wherever it has been moved to. */
static void *owner_of(struct fan_member *m)
{
    return m + 1;
}

static uint32_t tag_of(const struct fan_member *m)
{
    return (uint32_t)(uintptr_t)m;
}

static struct fan_seat seat(struct fan_member *m)
{
    return (struct fan_seat){.member = m, .owner = owner_of(m), .tag = tag_of(m)};
}

static void assert_consistent(const struct fan_group *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        assert_ptr_equal(g->list[i].member->group, g);
        assert_int_equal(g->list[i].member->index, i);
        assert_ptr_equal(g->list[i].owner, owner_of(g->list[i].member));
        assert_int_equal(g->list[i].tag, tag_of(g->list[i].member));
    }
}

static void test_join_leave(void **state)
{
    struct fan_member m[100] = {{0}};
    struct fanout f;
    (void)state;

    fanout_init(&f);
    assert_null(fanout_group(&f, 7));
    for (int i = 0; i < 100; i++)
        fanout_join(&f, i < 90 ? 7 : 8, seat(&m[i]));
    assert_int_equal(f.members, 100);
    assert_int_equal(fanout_group(&f, 7)->count, 90);
    for (int i = 0; i < 90; i += 2) {
        fanout_leave(&f, &m[i]);
        fanout_leave(&f, &m[i]); /* no member any more: nothing happens */
        assert_consistent(fanout_group(&f, 7));
    }
    assert_int_equal(fanout_group(&f, 7)->count, 45);
    for (int i = 1; i < 90; i += 2)
        fanout_leave(&f, &m[i]);
    assert_null(fanout_group(&f, 7));
    assert_int_equal(fanout_group(&f, 8)->count, 10);
    for (int i = 90; i < 100; i++)
        fanout_leave(&f, &m[i]);
    assert_int_equal(f.members, 0);
    fanout_done(&f);
}

static void test_memory_shrinks(void **state)
{
    static struct fan_member m[1000];
    struct fanout f;
    (void)state;

    fanout_init(&f);
    for (int i = 0; i < 1000; i++)
        fanout_join(&f, 1, seat(&m[i]));
    for (int i = 0; i < 990; i++)
        fanout_leave(&f, &m[i]);
    assert_true(fanout_group(&f, 1)->size <= 64);
    assert_consistent(fanout_group(&f, 1));
    for (int i = 990; i < 1000; i++)
        fanout_leave(&f, &m[i]);
    fanout_done(&f);
}

/* A group is kept while somebody walks it or sessions wait on its list. */
static void test_kept_while_needed(void **state)
{
    struct fan_member m = {0};
    struct fan_group *g;
    struct fanout f;
    (void)state;

    fanout_init(&f);
    fanout_join(&f, 1, seat(&m));
    g = fanout_group(&f, 1);
    g->busy = true;
    fanout_leave(&f, &m);
    assert_ptr_equal(fanout_group(&f, 1), g);
    g->busy = false;
    g->waiting_count = 1;
    fanout_release(&f, g);
    assert_ptr_equal(fanout_group(&f, 1), g);
    g->waiting_count = 0;
    fanout_release(&f, g);
    assert_null(fanout_group(&f, 1));
    fanout_done(&f);
}

/* Members that are set aside are members, but not on the list. */
static void test_aside(void **state)
{
    struct fan_member m[10] = {0};
    struct fan_group *g;
    struct fanout f;
    (void)state;

    fanout_init(&f);
    for (int i = 0; i < 10; i++)
        fanout_join(&f, 1, seat(&m[i]));
    g = fanout_group(&f, 1);
    for (int i = 0; i < 10; i++)
        fanout_aside(&m[i]);
    assert_int_equal(g->count, 0);
    assert_int_equal(g->aside, 10);
    assert_int_equal(f.members, 10);
    for (int i = 0; i < 5; i++)
        fanout_back(seat(&m[i]));
    assert_consistent(g);
    assert_int_equal(g->count, 5);
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(fanout_group(&f, 1), g);
        fanout_leave(&f, &m[i]);
    }
    assert_null(fanout_group(&f, 1));
    fanout_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_leave),
        cmocka_unit_test(test_memory_shrinks),
        cmocka_unit_test(test_kept_while_needed),
        cmocka_unit_test(test_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
