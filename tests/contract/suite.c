#include "suite.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aid.h"
#include "cases.h"

/* ---- the end ------------------------------------------------------------------------------ */

/* harness_close() checks that every token was answered, although nobody waited for any. */
static void closing_answers_everything(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    for (unsigned i = 0; i < MANY; i++) {
        harness_subscribe(h, &topic);
        contract_number(h, &topic, i, NULL);
        if (!(contract_fixture->caps & WSBUS_CAP_LOG)) continue;
        struct wsbus_locate l = {.topic = topic, .place = WSBUS_LATEST};
        harness_locate(h, &l);
        struct wsbus_read r = contract_read_all(&topic);
        harness_read(h, &r);
    }
    harness_stop(h);
}

static void an_idle_instance_closes(void **state)
{
    (void)state;
    harness_stop(contract_begin());
}

/* ---- running ------------------------------------------------------------------------------ */

static int group_setup(void **state)
{
    (void)state;
    return contract_fixture->start ? contract_fixture->start() : 0;
}

static int group_teardown(void **state)
{
    (void)state;
    if (contract_fixture->stop) contract_fixture->stop();
    return 0;
}

int contract_run(const struct contract_fixture *f)
{
    contract_fixture = f;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_instance_closes),
        cmocka_unit_test(delivers_in_order_after_the_confirmation),
        cmocka_unit_test(nothing_comes_after_unsubscribed),
        cmocka_unit_test(feeds_may_be_ended_before_they_are_confirmed),
        cmocka_unit_test(many_topics_do_not_mix),
        cmocka_unit_test(what_is_followed_again_misses_nothing),
        cmocka_unit_test(payloads_stay_as_they_are),
        cmocka_unit_test(keys_stay_as_they_are),
        cmocka_unit_test(headers_stay_as_they_are),
        cmocka_unit_test(a_tombstone_is_not_an_empty_payload),
        cmocka_unit_test(refuses_a_partition_that_is_not_there),
        cmocka_unit_test(counts_who_receives),
        cmocka_unit_test(instances_hear_each_other),
        cmocka_unit_test(a_cut_is_told_by_a_gap),
        cmocka_unit_test(holes_lie_behind_gaps),
        cmocka_unit_test(a_log_loses_nothing_by_a_cut),
        cmocka_unit_test(locates_the_ends),
        cmocka_unit_test(locates_the_last),
        cmocka_unit_test(locates_by_key),
        cmocka_unit_test(locates_by_time),
        cmocka_unit_test(locates_after_a_cursor),
        cmocka_unit_test(tells_what_has_expired),
        cmocka_unit_test(reads_in_pieces),
        cmocka_unit_test(reads_one_key),
        cmocka_unit_test(past_and_feed_join_exactly),
        cmocka_unit_test(locates_the_last_over_partitions),
        cmocka_unit_test(locates_after_a_cursor_of_partitions),
        cmocka_unit_test(a_partition_that_the_cursor_lacks),
        cmocka_unit_test(limits_over_partitions),
        cmocka_unit_test(reads_partitions_in_pieces),
        cmocka_unit_test(past_and_feed_of_partitions_join_exactly),
        cmocka_unit_test(positions_survive_their_text),
        cmocka_unit_test(broken_positions_are_refused),
        cmocka_unit_test(closing_answers_everything),
    };
    return cmocka_run_group_tests_name(f->name, tests, group_setup, group_teardown);
}
