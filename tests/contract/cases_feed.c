/* What the contract says about feeds and publishing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "aid.h"
#include "cases.h"
#include "protocol/cursor.h"

/* ---- feeds -------------------------------------------------------------------------------- */

void delivers_in_order_after_the_confirmation(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_pos pos[MANY];
    contract_publish_many(h, &topic, 3, pos);
    uint64_t feed = harness_subscribe(h, &topic);
    const struct event *e = harness_wait(h, EVENT_SUBSCRIBED, feed);
    assert_int_equal(e->status, WSBUS_OK);
    bool log = contract_fixture->caps & WSBUS_CAP_LOG;
    assert_true((e->cursor != NULL) == log);
    if (log) assert_int_equal(pos_compare(&e->cursor->pos[0], &pos[2]), 0);
    contract_publish_many(h, &topic, MANY, pos);
    harness_wait_messages(h, feed, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        const struct wsbus_message *m = harness_message(h, feed, i);
        assert_int_equal(contract_number_of(m), i);
        if (log) assert_int_equal(pos_compare(&m->pos, &pos[i]), 0);
        assert_true(m->ts > 0);
    }
    harness_stop(h);
}

void nothing_comes_after_unsubscribed(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    uint64_t gone = harness_subscribe(h, &topic);
    uint64_t stays = harness_subscribe(h, &topic);
    harness_wait(h, EVENT_SUBSCRIBED, gone);
    harness_wait(h, EVENT_SUBSCRIBED, stays);
    contract_number(h, &topic, 0, NULL);
    harness_wait_messages(h, gone, 1);
    harness_unsubscribe(h, gone);
    harness_wait(h, EVENT_UNSUBSCRIBED, gone);
    contract_number(h, &topic, 1, NULL);
    harness_wait_messages(h, stays, 2);
    harness_close(h);
    assert_int_equal(harness_count(h, EVENT_MESSAGE, gone), 1);
    harness_stop(h);
}

void feeds_may_be_ended_before_they_are_confirmed(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    uint64_t feeds[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        feeds[i] = harness_subscribe(h, &topic);
        harness_unsubscribe(h, feeds[i]);
    }
    uint64_t last = harness_subscribe(h, &topic);
    harness_wait(h, EVENT_SUBSCRIBED, last);
    for (unsigned i = 0; i < MANY; i++)
        harness_wait(h, EVENT_UNSUBSCRIBED, feeds[i]);
    contract_number(h, &topic, 7, NULL);
    harness_wait_messages(h, last, 1);
    harness_stop(h);
}

void many_topics_do_not_mix(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topics[MANY];
    uint64_t feeds[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        topics[i] = contract_topic();
        feeds[i] = harness_subscribe(h, &topics[i]);
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, feeds[i])->status, WSBUS_OK);
    for (unsigned n = 0; n < 10; n++)
        for (unsigned i = 0; i < MANY; i++)
            contract_number(h, &topics[i], i * 10 + n, NULL);
    for (unsigned i = 0; i < MANY; i++) {
        harness_wait_messages(h, feeds[i], 10);
        for (unsigned n = 0; n < 10; n++)
            assert_int_equal(contract_number_of(harness_message(h, feeds[i], n)), i * 10 + n);
    }
    harness_stop(h);
}

/* ---- again -------------------------------------------------------------------------------- */

#define AGAIN 20 /* times that it is let go of and followed anew */
#define EACH 10  /* messages at a time meanwhile */

/* From its cursor on, as far as it came: `pos` of message 0, 1, … Returns the first one. */
static unsigned assert_unbroken(struct harness *h, uint64_t feed, const struct wsbus_pos *pos,
                                unsigned count)
{
    const struct event *e = harness_wait(h, EVENT_SUBSCRIBED, feed);
    unsigned first = 0;
    while (first < count && pos_compare(&pos[first], &e->cursor->pos[0]) <= 0)
        first++;
    for (size_t i = 0; i < harness_count(h, EVENT_MESSAGE, feed); i++)
        assert_int_equal(contract_number_of(harness_message(h, feed, i)), first + i);
    return first;
}

/* Publishes without waiting for anything, as long as nothing has become of the feed, and some more. */
static unsigned publish_until_confirmed(struct harness *h, const struct wsbus_topic *topic,
                                        uint64_t feed, uint64_t *ret_tokens, unsigned first)
{
    unsigned n = first, more = EACH;
    while (more > 0 && n < first + EACH * 100) {
        if (harness_count(h, EVENT_SUBSCRIBED, feed) > 0) more--;
        ret_tokens[n] = contract_number(h, topic, n, NULL);
        if (++n % EACH == 0) contract_published(h, ret_tokens[n - 1]);
    }
    return n;
}

/* What is followed anew at once is the same topic of the bus: nothing that was fetched for the feed
 * before may be taken for the new one's. */
void what_is_followed_again_misses_nothing(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_LOG);
    static uint64_t feeds[AGAIN + 1], tokens[(AGAIN + 1) * EACH * 100];
    static struct wsbus_pos pos[(AGAIN + 1) * EACH * 100];
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    unsigned count = 0, first;
    for (unsigned i = 0; i <= AGAIN; i++) {
        if (i > 0) harness_unsubscribe(h, feeds[i - 1]);
        feeds[i] = harness_subscribe(h, &topic);
        count = publish_until_confirmed(h, &topic, feeds[i], tokens, count);
        harness_wait(h, EVENT_SUBSCRIBED, feeds[i]);
    }
    for (unsigned i = 0; i < count; i++)
        pos[i] = contract_published(h, tokens[i]);
    if (getenv("DBG")) print_message("%u messages\n", count);
    first = assert_unbroken(h, feeds[AGAIN], pos, count);
    harness_wait_messages(h, feeds[AGAIN], count - first);
    for (unsigned i = 0; i <= AGAIN; i++)
        assert_unbroken(h, feeds[i], pos, count);
    harness_stop(h);
}

/* ---- payloads ----------------------------------------------------------------------------- */

static void assert_part(const char *got, uint32_t got_len, const char *sent, uint32_t sent_len)
{
    assert_true((got == NULL) == (sent == NULL));
    if (!sent) return;
    assert_int_equal(got_len, sent_len);
    assert_memory_equal(got, sent, sent_len);
}

static void assert_same(const struct wsbus_message *m, const struct wsbus_publish *p)
{
    assert_part(m->key, m->key_len, p->key, p->key_len);
    assert_part(m->payload, m->payload_len, p->payload, p->payload_len);
    assert_int_equal(m->header_count, p->header_count);
    for (uint32_t i = 0; i < p->header_count; i++) {
        const struct wsbus_header *a = &m->headers[i], *b = &p->headers[i];
        assert_part(a->name, a->name_len, b->name, b->name_len);
        assert_part(a->value, a->value_len, b->value, b->value_len);
    }
}

/* Through a feed, and through a read where there is a log. */
static void round_trip(const struct wsbus_publish *parts)
{
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_publish p = *parts;
    p.topic = topic;
    p.partition = -1;
    uint64_t feed = harness_subscribe(h, &topic);
    harness_wait(h, EVENT_SUBSCRIBED, feed);
    contract_published(h, harness_publish(h, &p));
    harness_wait_messages(h, feed, 1);
    assert_same(harness_message(h, feed, 0), &p);
    if (contract_fixture->caps & WSBUS_CAP_LOG) {
        struct wsbus_read r = contract_read_all(&topic);
        const struct event *e = contract_read(h, &r);
        assert_int_equal(e->count, 1);
        assert_same(e->messages[0], &p);
    }
    harness_stop(h);
}

void payloads_stay_as_they_are(void **state)
{
    (void)state;
    round_trip(&(struct wsbus_publish){.payload = "{\"n\":9007199254740993}", .payload_len = 22});
    round_trip(&(struct wsbus_publish){.payload = "", .payload_len = 0});
    round_trip(&(struct wsbus_publish){.payload = "\0\xff\xfe\r\n\0", .payload_len = 6});
    uint32_t size = 1 << 20;
    char *big = malloc(size);
    assert_non_null(big);
    for (uint32_t i = 0; i < size; i++)
        big[i] = (char)(i * 31 + (i >> 8));
    round_trip(&(struct wsbus_publish){.payload = big, .payload_len = size});
    free(big);
}

void keys_stay_as_they_are(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_KEY);
    round_trip(&(struct wsbus_publish){.payload = "1", .payload_len = 1, .key = "k", .key_len = 1});
    round_trip(&(struct wsbus_publish){.payload = "1", .payload_len = 1, .key = "", .key_len = 0});
    round_trip(
        &(struct wsbus_publish){.payload = "1", .payload_len = 1, .key = "\0\xff", .key_len = 2});
}

void headers_stay_as_they_are(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_HEADERS);
    const struct wsbus_header headers[] = {
        {"trace", "abc", 5, 3},
        {"empty", "", 5, 0},
        {"trace", "\xff\0", 5, 2},
    };
    round_trip(&(struct wsbus_publish){
        .payload = "1", .payload_len = 1, .headers = headers, .header_count = 3});
}

void a_tombstone_is_not_an_empty_payload(void **state)
{
    (void)state;
    contract_need(WSBUS_CAP_TOMBSTONE | WSBUS_CAP_KEY);
    round_trip(&(struct wsbus_publish){.key = "k", .key_len = 1});
}

void refuses_a_partition_that_is_not_there(void **state)
{
    (void)state;
    struct harness *h = contract_begin();
    struct wsbus_topic topic = contract_topic();
    struct wsbus_publish p = contract_text(&topic, "1");
    p.partition = 0;
    contract_published(h, harness_publish(h, &p));
    p.partition = 1000;
    uint64_t token = harness_publish(h, &p);
    assert_int_equal(harness_wait(h, EVENT_PUBLISHED, token)->status, WSBUS_BAD_REQUEST);
    harness_stop(h);
}
