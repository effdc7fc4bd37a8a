/* Feeds, followers and replays on a bus that misbehaves on command, with workers that are slow to
 * look into their inboxes. The test's thread plays the workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "hub_model.h"

/* ---- states of a feed -------------------------------------------------------------------------------- */

static void newcomers_wait_while_the_feed_starts(void **state)
{
    (void)state;
    atomic_store(&fake.hold_subscribe, true);
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    struct sub *b = model_subscribe(1, 3, FROM_EARLIEST, 0, NULL);
    fake_publish(20);
    assert_int_equal(a->state, SUB_ASKED);
    fake_release();
    model_await(a, SUB_LIVE);
    model_await(b, SUB_LIVE);
    assert_int_equal(atomic_load(&fake.subscribes), 1);
    fake_publish(21);
    model_await_messages(a, 21);
    model_await_messages(b, 3 + 3);
}

static void a_bus_that_does_not_answer_is_unavailable(void **state)
{
    (void)state;
    atomic_store(&fake.hold_subscribe, true);
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_GONE);
    assert_int_equal(a->refused, ERR_BUS_UNAVAILABLE);
    model_work_until(model_unsubscribed_upstream); /* nothing is left behind */
}

static void unsubscribe_before_the_answer_is_answered_after_it(void **state)
{
    (void)state;
    atomic_store(&fake.hold_subscribe, true);
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_unsubscribe(a);
    fake_release();
    model_watched = a;
    model_work_until(model_has_left);
    assert_int_equal(a->refused, ERR_NONE);
}

static void a_refusal_reaches_all_who_wait_and_the_next_tries_again(void **state)
{
    (void)state;
    atomic_store(&fake.hold_subscribe, true);
    atomic_store(&fake.refuse_subscribe, WSBUS_UNKNOWN_TOPIC);
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    struct sub *b = model_subscribe(2, 1, FROM_EARLIEST, 0, NULL);
    fake_publish(1); /* the asks have arrived before this returns or soon after */
    atomic_store(&fake.hold_subscribe, false);
    fake_release();
    model_await(a, SUB_GONE);
    model_await(b, SUB_GONE);
    assert_int_equal(a->refused, ERR_UNKNOWN_CHANNEL);
    assert_int_equal(b->refused, ERR_UNKNOWN_CHANNEL);
    atomic_store(&fake.refuse_subscribe, WSBUS_OK);
    struct sub *c = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(c, SUB_LIVE);
}

static void the_last_out_stops_the_feed_and_a_subscribe_meanwhile_restarts_it(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    atomic_store(&fake.hold_unsubscribe, true);
    model_unsubscribe(a);
    model_work_until(model_unsubscribed_upstream);
    struct sub *b = model_subscribe(1, -1, FROM_NOW, 0, NULL);
    assert_int_equal(atomic_load(&fake.subscribes), 1);
    fake_publish(5); /* the ask is in the inbox, or behind it */
    fake_release();
    model_work_until(model_subscribed_twice);
    model_await(b, SUB_LIVE);
    fake_publish(5);
    model_watched = b;
    model_wanted_count = 5;
    model_work_until(model_has_messages);
}

static void the_bus_ends_a_feed_with_its_own_words(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    fake_end("topic was deleted");
    model_await(a, SUB_GONE);
    assert_int_equal(a->lefts, 1);
    struct sub *b = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(b, SUB_LIVE);
}

/* ---- the past ---------------------------------------------------------------------------------------- */

static void replay_reads_the_backend_then_the_ring_then_joins(void **state)
{
    (void)state;
    fake_publish(500);
    struct sub *first = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(first, SUB_LIVE);
    fake_publish(30);
    struct sub *all = model_subscribe(1, -1, FROM_EARLIEST, 0, NULL);
    struct sub *key = model_subscribe(2, 5, FROM_EARLIEST, 0, NULL);
    model_await(all, SUB_LIVE);
    model_await(key, SUB_LIVE);
    fake_publish(70);
    model_await_messages(all, 600);
    model_await_messages(key, 85);
    model_await_messages(first, 100);
}

static void a_cursor_inside_the_ring_needs_no_backend(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    fake_publish(30);
    model_await_messages(a, 30);
    struct sub *b = model_subscribe(1, -1, FROM_AFTER, 0, a->cursor);
    model_await(b, SUB_LIVE);
    model_await_messages(b, 30);
    assert_int_equal(atomic_load(&fake.reads), 0);
}

static void a_client_that_is_ahead_of_this_node_waits_for_it(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    atomic_store(&fake.hold_live, true);
    fake_publish(9);
    char cursor[100]; /* from a node that has seen all nine */
    snprintf(cursor, sizeof cursor, "[\"0/%d\",\"1/%d\",\"2/%d\"]", (int)model_lo_of[6],
             (int)model_lo_of[7], (int)model_lo_of[8]);
    struct sub *b = model_subscribe(1, -1, FROM_AFTER, 0, cursor);
    model_await(b, SUB_REPLAY);
    fake_publish(3);
    for (int i = 0; i < 20; i++) { /* whatever it is given, it is not live yet */
        model_take(1, 100);
        model_pull(b);
        model_wait(&model_sides[1], 1);
    }
    assert_int_equal(b->state, SUB_REPLAY);
    fake_release();
    model_await(b, SUB_LIVE);
    fake_publish(9);
    model_await_messages(a, 21);
    model_await_messages(b, 12);
}

static void a_replay_outlives_an_outage(void **state)
{
    (void)state;
    model_config.bus_wait = 60000;
    fake_publish(300);
    struct sub *a = model_subscribe(0, -1, FROM_EARLIEST, 0, NULL);
    model_await(a, SUB_REPLAY);
    atomic_store(&fake.down, true);
    model_pull(a);
    for (int i = 0; i < 5; i++)
        model_wait(&model_sides[0], 1);
    atomic_store(&fake.down, false);
    model_await(a, SUB_LIVE);
    model_await_messages(a, 300);
}

/* ---- workers that fall behind -------------------------------------------------------------------------- */

static void a_full_inbox_costs_nobody_a_message(void **state)
{
    (void)state;
    struct sub *slow = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    struct sub *quick = model_subscribe(1, -1, FROM_NOW, 0, NULL);
    model_await(slow, SUB_LIVE);
    model_await(quick, SUB_LIVE);
    for (int i = 0; i < 100; i++) {
        fake_publish(10);
        while (model_take(1, 1000))
            ;
    }
    model_await_messages(quick, 1000); /* works all inboxes: the slow one is brought forward now */
    model_await_messages(slow, 1000);
    assert_true(atomic_load(&fake.reads) > 0);
}

static void a_newcomer_on_a_worker_behind_starts_where_the_worker_stands(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    fake_publish(200);
    struct sub *b = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    struct sub *c = model_subscribe(0, -1, FROM_EARLIEST, 0, NULL);
    fake_publish(10);
    model_await(b, SUB_LIVE);
    model_await(c, SUB_LIVE);
    fake_publish(10);
    model_await_messages(c, 220);
    model_await_messages(a, 220);
    assert_true(b->next[0] > 210 && b->next[1] > 210 && b->next[2] > 210);
}

static void without_a_log_a_full_inbox_is_a_gap(void **state)
{
    (void)state;
    atomic_store(&fake.log, false);
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    a->state = SUB_GONE; /* without positions nothing can be compared: count only */
    fake_publish(200);
    a->state = SUB_LIVE;
    a->key = 99;
    model_watched = a;
    while (!a->gaps) {
        struct inbox_item *item = inbox_take(&model_sides[0].inbox);
        for (struct inbox_item *next; item; item = next) {
            next = item->next;
            struct mail_frame *m = CONTAINER_OF(item, struct mail_frame, item);
            if (item->kind == MAIL_LIVE && model_type_is(frame_payload(m->slip.frame), "gap"))
                a->gaps++;
            size_t bytes = item->bytes;
            mail_free(item);
            if (inbox_settle(&model_sides[0].inbox, bytes))
                model_post(&mail_leave_new(MAIL_DRAINED, 0, 0, false)->item);
        }
        model_wait(&model_sides[0], 5);
    }
    assert_int_equal(a->gaps, 1);
}

static void a_gap_of_the_bus_reaches_every_member(void **state)
{
    (void)state;
    struct sub *a = model_subscribe(0, -1, FROM_NOW, 0, NULL);
    struct sub *b = model_subscribe(2, 4, FROM_NOW, 0, NULL);
    model_await(a, SUB_LIVE);
    model_await(b, SUB_LIVE);
    fake_gap();
    model_watched = a;
    model_work_until(model_has_gap);
    model_watched = b;
    model_work_until(model_has_gap);
    assert_non_null(strstr(a->last_text, "\"reason\":\"bus\""));
}

/* ---- all at once ---------------------------------------------------------------------------------------- */

static bool all_at_the_end(void)
{
    for (unsigned i = 0; i < model_sub_count; i++) {
        struct sub *s = &model_subs[i];
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

static struct sub *random_subscribe(unsigned *seed)
{
    int key = rand_r(seed) % 3 ? -1 : rand_r(seed) % 7;
    unsigned worker = (unsigned)rand_r(seed) % WORKERS;
    const char *cursor =
        model_sub_count ? model_subs[(unsigned)rand_r(seed) % model_sub_count].cursor : "";
    switch (rand_r(seed) % 4) {
    case 0: return model_subscribe(worker, key, FROM_NOW, 0, NULL);
    case 1: return model_subscribe(worker, key, FROM_EARLIEST, 0, NULL);
    case 2: return model_subscribe(worker, key, FROM_LAST, rand_r(seed) % 100, NULL);
    default:
        if (!*cursor) return model_subscribe(worker, key, FROM_NOW, 0, NULL);
        return model_subscribe(worker, key, FROM_AFTER, 0, cursor);
    }
}

static void comings_and_goings_are_exact(unsigned seed)
{
    unsigned published = 0;
    model_config.bus_wait = 60000;
    for (int step = 0; step < 3000; step++) {
        switch (rand_r(&seed) % 10) {
        case 0:
            if (model_sub_count < 64) (void)random_subscribe(&seed);
            break;
        case 1: {
            struct sub *s =
                model_sub_count ? &model_subs[(unsigned)rand_r(&seed) % model_sub_count] : NULL;
            if (s && s->state == SUB_LIVE && rand_r(&seed) % 3 == 0) {
                s->state = SUB_GONE;
                model_post(&mail_leave_new(MAIL_UNSUBSCRIBE, s->worker, s->id, false)->item);
            }
            break;
        }
        case 2:
        case 3:
        case 4: {
            unsigned n = (unsigned)rand_r(&seed) % 12;
            fake_publish(n);
            published += n;
            break;
        }
        case 5: atomic_store(&fake.hold_live, rand_r(&seed) % 2); break;
        default: model_take((unsigned)rand_r(&seed) % WORKERS, (unsigned)rand_r(&seed) % 8); break;
        }
        if (model_sub_count) model_pull(&model_subs[(unsigned)rand_r(&seed) % model_sub_count]);
    }
    fake_release();
    model_wanted_count = published;
    model_work_until(all_at_the_end);
    for (unsigned i = 0; i < model_sub_count; i++)
        assert_int_equal(model_subs[i].gaps, 0);
}

static void comings_and_goings(void **state)
{
    for (unsigned seed = 1; seed <= 8; seed++) {
        comings_and_goings_are_exact(seed);
        model_teardown(state);
        model_inbox_cap = seed % 2 ? 1500 : 6000;
        model_setup(state);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, model_setup, model_teardown)
#define TINY(f) cmocka_unit_test_setup_teardown(f, model_setup_tiny, model_teardown)
    const struct CMUnitTest tests[] = {
        CASE(newcomers_wait_while_the_feed_starts),
        CASE(a_bus_that_does_not_answer_is_unavailable),
        CASE(unsubscribe_before_the_answer_is_answered_after_it),
        CASE(a_refusal_reaches_all_who_wait_and_the_next_tries_again),
        CASE(the_last_out_stops_the_feed_and_a_subscribe_meanwhile_restarts_it),
        CASE(the_bus_ends_a_feed_with_its_own_words),
        CASE(replay_reads_the_backend_then_the_ring_then_joins),
        CASE(a_cursor_inside_the_ring_needs_no_backend),
        CASE(a_client_that_is_ahead_of_this_node_waits_for_it),
        CASE(a_replay_outlives_an_outage),
        TINY(a_full_inbox_costs_nobody_a_message),
        TINY(a_newcomer_on_a_worker_behind_starts_where_the_worker_stands),
        TINY(without_a_log_a_full_inbox_is_a_gap),
        CASE(a_gap_of_the_bus_reaches_every_member),
        TINY(comings_and_goings),
    };
    model_positions();
    return cmocka_run_group_tests_name("hub", tests, NULL, NULL);
}
