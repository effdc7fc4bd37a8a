/* The policy `drop`: what goes, what is told of it, and what never goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/ceiling.h"
#include "base/clock.h"
#include "session_rig.h"

static struct rig rig;
static struct wire wire;

static int setup(void **state)
{
    (void)state;
    rig_init(&rig);
    rig.config.limits.queue_bytes = 1024;
    rig_start(&rig);
    wire_open(&rig, &wire);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    wire_gone(&rig, &wire);
    rig_done(&rig);
    return 0;
}

static uint64_t subscribe(const char *channel, const char *more, uint64_t number)
{
    char text[200];
    unsigned bus = strncmp(channel, "plain", 5) == 0;
    uint64_t id;

    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s\"%s}", channel,
             more);
    wire_send(&rig, &wire, text);
    id = rig_number(&rig, bus, MAIL_SUBSCRIBE);
    rig_subscribed(&rig, id, number);
    wire_expect(&wire, "\"type\":\"subscribed\"");
    return id;
}

/* 200 bytes and a little. */
static void post(const char *channel, uint64_t number, const char *pos, int value)
{
    char text[400], place[40] = "";

    if (pos) snprintf(place, sizeof place, ",\"pos\":\"%s\"", pos);
    snprintf(text, sizeof text,
             "{\"type\":\"message\",\"channel\":\"%s\"%s,\"ts\":1,\"data\":[%d,\"%0120d\"]}",
             channel, place, value, 0);
    rig_live(&rig, number, text);
}

static void data(int value)
{
    char part[40];

    snprintf(part, sizeof part, "\"data\":[%d,", value);
    wire_expect(&wire, part);
}

/* With the next message; those after it come when it has been behind for a while. */
static void choke(void)
{
    wire.result = TRANSPORT_CHOKED;
}

static void message(const char *channel, uint64_t number, const char *pos, int value)
{
    post(channel, number, pos, value);
    if (wire.result == TRANSPORT_CHOKED) rig_wait(&rig, 100);
}

static void flow(void)
{
    wire.result = TRANSPORT_OK;
    session_writable(wire.session);
    rig_turn(&rig);
}

/* Of ten messages one is written, four have room behind it. */
static void test_oldest_first(void **state)
{
    (void)state;
    subscribe("plain.a", "", 50);
    choke();
    for (int i = 0; i < 10; i++)
        message("plain.a", 50, NULL, i);
    assert_int_equal(wire.code, 0);
    flow();
    data(0);
    wire_expect(&wire, "{\"type\":\"gap\",\"channel\":\"plain.a\",\"reason\":\"slow\",\"lost\":");
    for (int i = 5; i < 10; i++)
        data(i);
    wire_expect_none(&wire);
    message("plain.a", 50, NULL, 10); /* and it goes on */
    data(10);
    choke();
    for (int i = 0; i < 10; i++)
        message("plain.a", 50, NULL, i);
    flow();
    data(0);
    wire_expect(&wire, "\"lost\":4}");
}

static void test_places(void **state)
{
    (void)state;
    subscribe("log.a", ",\"policy\":\"drop\"", 50);
    choke();
    for (int i = 0; i < 8; i++) {
        char pos[16];
        snprintf(pos, sizeof pos, "0/%d", i + 2);
        message("log.a", 50, pos, i);
    }
    flow();
    data(0);
    wire_expect(&wire, "{\"type\":\"gap\",\"channel\":\"log.a\",\"reason\":\"slow\","
                       "\"after\":[\"0/2\"],\"until\":[\"0/4\"],\"lost\":2}");
    data(3);
}

/* A gap names every partition: those that lost nothing between the same two places. */
static void test_partitions(void **state)
{
    (void)state;
    subscribe("log.a", ",\"policy\":\"drop\"", 50);
    message("log.a", 50, "1/5", 0);
    rig_live(&rig, 50,
             "{\"type\":\"position\",\"channel\":\"log.a\",\"cursor\":[\"0/1\",\"1/5\",\"2/7\"]}");
    data(0);
    wire_expect(&wire, "position");
    choke();
    message("log.a", 50, "0/2", 1);
    message("log.a", 50, "0/3", 2);
    message("log.a", 50, "1/6", 3);
    for (int i = 0; i < 5; i++)
        message("log.a", 50, "0/9", 4 + i);
    flow();
    data(1);
    wire_expect(&wire, "\"after\":[\"0/2\",\"1/5\",\"2/7\"],\"until\":[\"0/3\",\"1/6\",\"2/7\"]");
    data(4);
}

/* Channels that may lose make room for those that may not, and for answers. */
static void test_others_go_first(void **state)
{
    (void)state;
    subscribe("plain.a", "", 50);
    subscribe("log.b", "", 51);
    choke();
    message("plain.a", 50, NULL, 0);
    message("log.b", 51, "0/1", 1);
    for (int i = 2; i < 7; i++)
        message("plain.a", 50, NULL, i);
    message("log.b", 51, "0/2", 7);
    message("log.b", 51, "0/3", 8);
    message("log.b", 51, "0/4", 9);
    message("log.b", 51, "0/5", 10);
    wire_send(&rig, &wire, "{\"type\":\"ping\",\"id\":5}");
    assert_int_equal(wire.code, 0);
    message("plain.a", 50, NULL, 10); /* no room for it any more, nor anything left to drop */
    message("plain.a", 50, NULL, 11);
    assert_int_equal(wire.code, 0);
    flow();
    data(0);
    data(1);
    wire_expect(&wire, "\"channel\":\"plain.a\",\"reason\":\"slow\",\"lost\":");
    data(7);
    data(8);
    data(9);
    data(10);
    wire_expect(&wire, "\"pong\",\"id\":5");
    wire_expect_none(&wire);
    message("plain.a", 50, NULL, 12);
    data(12);
}

/* More at once than fits is no slowness yet, but there is an end to it. */
static void test_a_burst(void **state)
{
    (void)state;
    subscribe("plain.a", ",\"policy\":\"disconnect\"", 50);
    choke();
    for (int i = 0; i < 18; i++)
        post("plain.a", 50, NULL, i);
    flow();
    for (int i = 0; i < 18; i++)
        data(i);
    choke();
    for (int i = 0; i < 30; i++)
        post("plain.a", 50, NULL, i);
    assert_int_equal(wire.code, CLOSE_SLOW);
}

static void test_disconnect_is_told(void **state)
{
    (void)state;
    subscribe("plain.a", ",\"policy\":\"disconnect\"", 50);
    choke();
    for (int i = 0; i < 8; i++)
        message("plain.a", 50, NULL, i);
    assert_int_equal(wire.code, CLOSE_SLOW);
}

static void test_by_age(void **state)
{
    (void)state;
    subscribe("plain.a", "", 50);
    choke();
    message("plain.a", 50, NULL, 0);
    message("plain.a", 50, NULL, 1);
    rig_wait(&rig, 6000);
    message("plain.a", 50, NULL, 2);
    rig_wait(&rig, 6000);
    message("plain.a", 50, NULL, 3);
    flow();
    data(0);
    wire_expect(&wire, "\"lost\":1}");
    data(2);
    data(3);
}

/* What the kernel holds is a part of the queue. */
static void test_what_is_below_counts(void **state)
{
    (void)state;
    subscribe("plain.a", "", 50);
    wire.waiting = 400;
    choke();
    for (int i = 0; i < 8; i++)
        message("plain.a", 50, NULL, i);
    flow();
    data(0);
    wire_expect(&wire, "\"gap\"");
    data(5);
}

static void test_unsubscribe_with_a_gap(void **state)
{
    (void)state;
    subscribe("plain.a", "", 50);
    subscribe("plain.b", "", 51);
    choke();
    for (int i = 0; i < 8; i++)
        message(i % 2 ? "plain.b" : "plain.a", 50 + (uint64_t)i % 2, NULL, i);
    wire_send(&rig, &wire, "{\"type\":\"unsubscribe\",\"id\":2,\"channel\":\"plain.a\"}");
    (void)rig_number(&rig, 1, MAIL_UNSUBSCRIBE);
    for (int i = 10; i < 20; i++)
        message("plain.b", 51, NULL, i);
    flow();
    data(0);
    wire_expect(&wire, "gap\",\"channel\":\"plain.a\",\"reason\":\"slow\",\"lost\":1");
    data(4); /* the channel is gone, what was queued of it is not lost any more */
    data(6);
    wire_expect(&wire, "\"unsubscribed\"");
    wire_expect(&wire, "gap\",\"channel\":\"plain.b");
    data(18);
    data(19);
    wire_expect_none(&wire);
}

/* Sockets that take data are written before those that do not get their share of the queue; for each
 * the order stays, and what ends a subscription comes behind its messages. */
static void test_who_reads_is_served_first(void **state)
{
    struct wire other;
    uint64_t id;
    (void)state;

    wire_open(&rig, &other);
    id = subscribe("log.a", "", 50);
    wire_send(&rig, &other, "{\"type\":\"subscribe\",\"channel\":\"log.a\"}");
    rig_subscribed(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE), 50);
    choke();
    post("log.a", 50, "0/1", 0);
    for (int i = 1; i < 4; i++) {
        char text[40];
        snprintf(text, sizeof text, "late %d", i);
        inbox_force(&rig.inbox,
                    &mail_frame_new(MAIL_LIVE, 50, frame_new(FRAME_TEXT, span_str(text)))->item);
    }
    session_worker_inbox(rig.worker);
    assert_int_equal(other.count, 5); /* in one go with the mail */
    inbox_force(&rig.inbox,
                &mail_frame_new(MAIL_LIVE, 50, frame_new(FRAME_TEXT, SPAN("late 4")))->item);
    inbox_force(&rig.inbox, &mail_left_new(id, false, SPAN("gone"))->item);
    inbox_force(&rig.inbox,
                &mail_frame_new(MAIL_LIVE, 50, frame_new(FRAME_TEXT, SPAN("not for it")))->item);
    rig_turn(&rig);
    flow();
    data(0);
    wire_expect(&wire, "late 1");
    wire_expect(&wire, "late 2");
    wire_expect(&wire, "late 3");
    wire_expect(&wire, "late 4");
    wire_expect(&wire, "\"unsubscribed\"");
    wire_expect_none(&wire);
    assert_int_equal(other.count, 7);
    wire_gone(&rig, &other);
}

/* Closing is not free of cost: many who fail together are closed one after the other. */
static void test_many_at_once(void **state)
{
    enum { MANY = 40 };
    static struct wire wires[MANY];
    int closed = 0;
    (void)state;

    for (int i = 0; i < MANY; i++) {
        wire_open(&rig, &wires[i]);
        wire_send(&rig, &wires[i], "{\"type\":\"subscribe\",\"channel\":\"log.a\"}");
        rig_subscribed(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE), 50);
        wires[i].result = TRANSPORT_CHOKED;
    }
    for (int i = 0; i < 30; i++)
        post("log.a", 50, "0/1", i);
    for (int i = 0; i < MANY; i++)
        closed += wires[i].code == CLOSE_SLOW;
    assert_int_equal(closed, 16);
    wire_gone(&rig, &wires[MANY - 1]); /* one that waits for that */
    rig_wait(&rig, 50);
    rig_wait(&rig, 50);
    for (int i = 0; i < MANY - 1; i++) {
        assert_int_equal(wires[i].code, CLOSE_SLOW);
        wire_gone(&rig, &wires[i]);
    }
}

/* ---- at the memory ceiling --------------------------------------------------------------------- */

static uint64_t resident;

static uint64_t pretend(void)
{
    return resident;
}

/* Who is the most behind goes first: messages where that is enough, else the connection. */
static void test_memory_ceiling(void **state)
{
    struct wire loses, goes, stays;
    (void)state;

    wire_gone(&rig, &wire);
    rig_done(&rig);
    rig_init(&rig);
    rig_start(&rig);
    ceiling_pretend(pretend);
    ceiling_set(100 << 20);
    wire_open(&rig, &loses);
    wire_open(&rig, &goes);
    wire_open(&rig, &stays);
    wire_send(&rig, &loses, "{\"type\":\"subscribe\",\"channel\":\"plain.a\"}");
    rig_subscribed(&rig, rig_number(&rig, 1, MAIL_SUBSCRIBE), 50);
    wire_send(&rig, &goes, "{\"type\":\"subscribe\",\"channel\":\"log.a\"}");
    rig_subscribed(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE), 51);
    wire_send(&rig, &stays, "{\"type\":\"subscribe\",\"channel\":\"log.b\"}");
    rig_subscribed(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE), 52);
    loses.result = goes.result = stays.result = TRANSPORT_CHOKED;
    resident = 50 << 20;
    for (int i = 0; i < 1000; i++) {
        post("plain.a", 50, NULL, i);
        if (i < 500) post("log.a", 51, "0/1", i);
        if (i < 20) post("log.b", 52, "0/1", i);
    }
    assert_int_equal(goes.code, 0);
    clock_advance(1000);
    resident = 200 << 20;
    rig_turn(&rig);
    assert_int_equal(goes.code, CLOSE_SLOW);
    assert_int_equal(loses.code, 0);
    assert_int_equal(stays.code, 0); /* not worth it */
    ceiling_set(0);
    ceiling_pretend(NULL);
    loses.result = TRANSPORT_OK;
    session_writable(loses.session);
    rig_turn(&rig);
    assert_non_null(strstr(loses.frames[2], "\"lost\":999}"));
    wire_gone(&rig, &loses);
    wire_gone(&rig, &goes);
    wire_gone(&rig, &stays);
    wire_open(&rig, &wire);
}

/* Ten members, to whom a row of messages goes as one; `post` posts without a turn. */
#define MEMBERS 10

static void row_post(const char *name, uint64_t channel, int from, int to)
{
    char text[400];

    for (int i = from; i < to; i++) {
        snprintf(text, sizeof text,
                 "{\"type\":\"message\",\"channel\":\"%s\",\"ts\":1,\"data\":[%d,\"0123456789\"]}",
                 name, i);
        inbox_force(
            &rig.inbox,
            &mail_frame_new(MAIL_LIVE, channel, frame_new(FRAME_TEXT, span_str(text)))->item);
    }
}

static void row_open(struct wire *wires, const char *name)
{
    unsigned bus = strncmp(name, "plain", 5) == 0;
    char text[200];

    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s\"}", name);
    for (int i = 0; i < MEMBERS; i++) {
        wire_open(&rig, &wires[i]);
        wire_send(&rig, &wires[i], text);
        rig_subscribed(&rig, rig_number(&rig, bus, MAIL_SUBSCRIBE), 50);
        wire_expect(&wires[i], "\"type\":\"subscribed\"");
    }
}

static void row_expect(struct wire *w, int from, int to)
{
    char part[40];

    for (int i = from; i < to; i++) {
        snprintf(part, sizeof part, "\"data\":[%d,", i);
        wire_expect(w, part);
    }
}

/* Messages in a row are one write; what is between them breaks the row, and nothing is out of order. */
static void test_a_row(void **state)
{
    static struct wire wires[MEMBERS];
    unsigned before;

    (void)state;
    row_open(wires, "log.a");
    before = wires[0].writes;
    row_post("log.a", 50, 0, 3);
    rig_turn(&rig);
    assert_int_equal(wires[0].writes - before, 1);
    row_post("log.a", 50, 3, 5);
    inbox_force(&rig.inbox, &mail_frame_new(MAIL_LIVE, 50,
                                            frame_new(FRAME_TEXT, SPAN("{\"type\":\"position\"}")))
                                 ->item);
    row_post("log.a", 51, 100, 103); /* nobody is there */
    row_post("log.a", 50, 5, 20);    /* more than a quarter of the queue */
    rig_turn(&rig);
    for (int i = 0; i < MEMBERS; i++) {
        row_expect(&wires[i], 0, 5);
        wire_expect(&wires[i], "\"type\":\"position\"");
        row_expect(&wires[i], 5, 20);
        wire_expect_none(&wires[i]);
        wire_gone(&rig, &wires[i]);
    }
}

static int setup_large(void **state)
{
    (void)state;
    rig_init(&rig);
    rig.config.limits.queue_bytes = 100000;
    rig_start(&rig);
    wire_open(&rig, &wire);
    return 0;
}

/* The first write chokes: the rows behind it are dropped as a whole, and every message of them counts. */
static void test_rows_are_dropped(void **state)
{
    static struct wire wires[MEMBERS];
    int from, lost;
    const char *gap;

    (void)state;
    row_open(wires, "plain.a");
    wires[0].result = TRANSPORT_CHOKED;
    row_post("plain.a", 50, 1, 1500);
    rig_turn(&rig);
    assert_int_equal(wires[0].writes, 3); /* welcome, subscribed, rows */
    from = 1 + (int)(wires[0].count - wires[0].read);
    assert_in_range(from, 257, 1499);
    rig_wait(&rig, 100);
    for (int i = 1500; i < 3500; i += 100) {
        row_post("plain.a", 50, i, i + 100);
        rig_turn(&rig);
    }
    for (int i = 1; i < MEMBERS; i++) {
        row_expect(&wires[i], 1, 3500);
        wire_expect_none(&wires[i]);
        wire_gone(&rig, &wires[i]);
    }
    wires[0].result = TRANSPORT_OK;
    session_writable(wires[0].session);
    rig_turn(&rig);
    row_expect(&wires[0], 1, from);
    gap = wires[0].frames[wires[0].read++];
    assert_int_equal(sscanf(gap,
                            "{\"type\":\"gap\",\"channel\":\"plain.a\",\"reason\":\"slow\","
                            "\"lost\":%d}",
                            &lost),
                     1);
    assert_true(lost > 512);
    row_expect(&wires[0], from + lost, 3500);
    wire_expect_none(&wires[0]);
    wire_gone(&rig, &wires[0]);
}

static int setup_interval(void **state)
{
    (void)state;
    rig_init(&rig);
    rig.config.flush_interval = 20;
    rig_start(&rig);
    wire_open(&rig, &wire);
    return 0;
}

/* The first goes at once, what follows gathers; a reply takes along what has. */
static void test_flush_interval(void **state)
{
    unsigned writes;

    (void)state;
    subscribe("plain.a", "", 50);
    writes = wire.writes;
    for (int i = 0; i < 4; i++)
        post("plain.a", 50, NULL, i);
    assert_int_equal(wire.writes - writes, 1);
    data(0);
    wire_expect_none(&wire);
    rig_wait(&rig, 20);
    assert_int_equal(wire.writes - writes, 2);
    for (int i = 1; i < 4; i++)
        data(i);
    post("plain.a", 50, NULL, 4);
    wire_expect_none(&wire);
    wire_send(&rig, &wire, "{\"type\":\"ping\",\"id\":7}");
    rig_turn(&rig);
    data(4);
    wire_expect(&wire, "\"type\":\"pong\"");
    assert_int_equal(wire.writes - writes, 3);
    rig_wait(&rig, 40);
    post("plain.a", 50, NULL, 5);
    data(5);
    rig_wait(&rig, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_flush_interval, setup_interval, teardown),
        cmocka_unit_test_setup_teardown(test_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_are_dropped, setup_large, teardown),
        cmocka_unit_test_setup_teardown(test_oldest_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partitions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_go_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_burst, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disconnect_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_by_age, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_below_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unsubscribe_with_a_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_reads_is_served_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_ceiling, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
