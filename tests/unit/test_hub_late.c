/* Feeds, followers and replays where the bus takes its time, or answers in the most inconvenient
 * way that its contract allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub_model.h"

/* Whatever was posted to the bus before has been dealt with. */
static void barrier(void)
{
    fake_publish(0);
    fake_publish(0);
}

static struct sub *live(unsigned worker)
{
    struct sub *s = model_subscribe(worker, -1, FROM_NOW, 0, NULL);
    model_await(s, SUB_LIVE);
    return s;
}

/* ---- the end of a log ---------------------------------------------------------------------------- */

static void a_replay_ends_where_the_log_ends_with_a_hole(void **state)
{
    (void)state;
    fake_publish(100);
    fake_progress();
    struct sub *s = model_subscribe(0, -1, FROM_EARLIEST, 0, NULL);
    model_await(s, SUB_LIVE);
    fake_publish(9);
    model_await_messages(s, 109);
}

/* ---- partitions that are new --------------------------------------------------------------------- */

static void a_replay_does_not_overtake_the_feed_in_a_new_partition(void **state)
{
    (void)state;
    atomic_store(&fake.hide_partition, true);
    fake_publish(6);
    struct sub *a = live(0);
    struct sub *b = model_subscribe(1, -1, FROM_EARLIEST, 0, NULL);
    model_await_messages(b, 6);
    fake_release();
    model_await(b, SUB_LIVE);
    fake_publish(6);
    model_await_messages(a, 2 + 6);
    model_await_messages(b, 12);
}

static void catching_up_does_not_overtake_the_feed_in_a_new_partition(void **state)
{
    (void)state;
    atomic_store(&fake.hide_partition, true);
    struct sub *a = live(0);
    fake_publish(300);
    model_await_messages(a, 200);
    fake_release();
    model_await_messages(a, 300);
}

/* ---- credit -------------------------------------------------------------------------------------- */

static void who_is_ahead_gets_no_more_than_it_pulls(void **state)
{
    char cursor[100];
    (void)state;
    (void)live(0);
    snprintf(cursor, sizeof cursor, "[\"0/%d\",\"1/0\",\"2/0\"]", (int)model_lo_of[30000]);
    struct sub *b = model_subscribe(1, -1, FROM_AFTER, 0, cursor);
    model_await(b, SUB_REPLAY);
    model_pull(b);
    barrier();
    for (int i = 0; i < 30; i++)
        fake_publish(300);
    barrier();
    while (model_take(1, 1000))
        ;
    assert_true(b->messages < 2000);
    assert_false(b->pulling);
    model_await_messages(b, 6000);
}

static void catching_up_takes_a_chunk_at_a_time(void **state)
{
    (void)state;
    struct sub *a = live(0);
    struct sub *b = model_subscribe(0, 9, FROM_NOW, 0, NULL); /* no message has this key */
    model_await(b, SUB_LIVE);
    fake_publish(50);
    a->state = SUB_GONE;
    model_post(&mail_leave_new(MAIL_UNSUBSCRIBE, 0, a->id, false)->item);
    barrier();
    fake_publish(3000);
    int before = atomic_load(&fake.reads);
    for (int i = 0; i < 2000 && atomic_load(&fake.reads) - before < 40; i++) {
        model_take(0, 1000);
        model_wait(&model_sides[0], 1);
    }
    assert_true(atomic_load(&fake.reads) - before >= 40);
    assert_true(atomic_load(&fake.deepest) <= 2);
}

/* ---- what is lost -------------------------------------------------------------------------------- */

static bool has_seen_303(void)
{
    return model_watched->next[0] >= 303;
}

static void what_was_trimmed_is_told_once(void **state)
{
    (void)state;
    struct sub *a = live(0);
    fake_publish(303);
    fake_trim(150);
    model_watched = a;
    model_work_until(has_seen_303);
    assert_int_equal(a->gaps, 1);
}

static void a_rule_without_history_tells_no_positions_in_a_gap(void **state)
{
    (void)state;
    model_whole_rule.history = false;
    struct sub *a = live(0);
    a->uncounted = true;
    fake_publish(300);
    fake_trim(150);
    model_watched = a;
    model_work_until(model_has_gap);
    assert_null(strstr(a->last_gap, "\"0/"));
}

static void a_hole_in_the_feed_is_told_with_its_places(void **state)
{
    char after[80], until[80];
    (void)state;
    struct sub *a = live(0), *b = live(2);
    fake_publish(30);
    model_await_messages(a, 30);
    model_await_messages(b, 30);
    atomic_store(&fake.hold_live, true);
    fake_publish(60);
    fake_hole(75);
    fake_release();
    model_await_messages(a, 45);
    model_await_messages(b, 45);
    snprintf(after, sizeof after, "\"after\":[\"0/%d\",\"1/%d\",\"2/%d\"]", (int)model_lo_of[27],
             (int)model_lo_of[28], (int)model_lo_of[29]);
    snprintf(until, sizeof until, "\"until\":[\"0/%d\",\"1/%d\",\"2/%d\"]", (int)model_lo_of[72],
             (int)model_lo_of[73], (int)model_lo_of[74]);
    assert_int_equal(a->gaps, 1);
    assert_int_equal(b->gaps, 1);
    assert_non_null(strstr(a->last_gap, "\"reason\":\"expired\""));
    assert_non_null(strstr(a->last_gap, after));
    assert_non_null(strstr(a->last_gap, until));
}

static void a_replay_across_a_hole_hears_of_it(void **state)
{
    char cursor[100];
    (void)state;
    struct sub *a = live(0);
    fake_publish(30);
    model_await_messages(a, 30);
    atomic_store(&fake.hold_live, true);
    fake_publish(60);
    fake_hole(75);
    fake_release();
    snprintf(cursor, sizeof cursor, "[\"0/%d\",\"1/%d\",\"2/%d\"]", (int)model_lo_of[27],
             (int)model_lo_of[28], (int)model_lo_of[29]);
    struct sub *b = model_subscribe(1, -1, FROM_AFTER, 0, cursor);
    model_await(b, SUB_LIVE);
    model_await_messages(b, 15);
    assert_int_equal(b->gaps, 1);
}

static bool has_seen_90(void)
{
    return model_watched->next[0] >= 90;
}

/* What it had not read before the hole is gone with it: one gap, from where it was. */
static void a_worker_that_is_behind_hears_of_a_hole_when_it_comes_to_it(void **state)
{
    (void)state;
    struct sub *a = live(0);
    fake_publish(30);
    atomic_store(&fake.hold_live, true);
    fake_publish(60);
    fake_hole(75);
    fake_release();
    model_watched = a;
    model_work_until(has_seen_90);
    assert_int_equal(a->gaps, 1);
}

/* ---- ends ---------------------------------------------------------------------------------------- */

static void a_feed_that_ends_while_it_is_stopped_is_started_for_who_waits(void **state)
{
    (void)state;
    model_config.bus_wait = 60000;
    struct sub *a = live(0);
    atomic_store(&fake.hold_unsubscribe, true);
    model_unsubscribe(a);
    model_work_until(model_unsubscribed_upstream);
    struct sub *b = model_subscribe(1, -1, FROM_NOW, 0, NULL);
    barrier();
    fake_end("gone");
    model_await(b, SUB_LIVE);
    assert_int_equal(atomic_load(&fake.subscribes), 2);
}

static void words_of_the_bus_are_text_for_the_client(void **state)
{
    (void)state;
    struct sub *a = live(0);
    fake_end("\xff\xfe no \xc3");
    model_await(a, SUB_GONE);
    assert_int_equal(a->lefts, 1);
}

static void who_leaves_is_not_missed_by_a_late_answer(void **state)
{
    (void)state;
    model_config.bus_wait = 60000;
    atomic_store(&fake.late, true);
    fake_publish(200);
    (void)live(0);
    struct sub *b = model_subscribe(1, -1, FROM_EARLIEST, 0, NULL);
    struct sub *c = model_subscribe(1, 2, FROM_EARLIEST, 0, NULL);
    barrier();
    assert_int_equal(atomic_load(&fake.lates), 2);
    model_unsubscribe(b);
    model_post(&mail_leave_new(MAIL_UNSUBSCRIBE, 1, c->id, false)->item);
    barrier();
    fake_answer(2);
    model_watched = b;
    model_work_until(model_has_left);
    struct sub *d = model_subscribe(1, -1, FROM_EARLIEST, 0, NULL);
    barrier();
    fake_answer(1);
    model_await(d, SUB_REPLAY);
    model_pull(d);
    barrier();
    fake_end("over");
    model_await(d, SUB_GONE);
    assert_int_equal(atomic_load(&fake.lates), 1);
    fake_answer(1);
    assert_int_equal(c->lefts, 0);
}

static void the_end_answers_all_who_wait(void **state)
{
    model_config.bus_wait = 60000;
    atomic_store(&fake.late, true);
    fake_publish(10);
    (void)live(0);
    struct sub *b = model_subscribe(1, -1, FROM_EARLIEST, 0, NULL);
    struct sub *c = model_subscribe(1, 2, FROM_EARLIEST, 0, NULL);
    model_unsubscribe(c);
    barrier();
    model_teardown(state);
    assert_int_equal(b->state, SUB_GONE);
    assert_int_equal(b->refused, ERR_BUS_UNAVAILABLE);
    assert_int_equal(c->lefts, 1);
    model_setup(state);
}

/* ---- all at once --------------------------------------------------------------------------------- */

static bool leaving[SUBS]; /* asked for an answer */

static bool all_settled(void)
{
    for (unsigned i = 0; i < model_sub_count; i++) {
        struct sub *s = &model_subs[i];
        if (leaving[i] && s->answers == 0) return false;
        if (s->state == SUB_GONE) continue;
        if (s->state != SUB_LIVE) return false;
        for (size_t p = 0; p < FAKE_PARTITIONS; p++) {
            while (s->key >= 0 && s->next[p] % 7 != (size_t)s->key)
                s->next[p] += FAKE_PARTITIONS;
            if (s->next[p] < model_wanted_count) return false;
        }
    }
    return true;
}

static void random_subscribe(unsigned *seed)
{
    int key = rand_r(seed) % 3 ? -1 : rand_r(seed) % 7;
    unsigned worker = (unsigned)rand_r(seed) % WORKERS;
    const struct sub *other =
        model_sub_count ? &model_subs[(unsigned)rand_r(seed) % model_sub_count] : NULL;
    if (model_sub_count == SUBS) return;
    switch (rand_r(seed) % 4) {
    case 0: model_subscribe(worker, key, FROM_NOW, 0, NULL); return;
    case 1: model_subscribe(worker, key, FROM_EARLIEST, 0, NULL); return;
    case 2: model_subscribe(worker, key, FROM_LAST, rand_r(seed) % 100, NULL); return;
    default:
        if (other && *other->cursor) model_subscribe(worker, key, FROM_AFTER, 0, other->cursor);
    }
}

static void random_leave(unsigned *seed)
{
    unsigned i = (unsigned)rand_r(seed) % (model_sub_count + 1);
    struct sub *s = &model_subs[i];
    if (i == model_sub_count || s->state == SUB_GONE || leaving[i] || rand_r(seed) % 2) return;
    if (s->state == SUB_ASKED) { /* as sessions do: an open request is awaited */
        leaving[i] = true;
        model_unsubscribe(s);
    } else {
        s->state = SUB_GONE;
        model_post(&mail_leave_new(MAIL_UNSUBSCRIBE, s->worker, s->id, false)->item);
    }
}

static unsigned random_bus(unsigned *seed)
{
    unsigned n = (unsigned)rand_r(seed) % 12;
    switch (rand_r(seed) % 24) {
    case 0: atomic_store(&fake.hold_live, rand_r(seed) % 2); return 0;
    case 1: fake_progress(); return 0;
    case 2:
        if (rand_r(seed) % 8 == 0) fake_end("so it goes");
        return 0;
    case 3: atomic_store(&fake.hold_subscribe, rand_r(seed) % 2); return 0;
    case 4: atomic_store(&fake.hold_unsubscribe, rand_r(seed) % 2); return 0;
    case 5:
        if (rand_r(seed) % 4 == 0) fake_release();
        atomic_store(&fake.late, true);
        return 0;
    case 6: atomic_store(&fake.down, rand_r(seed) % 16 == 0); return 0;
    case 7:
    case 8:
    case 9:
    case 10: fake_answer(n / 4); return 0;
    default: fake_publish(n); return n;
    }
}

static void one_life(unsigned seed)
{
    unsigned published = 0;
    memset(leaving, 0, sizeof leaving);
    model_config.bus_wait = seed % 3 ? 60000 : 20;
    model_config.linger = seed % 2 ? 20 : 0;
    atomic_store(&fake.hide_partition, seed % 4 == 0);
    atomic_store(&fake.late, true);
    for (int step = 0; step < 6000; step++) {
        switch (rand_r(&seed) % 12) {
        case 0: random_subscribe(&seed); break;
        case 1: random_leave(&seed); break;
        case 2:
        case 3:
        case 4: published += random_bus(&seed); break;
        default: model_take((unsigned)rand_r(&seed) % WORKERS, (unsigned)rand_r(&seed) % 8); break;
        }
        if (model_sub_count) model_pull(&model_subs[(unsigned)rand_r(&seed) % model_sub_count]);
    }
    atomic_store(&fake.down, false);
    fake_release();
    model_wanted_count = published;
    model_work_until(all_settled);
    for (unsigned i = 0; i < model_sub_count; i++) {
        assert_int_equal(model_subs[i].gaps, 0);
        assert_int_equal(model_subs[i].answers, leaving[i]);
        assert_true(model_subs[i].lives <= model_subs[i].past);
    }
}

static void lives(void **state)
{
    for (unsigned seed = 1; seed <= 12; seed++) {
        one_life(seed);
        model_teardown(state);
        model_inbox_cap = seed % 2 ? 1500 : 6000;
        model_setup(state);
    }
}

/* ---- answers in the order of the requests ------------------------------------------------------------ */

/* Takes mail one by one until the last of them has been answered; none before the one it is behind. */
static void expect_in_order(struct sub *const *subs, unsigned count)
{
    struct sub *last = subs[count - 1];

    for (int i = 0; i < 5000 && last->state == SUB_ASKED; i++) {
        if (!model_take(0, 1)) model_wait(&model_sides[0], 1);
        for (unsigned k = 1; k < count; k++)
            assert_true(subs[k]->state == SUB_ASKED || subs[k - 1]->answers == 1);
    }
    assert_int_not_equal(last->state, SUB_ASKED);
}

static struct sub *behind(struct sub *s, enum from_kind from)
{
    model_unsubscribe(s);
    model_behind(s);
    return model_subscribe(0, -1, from, 2, NULL);
}

static void who_asks_again_is_answered_in_that_order(void **state)
{
    struct sub *s[5];
    (void)state;

    (void)live(1);
    fake_publish(50);
    atomic_store(&fake.late, true);
    s[0] = model_subscribe(0, -1, FROM_TIME, 0, NULL);
    s[1] = behind(s[0], FROM_NOW);
    s[2] = behind(s[1], FROM_TIME);
    s[3] = behind(s[2], FROM_NOW);
    barrier();
    while (model_take(0, 1000))
        ;
    for (int i = 0; i < 4; i++)
        assert_int_equal(s[i]->state, SUB_ASKED);
    fake_publish(30); /* after it has asked, so it gets them */
    fake_release();
    expect_in_order(s, 4);
    model_await(s[3], SUB_LIVE);
    fake_publish(30);
    model_await_messages(s[3], 60);
    assert_int_equal(s[3]->lives, 0);
}

static void who_asks_again_is_refused_in_that_order(void **state)
{
    struct sub *s[3];
    (void)state;

    (void)live(1);
    fake_publish(50);
    atomic_store(&fake.late, true);
    s[0] = model_subscribe(0, -1, FROM_TIME, 0, NULL);
    s[1] = behind(s[0], FROM_NOW);
    s[2] = behind(s[1], FROM_NOW);
    barrier();
    fake_end("the topic is gone");
    expect_in_order(s, 3);
    assert_int_equal(s[0]->refused, ERR_BUS_ERROR);
    assert_int_equal(s[2]->refused, ERR_BUS_ERROR);
}

static int setup_tiniest(void **state)
{
    model_inbox_cap = 500; /* two messages */
    return model_setup(state);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, model_setup, model_teardown)
#define TINY(f) cmocka_unit_test_setup_teardown(f, model_setup_tiny, model_teardown)
#define TINIEST(f) cmocka_unit_test_setup_teardown(f, setup_tiniest, model_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_replay_ends_where_the_log_ends_with_a_hole),
        CASE(a_replay_does_not_overtake_the_feed_in_a_new_partition),
        TINY(catching_up_does_not_overtake_the_feed_in_a_new_partition),
        CASE(who_is_ahead_gets_no_more_than_it_pulls),
        TINY(catching_up_takes_a_chunk_at_a_time),
        TINIEST(what_was_trimmed_is_told_once),
        TINY(a_rule_without_history_tells_no_positions_in_a_gap),
        CASE(a_hole_in_the_feed_is_told_with_its_places),
        CASE(a_replay_across_a_hole_hears_of_it),
        TINIEST(a_worker_that_is_behind_hears_of_a_hole_when_it_comes_to_it),
        CASE(a_feed_that_ends_while_it_is_stopped_is_started_for_who_waits),
        CASE(words_of_the_bus_are_text_for_the_client),
        CASE(who_leaves_is_not_missed_by_a_late_answer),
        CASE(the_end_answers_all_who_wait),
        CASE(who_asks_again_is_answered_in_that_order),
        CASE(who_asks_again_is_refused_in_that_order),
        TINY(lives),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    model_positions();
    return cmocka_run_group_tests_name("hub_late", tests, NULL, NULL);
}
