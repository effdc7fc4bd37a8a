/* Streams whose server does what it may do to them: trim, delete, forbid, cut off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "bus/redis_config.h"
#include "bus/redis_id.h"
#include "bus/registry.h"
#include "harness.h"
#include "protocol/cursor.h"
#include "redis_server.h"
#include "redis_values.h"

static struct redis_server *server;
static struct wsbus_value *options, *rule, *other_rule;
static redisContext *redis;

/* One command; the reply's integer, or 0. Fails the case if Redis refuses. */
static long long ask(const char *format, ...) __attribute__((format(printf, 1, 2)));
static long long ask(const char *format, ...)
{
    va_list args;
    redisReply *r;
    long long n;

    va_start(args, format);
    r = redisvCommand(redis, format, args);
    va_end(args);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, r->str);
    n = r->type == REDIS_REPLY_INTEGER ? r->integer : 0;
    freeReplyObject(r);
    return n;
}

static struct wsbus_topic topic(const char *name)
{
    return (struct wsbus_topic){name, strlen(name), rule};
}

static struct wsbus_pos id(const char *text)
{
    struct wsbus_pos pos = {0};
    assert_int_equal(redis_pos_parse(text, strlen(text), &pos), 0);
    return pos;
}

static void is_id(const struct wsbus_cursor *c, const char *text)
{
    char buf[REDIS_ID_MAX];
    assert_int_equal(c->count, 1);
    assert_string_equal(redis_id_text(&c->pos[0], buf), text);
}

static uint64_t follow(struct harness *h, const char *name)
{
    struct wsbus_topic t = topic(name);
    uint64_t feed = harness_subscribe(h, &t);
    assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, feed)->status, WSBUS_OK);
    return feed;
}

static void hears(struct harness *h, uint64_t feed, size_t index, const char *payload)
{
    const struct wsbus_message *m;
    harness_wait_messages(h, feed, index + 1);
    m = harness_message(h, feed, index);
    assert_int_equal(m->payload_len, strlen(payload));
    assert_memory_equal(m->payload, payload, m->payload_len);
}

/* ---- trimming ------------------------------------------------------------------------------------ */

static void a_stream_that_is_not_there_yet(void **state)
{
    struct harness *h = *state;
    struct wsbus_topic t = topic("unborn");
    uint64_t feed = harness_subscribe(h, &t);
    is_id(harness_wait(h, EVENT_SUBSCRIBED, feed)->cursor, "0-0");
    ask("XADD unborn * data first");
    hears(h, feed, 0, "first");
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 0);
}

/* All at once, so that the reader cannot have read between. */
static void what_is_trimmed_before_it_is_read_is_a_gap(void **state)
{
    struct harness *h = *state;
    uint64_t feed;
    ask("XADD trimmed 5-0 data before");
    feed = follow(h, "trimmed");
    ask("MULTI");
    for (int i = 10; i < 20; i++)
        ask("XADD trimmed %d-0 data %d", i, i);
    ask("XTRIM trimmed MAXLEN = 3");
    ask("EXEC");
    hears(h, feed, 0, "17");
    hears(h, feed, 2, "19");
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 1);
    is_id(harness_wait(h, EVENT_GAP, feed)->cursor, "16-18446744073709551615");
    assert_true(harness_place(h, EVENT_GAP, feed, 0) < harness_place(h, EVENT_MESSAGE, feed, 0));
    ask("XADD trimmed MAXLEN = 1 30-0 data next");
    hears(h, feed, 3, "next");
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 1);
}

static void what_is_trimmed_while_cut_off_is_a_gap(void **state)
{
    struct harness *h = *state;
    uint64_t feed;
    ask("XADD away 5-0 data before");
    feed = follow(h, "away");
    ask("MULTI");
    ask("XADD away 10-0 data unread");
    ask("XTRIM away MAXLEN = 0");
    ask("CLIENT KILL TYPE normal SKIPME yes");
    ask("EXEC");
    is_id(harness_wait(h, EVENT_GAP, feed)->cursor, "10-0");
    ask("XADD away 11-0 data next");
    hears(h, feed, 0, "next");
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 1);
}

/* As a queue of work is used: who took an entry deletes it. */
static void what_is_deleted_after_it_was_read_is_none(void **state)
{
    struct harness *h = *state;
    uint64_t feed = follow(h, "work");
    for (int i = 0; i < 50; i++) {
        char payload[8];
        snprintf(payload, sizeof payload, "%d", i);
        ask("XADD work %d-1 data %s", i + 1, payload);
        hears(h, feed, (size_t)i, payload);
        if (i % 3) ask("XDEL work %d-1", i + 1);
        if (i % 10 == 0) ask("XTRIM work MAXLEN = 0");
        if (i == 25) redis_server_cut(server);
        if (i == 25) redisReconnect(redis);
    }
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 0);
}

/* ---- deleted and created anew ---------------------------------------------------------------------- */

static void a_stream_created_anew_with_smaller_ids_ends(void **state)
{
    struct harness *h = *state;
    uint64_t feed, other = follow(h, "stays");
    ask("XADD anew 100-0 data old");
    feed = follow(h, "anew");
    ask("DEL anew");
    ask("XADD anew 1-0 data new");
    assert_int_equal(harness_wait(h, EVENT_ENDED, feed)->status, WSBUS_REFUSED);
    ask("XADD stays * data x");
    hears(h, other, 0, "x");
    feed = follow(h, "anew");
    is_id(harness_wait(h, EVENT_SUBSCRIBED, feed)->cursor, "1-0");
}

static void it_is_seen_at_once_after_a_cut(void **state)
{
    struct harness *h = *state;
    uint64_t feed;
    ask("XADD anew2 100-0 data old");
    feed = follow(h, "anew2");
    ask("MULTI");
    ask("DEL anew2");
    ask("XADD anew2 1-0 data new");
    ask("CLIENT KILL TYPE normal SKIPME yes");
    ask("EXEC");
    assert_int_equal(harness_wait(h, EVENT_ENDED, feed)->status, WSBUS_REFUSED);
}

static void a_stream_created_anew_with_greater_ids_goes_on_behind_a_gap(void **state)
{
    struct harness *h = *state;
    uint64_t feed = follow(h, "flushed");
    ask("XADD flushed 5-0 data a");
    ask("XADD flushed 6-0 data b");
    hears(h, feed, 1, "b");
    ask("FLUSHALL");
    ask("XADD flushed 8-0 data c");
    ask("XADD flushed 9-0 data d");
    hears(h, feed, 2, "c");
    hears(h, feed, 3, "d");
    assert_int_equal(harness_count(h, EVENT_GAP, feed), 1);
}

/* ---- refused ---------------------------------------------------------------------------------------- */

static void a_key_of_another_type_is_refused(void **state)
{
    struct harness *h = *state;
    struct wsbus_topic t = topic("text");
    uint64_t feed;
    ask("SET text hello");
    feed = harness_subscribe(h, &t);
    assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, feed)->status, WSBUS_REFUSED);
    struct wsbus_locate l = {.topic = t, .place = WSBUS_EARLIEST};
    assert_int_equal(harness_wait(h, EVENT_LOCATED, harness_locate(h, &l))->status, WSBUS_REFUSED);
    struct wsbus_read r = {.topic = t, .max_messages = 1, .max_bytes = 1, .max_scan = 1};
    assert_int_equal(harness_wait(h, EVENT_CHUNK, harness_read(h, &r))->status, WSBUS_REFUSED);
}

static void only_the_one_that_became_another_type_ends(void **state)
{
    struct harness *h = *state;
    uint64_t good = follow(h, "good"), bad = follow(h, "bad");
    ask("DEL bad");
    ask("SET bad text");
    ask("XADD good * data a");
    assert_int_equal(harness_wait(h, EVENT_ENDED, bad)->status, WSBUS_REFUSED);
    hears(h, good, 0, "a");
    ask("XADD good * data b");
    hears(h, good, 1, "b");
}

static void only_the_one_that_is_forbidden_ends(void **state)
{
    struct harness *h = *state;
    uint64_t good = follow(h, "good2"), bad = follow(h, "secret");
    ask("ACL SETUSER default resetkeys ~good*");
    ask("XADD good2 * data a");
    assert_int_equal(harness_wait(h, EVENT_ENDED, bad)->status, WSBUS_REFUSED);
    hears(h, good, 0, "a");
    struct wsbus_topic t = topic("secret");
    uint64_t again = harness_subscribe(h, &t);
    assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, again)->status, WSBUS_REFUSED);
    ask("ACL SETUSER default allkeys");
}

static void without_the_right_to_wake_it_takes_a_little_longer(void **state)
{
    struct harness *h = *state;
    uint64_t first, second;
    ask("ACL SETUSER default -client|unblock");
    first = follow(h, "first");
    ask("XADD first * data a");
    hears(h, first, 0, "a");
    second = follow(h, "second");
    ask("XADD second * data b");
    hears(h, second, 0, "b");
    ask("ACL SETUSER default +client|unblock");
}

static void too_many_streams_are_refused(void **state)
{
    struct wsbus_value *limit = redis_value(redis_options, options, "stream_connections");
    uint64_t feeds[257];
    char name[16];
    (void)state;
    limit->number = 1;
    struct harness *h = harness_start(&backend_redis, options);
    for (int i = 0; i < 257; i++) {
        snprintf(name, sizeof name, "many%d", i);
        struct wsbus_topic t = topic(name);
        feeds[i] = harness_subscribe(h, &t);
    }
    for (int i = 0; i < 256; i++)
        assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, feeds[i])->status, WSBUS_OK);
    assert_int_equal(harness_wait(h, EVENT_SUBSCRIBED, feeds[256])->status, WSBUS_BUSY);
    harness_unsubscribe(h, feeds[0]);
    harness_wait(h, EVENT_UNSUBSCRIBED, feeds[0]);
    uint64_t feed = follow(h, "many256");
    ask("XADD many256 * data x");
    hears(h, feed, 0, "x");
    harness_stop(h);
    limit->number = 64;
}

/* Questions about streams that nobody waits for any more do not fill the queue. */
static void who_gives_up_during_an_outage_leaves_nothing_behind(void **state)
{
    struct wsbus_value *url = redis_value(redis_options, options, "url");
    struct wsbus_value *queue = redis_value(redis_options, options, "queue_bytes");
    const char *there = url->string;
    int64_t size = queue->number;
    uint64_t feed;
    (void)state;
    url->string = "redis+unix:///nowhere/at/all";
    queue->number = 65536;
    struct harness *h = harness_start(&backend_redis, options);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "gone%d", i);
        struct wsbus_topic t = topic(name);
        feed = harness_subscribe(h, &t);
        harness_unsubscribe(h, feed);
    }
    harness_wait(h, EVENT_UNSUBSCRIBED, feed);
    harness_close(h);
    for (; feed > 0; feed--)
        assert_int_equal(harness_count(h, EVENT_SUBSCRIBED, feed), 0);
    harness_stop(h);
    url->string = there;
    queue->number = size;
}

/* ---- several feeds, large entries -------------------------------------------------------------------- */

static void feeds_of_one_stream_read_it_by_their_own_rules(void **state)
{
    struct harness *h = *state;
    struct wsbus_topic other = {"shared", 6, other_rule};
    uint64_t a = follow(h, "shared"), b;
    ask("XADD shared 5-0 data one other two");
    hears(h, a, 0, "one");
    b = harness_subscribe(h, &other);
    is_id(harness_wait(h, EVENT_SUBSCRIBED, b)->cursor, "5-0");
    ask("XADD shared 6-0 data three other four");
    hears(h, a, 1, "three");
    hears(h, b, 0, "four");
    ask("XADD shared 7-0 x y");
    hears(h, a, 2, "{\"x\":\"y\"}");
    hears(h, b, 1, "{\"x\":\"y\"}");
}

static void large_entries_come_in_small_pieces(void **state)
{
    struct harness *h = *state;
    size_t n = 1 << 20, seen = 0;
    char *large = calloc(1, n + 1);
    uint64_t feed = follow(h, "large");
    memset(large, 'x', n);
    for (int i = 0; i < 40; i++)
        ask("XADD large %d-0 data %s", i + 1, large);
    harness_wait_messages(h, feed, 40);
    struct wsbus_cursor *from = cursor_new(1);
    struct wsbus_read r = {.topic = topic("large"), .from = from, .max_messages = 1000};
    r.max_bytes = 1 << 16;
    r.max_scan = 1000;
    for (bool end = false; !end;) {
        const struct event *e = harness_wait(h, EVENT_CHUNK, harness_read(h, &r));
        assert_int_equal(e->status, WSBUS_OK);
        assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
        assert_true(e->count <= 1);
        seen += e->count;
        end = e->end;
        from->pos[0] = e->cursor->pos[0];
    }
    assert_int_equal(seen, 40);
    cursor_free(from);
    free(large);
}

/* ---- the past ------------------------------------------------------------------------------------------ */

static const struct event *locate_after(struct harness *h, const char *name, const char *after)
{
    struct wsbus_cursor *c = cursor_new(1);
    struct wsbus_locate l = {.topic = topic(name), .place = WSBUS_AFTER, .cursor = c};
    const struct event *e;
    c->pos[0] = id(after);
    e = harness_wait(h, EVENT_LOCATED, harness_locate(h, &l));
    assert_int_equal(e->status, WSBUS_OK);
    cursor_free(c);
    return e;
}

static void a_cursor_knows_what_was_removed(void **state)
{
    struct harness *h = *state;
    for (int i = 1; i <= 10; i++)
        ask("XADD past %d-0 data %d", i, i);
    assert_int_equal(locate_after(h, "past", "0-0")->lost, WSBUS_NOTHING_LOST);
    assert_int_equal(locate_after(h, "past", "11-0")->lost, WSBUS_LOST_EPOCH);
    ask("XDEL past 5-0");
    assert_int_equal(locate_after(h, "past", "4-0")->lost, WSBUS_LOST_UNKNOWN);
    is_id(locate_after(h, "past", "4-0")->cursor, "4-0");
    assert_int_equal(locate_after(h, "past", "5-0")->lost, WSBUS_NOTHING_LOST);
    ask("XTRIM past MAXLEN = 3");
    assert_int_equal(locate_after(h, "past", "8-0")->lost, WSBUS_NOTHING_LOST);
    assert_int_equal(locate_after(h, "past", "6-0")->lost, WSBUS_LOST_EXPIRED);
    is_id(locate_after(h, "past", "6-0")->cursor, "7-18446744073709551615");
    assert_int_equal(locate_after(h, "past", "0-0")->lost, WSBUS_LOST_EXPIRED);
    ask("DEL past");
    assert_int_equal(locate_after(h, "past", "6-0")->lost, WSBUS_LOST_EPOCH);
    ask("XADD past 20-0 data x");
    assert_int_equal(locate_after(h, "past", "6-0")->lost, WSBUS_LOST_EPOCH);
    assert_int_equal(locate_after(h, "past", "0-0")->lost, WSBUS_NOTHING_LOST);
}

static void times_are_those_of_ids(void **state)
{
    struct harness *h = *state;
    static const struct {
        int64_t time;
        const char *place;
    } rows[] = {
        {-1, "99-18446744073709551615"},
        {0, "99-18446744073709551615"},
        {100, "99-18446744073709551615"},
        {101, "100-18446744073709551615"},
        {200, "199-18446744073709551615"},
        {201, "200-5"},
        {INT64_MAX, "200-5"},
    };
    ask("XADD times 100-0 data a");
    ask("XADD times 200-0 data b");
    ask("XADD times 200-5 data c");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wsbus_locate l = {
            .topic = topic("times"), .place = WSBUS_AT_TIME, .time = rows[i].time};
        is_id(harness_wait(h, EVENT_LOCATED, harness_locate(h, &l))->cursor, rows[i].place);
    }
}

static void counting_a_key_looks_at_so_many_at_most(void **state)
{
    struct harness *h = *state;
    struct wsbus_locate l = {.topic = topic("keys"), .place = WSBUS_LAST, .key = "rare"};
    const struct event *e;
    ask("XADD keys 1-0 data first key rare");
    for (int i = 2; i <= 3000; i++)
        ask("XADD keys %d-0 data x key often", i);
    l.key_len = 4;
    l.count = 1;
    l.max_messages = 100;
    e = harness_wait(h, EVENT_LOCATED, harness_locate(h, &l));
    assert_true(e->limited);
    is_id(e->cursor, "2900-18446744073709551615");
    l.max_messages = 10000;
    e = harness_wait(h, EVENT_LOCATED, harness_locate(h, &l));
    assert_false(e->limited);
    is_id(e->cursor, "0-18446744073709551615");
    l.place = WSBUS_EARLIEST;
    l.max_messages = 100;
    e = harness_wait(h, EVENT_LOCATED, harness_locate(h, &l));
    assert_false(e->limited);
    is_id(e->cursor, "0-18446744073709551615");
}

/* ---- running -------------------------------------------------------------------------------------------- */

static int group_setup(void **state)
{
    (void)state;
    server = redis_server_start(false);
    if (!server) return -1;
    redis = redisConnectUnix(redis_server_url(server) + strlen("redis+unix://"));
    options = redis_values(redis_options);
    redis_value(redis_options, options, "url")->string = redis_server_url(server);
    rule = redis_values(redis_rule_options);
    redis_value(redis_rule_options, rule, "kind")->string = "stream";
    other_rule = redis_values(redis_rule_options);
    redis_value(redis_rule_options, other_rule, "kind")->string = "stream";
    redis_value(redis_rule_options, other_rule, "payload_field")->string = "other";
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    redisFree(redis);
    redis_server_stop(server);
    free(options);
    free(rule);
    free(other_rule);
    return 0;
}

static int setup(void **state)
{
    *state = harness_start(&backend_redis, options);
    return 0;
}

static int teardown(void **state)
{
    harness_stop(*state);
    return 0;
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_stream_that_is_not_there_yet),
        CASE(what_is_trimmed_before_it_is_read_is_a_gap),
        CASE(what_is_trimmed_while_cut_off_is_a_gap),
        CASE(what_is_deleted_after_it_was_read_is_none),
        CASE(a_stream_created_anew_with_smaller_ids_ends),
        CASE(it_is_seen_at_once_after_a_cut),
        CASE(a_stream_created_anew_with_greater_ids_goes_on_behind_a_gap),
        CASE(a_key_of_another_type_is_refused),
        CASE(only_the_one_that_became_another_type_ends),
        CASE(only_the_one_that_is_forbidden_ends),
        CASE(without_the_right_to_wake_it_takes_a_little_longer),
        cmocka_unit_test(too_many_streams_are_refused),
        cmocka_unit_test(who_gives_up_during_an_outage_leaves_nothing_behind),
        CASE(feeds_of_one_stream_read_it_by_their_own_rules),
        CASE(large_entries_come_in_small_pieces),
        CASE(a_cursor_knows_what_was_removed),
        CASE(times_are_those_of_ids),
        CASE(counting_a_key_looks_at_so_many_at_most),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("redis stream life", tests, group_setup, group_teardown);
}
