/* What the contract says about a bus that others use too, and about connections that are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aid.h"
#include "cases.h"

#define CUTS 5
#define TOPICS 4
#define ROUNDS 40 /* of which every eighth ends with a cut */
#define ROUND 25  /* publishes of a round */

/* On a bus without positions an acknowledgement says how many the message reached. */
void counts_who_receives(void **state)
{
    (void)state;
    if (contract_fixture->caps & WSBUS_CAP_ACK) skip();
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    const struct event *e = harness_wait(h, EVENT_PUBLISHED, contract_number(h, &topic, 0, NULL));
    assert_int_equal(e->status, WSBUS_OK);
    assert_int_equal(e->receivers, 0);
    uint64_t feed = harness_subscribe(h, &topic);
    harness_wait(h, EVENT_SUBSCRIBED, feed);
    e = harness_wait(h, EVENT_PUBLISHED, contract_number(h, &topic, 1, NULL));
    assert_int_equal(e->receivers, 1);
    harness_wait_messages(h, feed, 1);
    harness_stop(h);
}

void instances_hear_each_other(void **state)
{
    (void)state;
    if (!contract_fixture->shared) skip();
    struct harness *a = contract_begin(), *b = contract_begin();
    struct wsbus_topic topic = contract_topic();
    uint64_t feed_a = harness_subscribe(a, &topic), feed_b = harness_subscribe(b, &topic);
    harness_wait(a, EVENT_SUBSCRIBED, feed_a);
    harness_wait(b, EVENT_SUBSCRIBED, feed_b);
    for (unsigned i = 0; i < MANY; i++)
        contract_published(i % 2 ? a : b, contract_number(i % 2 ? a : b, &topic, i, NULL));
    harness_wait_messages(a, feed_a, MANY);
    harness_wait_messages(b, feed_b, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(contract_number_of(harness_message(a, feed_a, i)), i);
        assert_int_equal(contract_number_of(harness_message(b, feed_b, i)), i);
    }
    harness_stop(a);
    harness_stop(b);
}

/* One for each feed and each cut, before the next message; none for a feed that is new. */
void a_cut_is_told_by_a_gap(void **state)
{
    (void)state;
    if (!contract_fixture->cut || contract_fixture->caps & WSBUS_CAP_LOG) skip();
    struct harness *h = contract_begin();
    struct wsbus_topic topics[MANY];
    uint64_t feeds[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        topics[i] = contract_topic();
        feeds[i] = harness_subscribe(h, &topics[i]);
    }
    for (unsigned i = 0; i < MANY; i++) {
        harness_wait(h, EVENT_SUBSCRIBED, feeds[i]);
        contract_published(h, contract_number(h, &topics[i], i, NULL));
        harness_wait_messages(h, feeds[i], 1);
    }
    contract_fixture->cut();
    struct wsbus_topic late_topic = contract_topic();
    uint64_t late = harness_subscribe(h, &late_topic);
    harness_wait(h, EVENT_SUBSCRIBED, late);
    for (unsigned i = 0; i < MANY; i++) {
        harness_wait(h, EVENT_GAP, feeds[i]);
        contract_published(h, contract_number(h, &topics[i], 1000 + i, NULL));
        harness_wait_messages(h, feeds[i], 2);
        assert_int_equal(contract_number_of(harness_message(h, feeds[i], 1)), 1000 + i);
    }
    harness_close(h);
    assert_int_equal(harness_count(h, EVENT_GAP, late), 0);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(harness_count(h, EVENT_GAP, feeds[i]), 1);
        size_t gap = harness_place(h, EVENT_GAP, feeds[i], 0);
        assert_true(harness_place(h, EVENT_MESSAGE, feeds[i], 0) < gap);
        assert_true(gap < harness_place(h, EVENT_MESSAGE, feeds[i], 1));
    }
    harness_stop(h);
}

struct churn {
    struct harness *h, *other;
    struct wsbus_topic topics[TOPICS];
    uint64_t stays[TOPICS]; /* a feed of each topic from the first message to the last */
    uint64_t feeds[TOPICS]; /* one that comes and goes; 0: gone */
    uint64_t published[ROUNDS * ROUND];
    unsigned count;
};

/* Number n goes to topic n % TOPICS. */
static void churn_round(struct churn *c, unsigned round)
{
    for (unsigned i = 0; i < ROUND; i++, c->count++) {
        unsigned t = c->count % TOPICS;
        c->published[c->count] = contract_number(c->other, &c->topics[t], c->count, NULL);
        if (i % 5 != round % 5) continue;
        if (c->feeds[t]) harness_unsubscribe(c->h, c->feeds[t]);
        c->feeds[t] = c->feeds[t] ? 0 : harness_subscribe(c->h, &c->topics[t]);
    }
    if (round % 8 == 7) contract_fixture->cut();
    if (round % 4 == 3) harness_wait(c->other, EVENT_PUBLISHED, c->published[c->count - 1]);
}

/* Was there a gap between two places among the events? */
static bool has_gap(struct harness *h, uint64_t feed, size_t from, size_t to)
{
    for (size_t i = 0; i < harness_count(h, EVENT_GAP, feed); i++) {
        size_t place = harness_place(h, EVENT_GAP, feed, i);
        if (place > from && place < to) return true;
    }
    return false;
}

static void check_holes(struct churn *c, unsigned t)
{
    size_t from = harness_place(c->h, EVENT_SUBSCRIBED, c->stays[t], 0);
    unsigned expected = t;
    for (size_t i = 0; i < harness_count(c->h, EVENT_MESSAGE, c->stays[t]); i++) {
        unsigned n = contract_number_of(harness_message(c->h, c->stays[t], i));
        size_t to = harness_place(c->h, EVENT_MESSAGE, c->stays[t], i);
        assert_true(n >= expected && n % TOPICS == t);
        for (; expected < n && expected < c->count; expected += TOPICS) {
            uint64_t token = c->published[expected];
            /* What was not acknowledged has perhaps never been. */
            if (harness_wait(c->other, EVENT_PUBLISHED, token)->status == WSBUS_OK)
                assert_true(has_gap(c->h, c->stays[t], from, to));
        }
        expected = n + TOPICS;
        from = to;
    }
}

/* A message that is acknowledged and never comes is missing behind a gap, whatever else goes on. */
void holes_lie_behind_gaps(void **state)
{
    (void)state;
    if (!contract_fixture->cut || contract_fixture->caps & WSBUS_CAP_LOG) skip();
    struct churn c = {.h = contract_begin(), .other = contract_begin()};
    for (unsigned t = 0; t < TOPICS; t++) {
        c.topics[t] = contract_topic();
        c.stays[t] = harness_subscribe(c.h, &c.topics[t]);
        harness_wait(c.h, EVENT_SUBSCRIBED, c.stays[t]);
    }
    for (unsigned round = 0; round < ROUNDS; round++)
        churn_round(&c, round);
    for (unsigned t = 0; t < TOPICS; t++) {
        /* Until the topic is followed again there is nobody to receive. */
        const struct event *e;
        do
            e = harness_wait(c.other, EVENT_PUBLISHED,
                             contract_number(c.other, &c.topics[t], ROUNDS * ROUND + t, NULL));
        while (e->receivers == 0);
        size_t last = harness_count(c.h, EVENT_MESSAGE, c.stays[t]);
        while (last == 0 ||
               contract_number_of(harness_message(c.h, c.stays[t], last - 1)) != ROUNDS * ROUND + t)
            harness_wait_messages(c.h, c.stays[t], ++last);
    }
    harness_close(c.h);
    for (unsigned t = 0; t < TOPICS; t++)
        check_holes(&c, t);
    harness_stop(c.other);
    harness_stop(c.h);
}

/* Whatever was acknowledged arrives, once and in order; what nobody knows may. */
void a_log_loses_nothing_by_a_cut(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    if (!contract_fixture->cut) skip();
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    uint64_t feed = harness_subscribe(h, &topic), tokens[MANY * CUTS];
    harness_wait(h, EVENT_SUBSCRIBED, feed);
    for (unsigned i = 0; i < MANY * CUTS; i++) {
        tokens[i] = contract_number(h, &topic, i, NULL);
        if (i % MANY == MANY / 2) contract_fixture->cut();
    }
    size_t next = 0;
    for (unsigned i = 0; i < MANY * CUTS; i++) {
        if (harness_wait(h, EVENT_PUBLISHED, tokens[i])->status != WSBUS_OK) continue;
        unsigned n;
        do { /* unknown ones may stand before it */
            harness_wait_messages(h, feed, next + 1);
            n = contract_number_of(harness_message(h, feed, next++));
            assert_true(n <= i);
        } while (n != i);
    }
    harness_close(h);
    for (size_t i = 1; i < harness_count(h, EVENT_MESSAGE, feed); i++)
        assert_true(contract_number_of(harness_message(h, feed, i - 1)) <
                    contract_number_of(harness_message(h, feed, i)));
    harness_stop(h);
}
