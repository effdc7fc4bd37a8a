/* The memory bus: what it forgets and when. What every backend does is in tests/contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus/registry.h"
#include "protocol/cursor.h"

enum { HISTORY, HISTORY_BYTES, TOPICS, MEMORY_BYTES, QUOTES, OPTIONS };

/* The answers of the last call: everything is answered from inside. */
static struct {
    enum wsbus_status status;
    struct wsbus_pos pos; /* of the cursor, or of the publish */
    enum wsbus_lost lost;
    struct wsbus_pos lost_until;
    bool limited, end;
    size_t count;
    struct wsbus_pos first;
    char payload[256]; /* of the first message of a chunk */
    char key[32];
    uint64_t delivered[16]; /* ids, in order */
    size_t delivered_count;
    bool closed;
} got;

static struct wsbus_value values[OPTIONS];
static void *bus;
static int64_t wall;
static uint64_t ticks;
static uint64_t timer_due;
static void (*timer_fn)(void *arg);
static void *timer_arg;
static bool publish_again; /* from inside the delivery of the first message */

static void publish(const char *topic, const char *payload);

static void on_subscribed(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a,
                          const struct wsbus_cursor *cursor)
{
    (void)h;
    (void)feed;
    got.status = a->status;
    if (cursor) got.pos = cursor->pos[0];
}

static void on_message(const struct wsbus_host *h, uint64_t feed, struct wsbus_message *m)
{
    (void)h;
    if (got.delivered_count < 16) got.delivered[got.delivered_count++] = feed * 1000 + m->pos.lo;
    wsbus_message_unref(m);
    if (!publish_again) return;
    publish_again = false;
    publish("t", "again");
}

static void on_unsubscribed(const struct wsbus_host *h, uint64_t feed)
{
    (void)h;
    (void)feed;
}

static void on_published(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                         const struct wsbus_pos *pos, int64_t receivers)
{
    (void)h;
    (void)token;
    (void)receivers;
    got.status = a->status;
    if (pos) got.pos = *pos;
}

static void on_located(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                       const struct wsbus_located *l)
{
    (void)h;
    (void)token;
    got.status = a->status;
    if (!l) return;
    got.pos = l->cursor->pos[0];
    got.lost = l->lost;
    got.limited = l->limited;
}

static void on_chunk(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                     const struct wsbus_chunk *c)
{
    (void)h;
    (void)token;
    got.status = a->status;
    if (!c) return;
    got.pos = c->cursor->pos[0];
    got.lost = c->lost;
    if (c->lost_until) got.lost_until = c->lost_until->pos[0];
    got.end = c->end;
    got.count = c->count;
    if (c->count == 0) return;
    const struct wsbus_message *m = c->messages[0];
    got.first = m->pos;
    snprintf(got.payload, sizeof(got.payload), "%.*s", (int)m->payload_len, m->payload);
    snprintf(got.key, sizeof(got.key), "%.*s", (int)m->key_len, m->key ? m->key : "");
}

static void on_state(const struct wsbus_host *h, bool up, const char *words)
{
    (void)h;
    (void)words;
    assert_true(up);
}

static void on_closed(const struct wsbus_host *h)
{
    (void)h;
    got.closed = true;
}

static int64_t host_now(const struct wsbus_host *h)
{
    (void)h;
    return wall;
}

static uint64_t host_ticks(const struct wsbus_host *h)
{
    (void)h;
    return ticks;
}

static struct wsbus_timer *host_timer(const struct wsbus_host *h, void (*fn)(void *arg), void *arg)
{
    (void)h;
    timer_fn = fn;
    timer_arg = arg;
    return (struct wsbus_timer *)&timer_due;
}

static void host_timer_set(struct wsbus_timer *t, uint64_t after_ms)
{
    (void)t;
    timer_due = ticks + after_ms;
}

static void host_timer_free(struct wsbus_timer *t)
{
    (void)t;
    timer_fn = NULL;
}

static const struct wsbus_host host = {
    .bus = "test",
    .subscribed = on_subscribed,
    .message = on_message,
    .unsubscribed = on_unsubscribed,
    .published = on_published,
    .located = on_located,
    .chunk = on_chunk,
    .state = on_state,
    .closed = on_closed,
    .now = host_now,
    .ticks = host_ticks,
    .timer = host_timer,
    .timer_set = host_timer_set,
    .timer_free = host_timer_free,
};

/* ---- asking ------------------------------------------------------------------------------- */

static struct wsbus_topic topic_of(const char *name)
{
    return (struct wsbus_topic){.name = name, .name_len = strlen(name)};
}

static void publish_key(const char *topic, const char *key, const char *payload)
{
    struct wsbus_publish p = {
        .topic = topic_of(topic),
        .key = key,
        .key_len = key ? (uint32_t)strlen(key) : 0,
        .payload = payload,
        .payload_len = (uint32_t)strlen(payload),
        .partition = -1,
    };
    backend_memory.publish(bus, 1, &p);
}

static void publish(const char *topic, const char *payload)
{
    publish_key(topic, NULL, payload);
}

static void subscribe(uint64_t feed, const char *topic)
{
    struct wsbus_topic t = topic_of(topic);
    backend_memory.subscribe(bus, feed, &t);
}

static void locate(const char *topic, enum wsbus_place place)
{
    struct wsbus_locate l = {.topic = topic_of(topic), .place = place};
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.status, WSBUS_OK);
}

/* Everything after `from` (NULL: the beginning) up to `until` (NULL: the end). */
static void read_between(const char *topic, const struct wsbus_pos *from,
                         const struct wsbus_pos *until)
{
    const struct wsbus_pos *pos[] = {from, until};
    struct wsbus_cursor *cursor[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        if (!pos[i]) continue;
        cursor[i] = cursor_new(1);
        cursor[i]->pos[0] = *pos[i];
    }
    struct wsbus_read r = {
        .topic = topic_of(topic),
        .from = cursor[0],
        .until = cursor[1],
        .max_messages = 1 << 20,
        .max_bytes = 1 << 30,
        .max_scan = 1 << 20,
    };
    backend_memory.read(bus, 3, &r);
    assert_int_equal(got.status, WSBUS_OK);
    cursor_free(cursor[0]);
    cursor_free(cursor[1]);
}

static uint64_t oldest(const char *topic)
{
    locate(topic, WSBUS_EARLIEST);
    return got.pos.lo + 1;
}

static uint64_t newest(const char *topic)
{
    locate(topic, WSBUS_LATEST);
    return got.pos.lo;
}

static int64_t found;

static void on_figure(void *arg, const char *name, int64_t value)
{
    if (strcmp(name, arg) == 0) found = value;
}

static int64_t figure(char *name)
{
    found = -1;
    backend_memory.stats(bus, on_figure, name);
    return found;
}

static int setup(void **state)
{
    (void)state;
    memset(&got, 0, sizeof(got));
    memset(values, 0, sizeof(values));
    values[HISTORY].number = 10;
    values[HISTORY_BYTES].number = 1 << 20;
    values[TOPICS].number = 3;
    values[MEMORY_BYTES].number = 1 << 20;
    wall = 1000000;
    ticks = 5000;
    publish_again = false;
    return 0;
}

static void open_bus(void)
{
    char err[100] = "";
    bus = backend_memory.open(&host, values, err, sizeof(err));
    assert_non_null(bus);
}

static int teardown(void **state)
{
    (void)state;
    backend_memory.close(bus, 0);
    return got.closed && !timer_fn ? 0 : -1;
}

/* ---- cases -------------------------------------------------------------------------------- */

static void keeps_only_the_newest_messages(void **state)
{
    (void)state;
    open_bus();
    for (int i = 0; i < 25; i++)
        publish_key("t", i % 2 ? "odd" : "even", "x");
    assert_int_equal(oldest("t"), 16);
    assert_int_equal(newest("t"), 25);
    assert_int_equal(figure("messages"), 10);
    publish_key("t", "once", "x");
    for (int i = 0; i < 10; i++)
        publish("t", "x");
    struct wsbus_locate l = {.topic = topic_of("t"), .place = WSBUS_LAST, .count = 5};
    l.key = "once";
    l.key_len = 4;
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.pos.lo, oldest("t") - 1);
}

static void without_history_there_are_still_positions(void **state)
{
    (void)state;
    values[HISTORY].number = 0;
    open_bus();
    subscribe(1, "t");
    publish_key("t", "k", "x");
    publish("t", "x");
    assert_int_equal(got.delivered_count, 2);
    assert_int_equal(newest("t"), 2);
    assert_int_equal(oldest("t"), 3);
    assert_int_equal(figure("messages"), 0);
    assert_int_equal(figure("bytes"), 0);
}

static void bytes_of_a_topic_are_bounded(void **state)
{
    (void)state;
    values[HISTORY_BYTES].number = 3000;
    open_bus();
    static char text[1001];
    memset(text, 'x', 1000);
    for (int i = 0; i < 10; i++)
        publish("t", text);
    assert_int_equal(oldest("t"), 9);
    assert_true(figure("bytes") <= 3000);
    static char large[5001];
    memset(large, 'x', 5000);
    publish("t", large); /* it is delivered, but does not stay */
    assert_int_equal(got.status, WSBUS_OK);
    assert_int_equal(oldest("t"), 12);
    assert_int_equal(figure("bytes"), 0);
}

static void bytes_of_all_topics_are_bounded_and_the_fullest_pays(void **state)
{
    (void)state;
    values[HISTORY].number = 1000;
    values[MEMORY_BYTES].number = 20000;
    open_bus();
    static char text[501];
    memset(text, 'x', 500);
    publish("small", "x");
    for (int i = 0; i < 200; i++)
        publish("large", text);
    assert_true(figure("bytes") <= 20000);
    assert_true(figure("bytes") > 18000);
    assert_int_equal(oldest("small"), 1);
    assert_int_equal(newest("small"), 1);
    assert_true(oldest("large") > 150);
    publish("small", "x");
    assert_true(figure("bytes") <= 20000);
    assert_int_equal(oldest("small"), 1);
}

static void the_topic_idle_for_longest_goes_first(void **state)
{
    (void)state;
    open_bus();
    publish("a", "x");
    publish("b", "x");
    publish("c", "x");
    publish("a", "x"); /* now b is the one idle for longest */
    publish("d", "x");
    assert_int_equal(figure("topics"), 3);
    assert_int_equal(newest("a"), 2);
    assert_int_equal(newest("c"), 1);
    assert_int_equal(newest("d"), 1);
    assert_int_equal(newest("b"), 0); /* made anew, instead of a */
    assert_int_equal(figure("topics"), 3);
}

static void a_topic_with_a_feed_stays(void **state)
{
    (void)state;
    open_bus();
    subscribe(1, "a");
    subscribe(2, "b");
    subscribe(3, "c");
    publish("d", "x");
    assert_int_equal(got.status, WSBUS_BUSY);
    subscribe(4, "d");
    assert_int_equal(got.status, WSBUS_BUSY);
    publish("a", "x");
    assert_int_equal(got.status, WSBUS_OK);
    backend_memory.unsubscribe(bus, 2);
    publish("d", "x");
    assert_int_equal(got.status, WSBUS_OK);
    assert_int_equal(newest("a"), 1);
    assert_int_equal(figure("feeds"), 2);
}

static void a_partition_that_is_not_there_is_of_another_log(void **state)
{
    (void)state;
    open_bus();
    publish("t", "x");
    publish("t", "x");
    struct wsbus_cursor *cursor = cursor_new(2);
    cursor->pos[0] = cursor->pos[1] = got.pos;
    cursor->pos[0].lo = 1;
    cursor->pos[1].partition = 1;
    struct wsbus_locate l = {.topic = topic_of("t"), .place = WSBUS_AFTER, .cursor = cursor};
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.lost, WSBUS_LOST_EPOCH);
    assert_int_equal(got.pos.lo, 1); /* what is there goes on from its own place */
    cursor->count = 1;
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.lost, WSBUS_NOTHING_LOST);
    cursor_free(cursor);
}

static void a_new_log_has_another_epoch(void **state)
{
    (void)state;
    values[TOPICS].number = 1;
    open_bus();
    publish("a", "x");
    struct wsbus_pos old = got.pos;
    publish("b", "x");
    publish("a", "1");
    assert_int_not_equal(got.pos.epoch, old.epoch);
    read_between("a", &old, NULL);
    assert_int_equal(got.lost, WSBUS_LOST_EPOCH);
    assert_int_equal(got.count, 1);
    read_between("a", NULL, &old);
    assert_int_equal(got.count, 0);
    assert_true(got.end);
}

static void a_read_loses_no_more_than_it_asked_for(void **state)
{
    (void)state;
    open_bus();
    for (int i = 0; i < 30; i++)
        publish("t", "x");
    struct wsbus_pos from = got.pos, until = got.pos;
    from.lo = 5;
    until.lo = 10;
    read_between("t", &from, &until);
    assert_int_equal(got.lost, WSBUS_LOST_EXPIRED);
    assert_int_equal(got.lost_until.lo, 10);
    assert_int_equal(got.pos.lo, 10);
    assert_true(got.end);
    until.lo = 25;
    read_between("t", &from, &until);
    assert_int_equal(got.lost_until.lo, 20);
    assert_int_equal(got.count, 5);
    assert_int_equal(got.first.lo, 21);
    from.lo = 20;
    read_between("t", &from, &until);
    assert_int_equal(got.lost, WSBUS_NOTHING_LOST);
    from.lo = until.lo = 7;
    read_between("t", &from, &until);
    assert_int_equal(got.lost, WSBUS_NOTHING_LOST);
    assert_true(got.end);
}

static void time_never_goes_back_within_a_topic(void **state)
{
    (void)state;
    open_bus();
    publish("t", "x");
    wall -= 500;
    publish("t", "x");
    wall += 1000;
    publish("t", "x");
    struct wsbus_locate l = {.topic = topic_of("t"), .place = WSBUS_AT_TIME, .time = 1000000};
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.pos.lo, 0);
    l.time = 1000001;
    backend_memory.locate(bus, 2, &l);
    assert_int_equal(got.pos.lo, 2);
}

/* Both feeds see the message that was published from inside the first delivery after it. */
static void every_feed_sees_one_order(void **state)
{
    (void)state;
    open_bus();
    subscribe(1, "t");
    subscribe(2, "t");
    publish_again = true;
    publish("t", "x");
    const uint64_t expected[] = {1001, 2001, 1002, 2002};
    assert_int_equal(got.delivered_count, 4);
    assert_memory_equal(got.delivered, expected, sizeof(expected));
}

static void positions_are_parsed_strictly(void **state)
{
    (void)state;
    open_bus();
    struct wsbus_pos pos = {0};
    assert_int_equal(backend_memory.pos_parse("3w5e11264sgsf-18446744073709551615", 34, &pos), 0);
    assert_true(pos.epoch == UINT64_MAX && pos.lo == UINT64_MAX);
    char buf[WSBUS_POS_TEXT_MAX];
    assert_int_equal(backend_memory.pos_format(&pos, buf), 34);
    assert_memory_equal(buf, "3w5e11264sgsf-18446744073709551615", 34);
    static const char *const broken[] = {
        "3w5e11264sgsg-1", "a-18446744073709551616", "0-1", "0a-1", "A-1", "a-00", "a-1x", "a"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        assert_int_equal(backend_memory.pos_parse(broken[i], strlen(broken[i]), &pos), -1);
    pos.epoch = 36;
    pos.lo = UINT64_MAX;
    publish("t", "x");
    read_between("t", &pos, &pos);
    assert_int_equal(got.lost, WSBUS_LOST_EPOCH);
}

static void quotes_come_evenly(void **state)
{
    (void)state;
    values[HISTORY].number = 100000;
    values[QUOTES].number = 40;
    open_bus();
    uint64_t initial = newest("quotes");
    assert_true(initial >= 20);
    struct wsbus_locate l = {.topic = topic_of("quotes"), .place = WSBUS_LAST, .count = 1};
    l.key = "EURUSD";
    l.key_len = 6;
    backend_memory.locate(bus, 2, &l);
    struct wsbus_pos place = got.pos;
    read_between("quotes", &place, NULL);
    assert_string_equal(got.key, "EURUSD");
    assert_string_equal(got.payload, "{\"symbol\":\"EURUSD\",\"bid\":1.08431,\"ask\":1.08445,"
                                     "\"last\":1.08438,\"time\":1000000}");
    for (int i = 0; i < 400; i++) {
        assert_int_equal(timer_due - ticks, 25);
        ticks = timer_due;
        timer_fn(timer_arg);
    }
    assert_int_equal(newest("quotes"), initial + 400);
    ticks += 3600 * 1000; /* a pause is not made up for */
    timer_fn(timer_arg);
    assert_int_equal(newest("quotes"), initial + 400);
}

static void many_quotes_come_in_batches(void **state)
{
    (void)state;
    values[HISTORY].number = 1000;
    values[QUOTES].number = 100000;
    open_bus();
    uint64_t initial = newest("quotes");
    for (int i = 0; i < 100; i++) {
        ticks++;
        if (ticks >= timer_due) timer_fn(timer_arg);
    }
    assert_in_range(newest("quotes") - initial, 9900, 10100);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keeps_only_the_newest_messages),
        CASE(without_history_there_are_still_positions),
        CASE(bytes_of_a_topic_are_bounded),
        CASE(bytes_of_all_topics_are_bounded_and_the_fullest_pays),
        CASE(the_topic_idle_for_longest_goes_first),
        CASE(a_topic_with_a_feed_stays),
        CASE(a_new_log_has_another_epoch),
        CASE(a_partition_that_is_not_there_is_of_another_log),
        CASE(a_read_loses_no_more_than_it_asked_for),
        CASE(time_never_goes_back_within_a_topic),
        CASE(every_feed_sees_one_order),
        CASE(positions_are_parsed_strictly),
        CASE(quotes_come_evenly),
        CASE(many_quotes_come_in_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
