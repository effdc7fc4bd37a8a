/* Many replays of one topic at the same time: what is read for one serves the others, and every one of
 * them gets exactly its own. The model fails at the first message that is not the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub_model.h"

#define PIECE 64 /* messages in one answer of the fake bus */
#define PAST 1600

/* Whatever was posted to the bus before has been dealt with. */
static void barrier(void)
{
    fake_publish(0);
    fake_publish(0);
}

static const char *cursor_before(size_t number)
{
    static char text[100];
    uint64_t lo[FAKE_PARTITIONS] = {0};
    for (size_t i = 0; i < number; i++)
        lo[i % FAKE_PARTITIONS] = model_lo_of[i];
    snprintf(text, sizeof text, "[\"0/%d\",\"1/%d\",\"2/%d\"]", (int)lo[0], (int)lo[1], (int)lo[2]);
    return text;
}

static struct sub *resume(unsigned worker, int key, size_t number)
{
    return model_subscribe(worker, key, FROM_AFTER, 0, cursor_before(number));
}

static bool is_settled(const struct sub *s)
{
    return s->state == SUB_LIVE || s->state == SUB_GONE;
}

static bool all_settled(void)
{
    for (unsigned i = 0; i < model_sub_count; i++)
        if (!is_settled(&model_subs[i])) return false;
    return true;
}

static enum sub_state awaited;

static bool all_there(void)
{
    for (unsigned i = 0; i < model_sub_count; i++)
        if (model_subs[i].state != awaited && !is_settled(&model_subs[i])) return false;
    return true;
}

/* Takes what comes, pulling nothing. */
static void take_until(bool (*done)(void))
{
    for (int i = 0; !done(); i++) {
        assert_true(i < 20000);
        for (unsigned w = 0; w < WORKERS; w++)
            model_take(w, 1000);
        if (!done()) model_wait(&model_sides[0], 1);
    }
}

/* All have been confirmed and none has asked for anything yet. */
static void confirmed(void)
{
    awaited = SUB_REPLAY;
    take_until(all_there);
}

/* So many reads and no more wait for their answers. */
static void await_lates(int count)
{
    for (int i = 0; atomic_load(&fake.lates) < count; i++) {
        assert_true(i < 20000);
        barrier();
    }
    barrier();
    assert_int_equal(atomic_load(&fake.lates), count);
}

static int reads(void)
{
    return atomic_load(&fake.reads);
}

/* A feed that runs, with nothing in its ring. Nothing has been live: no replay stands back. */
static void fill(unsigned count)
{
    struct sub *a;
    fake_publish(count);
    a = model_subscribe(0, 99, FROM_NOW, 0, NULL); /* no message has this key */
    model_await(a, SUB_LIVE);
}

static void expect_all(size_t first)
{
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++) {
        assert_int_equal(model_subs[i].state, SUB_LIVE);
        assert_int_equal(model_subs[i].messages, PAST - first);
        assert_int_equal(model_subs[i].gaps, 0);
    }
}

/* ---- from one place ------------------------------------------------------------------------------ */

static void a_crowd_reads_its_past_once(void **state)
{
    (void)state;
    fill(PAST);
    int before = reads();
    for (unsigned i = 0; i < 300; i++)
        resume(i % WORKERS, -1, 100);
    expect_all(100);
    assert_true(reads() - before <= PAST / PIECE + 2);
}

static void a_crowd_waits_for_one_answer(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 200; i++)
        resume(i % WORKERS, -1, 0);
    confirmed();
    atomic_store(&fake.late, true);
    for (unsigned i = 1; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    await_lates(1);
    fake_release();
    expect_all(0);
}

static void without_room_everybody_reads_for_itself(void **state)
{
    (void)state;
    model_config.replay.pass_bytes = 0;
    fill(PAST);
    int before = reads();
    for (unsigned i = 0; i < 20; i++)
        resume(i % WORKERS, -1, 0);
    expect_all(0);
    assert_true(reads() - before >= 20 * (PAST / PIECE - 2));
}

/* ---- from many places ---------------------------------------------------------------------------- */

static void places_near_each_other_share(void **state)
{
    (void)state;
    fill(PAST);
    int before = reads();
    for (unsigned i = 0; i < 300; i++)
        resume(i % WORKERS, -1, (i * 7919) % 300);
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].messages, PAST - ((i - 1) * 7919) % 300);
    /* The past about twice, and some of the first pieces. */
    assert_true(reads() - before <= 3 * PAST / PIECE);
}

static void other_channels_of_the_topic_share(void **state)
{
    (void)state;
    fill(PAST);
    int before = reads();
    for (unsigned i = 0; i < 300; i++)
        resume(i % WORKERS, (int)(i % 8) - 1, 0);
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++) {
        int key = model_subs[i].key;
        unsigned of_key = (unsigned)((PAST - 1 - key) / 7 + 1);
        assert_int_equal(model_subs[i].messages, key < 0 ? PAST : of_key);
    }
    assert_true(reads() - before <= 3 * PAST / PIECE);
}

static void one_key_is_read_by_itself(void **state)
{
    (void)state;
    fill(PAST);
    int before = reads();
    for (unsigned i = 0; i < 50; i++)
        resume(i % WORKERS, 3, 0);
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].messages, (PAST - 1 - 3) / 7 + 1);
    assert_true(reads() - before <= PAST / 7 / PIECE + 3);
}

/* Those far ahead do not wait for one who is far behind, again and again. */
static void who_is_far_ahead_goes_on(void **state)
{
    (void)state;
    fill(PAST);
    struct sub *slow = resume(0, -1, 0), *quick = resume(1, -1, PAST / 2);
    confirmed();
    atomic_store(&fake.late, true);
    model_pull(slow);
    barrier();
    model_pull(quick); /* waits for the other once, in vain */
    barrier();
    await_lates(1);
    fake_answer(1);
    await_lates(1);
    fake_answer(1);
    for (int i = 0; slow->pulling || quick->pulling; i++) {
        assert_true(i < 20000);
        for (unsigned w = 0; w < WORKERS; w++)
            model_take(w, 1000);
        barrier();
    }
    model_pull(slow);
    model_pull(quick);
    await_lates(2);
    fake_release();
    model_work_until(all_settled);
    assert_int_equal(slow->messages, PAST);
    assert_int_equal(quick->messages, PAST / 2);
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

static void the_one_who_asked_leaves(void **state)
{
    (void)state;
    fill(PAST);
    struct sub *a = resume(1, -1, 0);
    for (unsigned i = 0; i < 50; i++)
        resume(i % WORKERS, -1, 0);
    confirmed();
    atomic_store(&fake.late, true);
    model_pull(a);
    for (unsigned i = 2; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    barrier();
    for (unsigned i = 1; i < 20; i++)
        model_unsubscribe(&model_subs[i]);
    await_lates(1);
    fake_release();
    model_work_until(all_settled);
    for (unsigned i = 20; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].messages, PAST);
}

static void nobody_is_there_any_more(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 20; i++)
        resume(i % WORKERS, -1, i);
    confirmed();
    atomic_store(&fake.late, true);
    for (unsigned i = 1; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    barrier();
    for (unsigned i = 1; i < model_sub_count; i++)
        model_unsubscribe(&model_subs[i]);
    barrier();
    fake_release();
    model_work_until(all_settled);
}

static void the_feed_ends_under_all_of_them(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 40; i++)
        resume(i % WORKERS, -1, (i % 4) * 400);
    confirmed();
    atomic_store(&fake.late, true);
    for (unsigned i = 1; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    barrier();
    fake_end("the topic was deleted");
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].lefts, 1);
    fake_release();
}

static void all_outlive_an_outage(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 60; i++)
        resume(i % WORKERS, -1, i % 3);
    confirmed();
    atomic_store(&fake.down, true);
    for (unsigned i = 1; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    barrier();
    atomic_store(&fake.down, false);
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].messages, PAST - (i - 1) % 3);
}

static void everybody_hears_of_a_loss(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 60; i++)
        resume(i % WORKERS, -1, 30 * (i % 2));
    confirmed();
    fake_trim(300);
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++) {
        assert_int_equal(model_subs[i].gaps, 1);
        assert_int_equal(model_subs[i].messages, PAST - 300);
    }
}

/* Who asks for what a gap tells of, from its one cursor to the other, gets nothing else. */
static void a_gap_names_partitions_that_lost_nothing(void **state)
{
    char cursor[100];
    (void)state;
    fill(PAST);
    snprintf(cursor, sizeof cursor, "[\"0/0\",\"1/0\",\"2/%d\"]", (int)model_lo_of[401]);
    struct sub *s = model_subscribe(0, -1, FROM_AFTER, 0, cursor);
    confirmed();
    fake_trim(300);
    model_await(s, SUB_LIVE);
    assert_int_equal(s->gaps, 1);
    assert_non_null(strstr(s->last_gap, "\"until\":[\"0/"));
    assert_non_null(strstr(s->last_gap, strrchr(cursor, ',')));
    assert_int_equal(s->messages, PAST - 300 - 34);
}

static void a_piece_from_before_a_hole_is_forgotten(void **state)
{
    (void)state;
    fill(PAST);
    for (unsigned i = 0; i < 30; i++)
        resume(i % WORKERS, -1, 0);
    confirmed();
    for (unsigned i = 1; i < 10; i++)
        model_pull(&model_subs[i]);
    barrier();
    atomic_store(&fake.hold_live, true);
    fake_publish(60);
    fake_hole(PAST + 30);
    fake_release();
    model_work_until(all_settled);
    fake_publish(3);
    for (unsigned i = 1; i < model_sub_count; i++) {
        model_await_messages(&model_subs[i], (i < 10 ? PIECE : 0) + 33);
        assert_int_equal(model_subs[i].gaps, 1);
    }
}

/* ---- budgets -------------------------------------------------------------------------------------- */

static void so_many_reads_are_open_at_a_time(void **state)
{
    (void)state;
    model_config.replay.readers = 3;
    fill(PAST);
    for (unsigned i = 0; i < 12; i++)
        resume(i % WORKERS, -1, 100 * (12 - i)); /* nobody can wait for anybody's piece */
    confirmed();
    atomic_store(&fake.late, true);
    for (unsigned i = 1; i < model_sub_count; i++)
        model_pull(&model_subs[i]);
    await_lates(3);
    fake_answer(1);
    await_lates(3);
    fake_release();
    model_work_until(all_settled);
    for (unsigned i = 1; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].messages, PAST - 100 * (12 - (i - 1)));
}

static void so_many_replays_are_under_way(void **state)
{
    (void)state;
    model_config.replay.at_once = 5;
    fill(PAST);
    for (unsigned i = 0; i < 5; i++)
        resume(0, -1, 0);
    confirmed();
    struct sub *more = resume(1, -1, 0), *now = model_subscribe(1, -1, FROM_NOW, 0, NULL);
    model_await(more, SUB_GONE);
    assert_int_equal(more->refused, ERR_BUSY);
    model_await(now, SUB_LIVE); /* needs no past */
    model_work_until(all_settled);
    struct sub *again = resume(1, -1, 0);
    model_await_messages(again, PAST);
}

static bool has_page(void)
{
    return model_pages.count > 0;
}

/* One read is under way and does not end; others come, wait behind it, and leave. */
static void who_has_left_is_not_waited_for(void **state)
{
    (void)state;
    size_t number = PAST + 40;
    model_config.replay.readers = 1;
    model_config.replay.at_once = 5;
    fill(PAST);
    fake_publish(40);
    atomic_store(&fake.late, true);
    for (int i = 0; i < 7; i++) {
        struct sub *s = resume(0, i, number); /* from the ring, which moves on */
        confirmed();
        fake_publish(60);
        number += 60;
        model_pull(s);
        await_lates(1);
        if (i == 0) continue;
        model_unsubscribe(s);
        model_await(s, SUB_GONE);
    }
    model_history(0);
    barrier();
    fake_release();
    model_work_until(has_page);
    assert_int_equal(model_pages.error, ERR_NONE);
}

int main(void)
{
    model_positions();
#define CASE(name) cmocka_unit_test_setup_teardown(name, model_setup, model_teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_crowd_reads_its_past_once),
        CASE(a_crowd_waits_for_one_answer),
        CASE(without_room_everybody_reads_for_itself),
        CASE(places_near_each_other_share),
        CASE(other_channels_of_the_topic_share),
        CASE(one_key_is_read_by_itself),
        CASE(who_is_far_ahead_goes_on),
        CASE(the_one_who_asked_leaves),
        CASE(nobody_is_there_any_more),
        CASE(the_feed_ends_under_all_of_them),
        CASE(all_outlive_an_outage),
        CASE(everybody_hears_of_a_loss),
        CASE(a_gap_names_partitions_that_lost_nothing),
        CASE(a_piece_from_before_a_hole_is_forgotten),
        CASE(so_many_reads_are_open_at_a_time),
        CASE(so_many_replays_are_under_way),
        CASE(who_has_left_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
