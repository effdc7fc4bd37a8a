/* How sessions end: slow, silent, too many errors, drain, stop, a connection that is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "session_rig.h"

static struct rig rig;
static struct wire wire;

static int setup(void **state)
{
    (void)state;
    rig_init(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    wire_gone(&rig, &wire);
    rig_done(&rig);
    return 0;
}

static void begin(void)
{
    rig_start(&rig);
    wire_open(&rig, &wire);
}

static void client(const char *text)
{
    wire_send(&rig, &wire, text);
}

static uint64_t subscribed(const char *channel, uint64_t number)
{
    char text[200];
    uint64_t id;

    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s\"}", channel);
    client(text);
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    rig_subscribed(&rig, id, number);
    wire_expect(&wire, "\"type\":\"subscribed\"");
    return id;
}

/* ---- slow ------------------------------------------------------------------------------------ */

static void test_slow_in_bytes(void **state)
{
    static char text[1000];
    struct wire other;
    uint64_t id;
    (void)state;

    rig.config.limits.queue_bytes = 10000;
    begin();
    wire_open(&rig, &other);
    id = subscribed("log.a", 50);
    wire_send(&rig, &other, "{\"type\":\"subscribe\",\"channel\":\"log.a\"}");
    rig_subscribed(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE), 50);
    memset(text, 'x', sizeof text - 1);
    wire.result = TRANSPORT_CHOKED;
    for (int i = 0; i < 10; i++)
        rig_live(&rig, 50, text);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 100); /* a burst it is no longer */
    rig_live(&rig, 50, text);
    assert_int_equal(wire.code, CLOSE_SLOW);
    assert_int_equal(wire.count, 3); /* welcome, subscribed, the first message */
    assert_int_equal(rig_number(&rig, 0, MAIL_UNSUBSCRIBE), id);
    rig_live(&rig, 50, text);
    assert_int_equal(other.count, 13);
    wire_gone(&rig, &other);
}

/* More in one turn than a queue holds: not the client is slow, and the worker holds the rest back
 * until it has written. */
static void test_a_burst_is_not_slow(void **state)
{
    static char text[1000];
    (void)state;

    rig.config.limits.queue_bytes = 10000;
    begin();
    (void)subscribed("log.a", 50);
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 35; i++) {
        struct frame *f;
        snprintf(text + 980, 20, "-%d", i);
        f = frame_new(FRAME_TEXT, span_str(text));
        inbox_force(&rig.inbox, &mail_frame_new(MAIL_LIVE, 50, f)->item);
    }
    session_worker_inbox(rig.worker);
    assert_true(atomic_load(&rig.inbox.bytes) > 20000); /* not dealt with before a turn */
    rig_turn(&rig);
    assert_int_equal(wire.code, 0);
    assert_int_equal(atomic_load(&rig.inbox.bytes), 0);
    for (int i = 0; i < 35; i++) {
        snprintf(text, sizeof text, "-%d", i);
        wire_expect(&wire, text);
    }
    wire_expect_none(&wire);
}

/* An answer that waits for the end of the turn is no reason to refuse a large message behind it. */
static void test_a_large_message_behind_an_answer(void **state)
{
    static char text[60000];
    (void)state;

    rig.config.limits.queue_bytes = 4096;
    begin();
    (void)subscribed("log.a", 50);
    memset(text, 'x', sizeof text - 1);
    inbox_force(&rig.inbox,
                &mail_frame_new(MAIL_LIVE, 50, frame_new(FRAME_TEXT, SPAN("small")))->item);
    rig_live(&rig, 50, text);
    wire_expect(&wire, "small");
    wire_expect(&wire, "xxx");
    assert_int_equal(wire.code, 0);
}

static void test_slow_in_time(void **state)
{
    (void)state;
    begin();
    (void)subscribed("log.a", 50);
    wire.result = TRANSPORT_CHOKED;
    rig_live(&rig, 50, "1");
    rig_live(&rig, 50, "2");
    rig_wait(&rig, 10000);
    rig_live(&rig, 50, "3");
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 100);
    rig_live(&rig, 50, "4");
    assert_int_equal(wire.code, CLOSE_SLOW);
}

static void test_choked_goes_on(void **state)
{
    (void)state;
    begin();
    (void)subscribed("log.a", 50);
    wire.result = TRANSPORT_CHOKED;
    rig_live(&rig, 50, "1");
    rig_live(&rig, 50, "2");
    rig_live(&rig, 50, "3");
    wire_expect(&wire, "1");
    wire_expect_none(&wire);
    wire.result = TRANSPORT_OK;
    session_writable(wire.session);
    rig_turn(&rig);
    wire_expect(&wire, "2");
    wire_expect(&wire, "3");
}

static void test_dead_transport(void **state)
{
    (void)state;
    begin();
    (void)subscribed("log.a", 50);
    wire.result = TRANSPORT_DEAD;
    rig_live(&rig, 50, "1");
    rig_live(&rig, 50, "2");
    (void)rig_number(&rig, 0, MAIL_UNSUBSCRIBE);
    assert_int_equal(wire.code, 0);
}

/* ---- pings ----------------------------------------------------------------------------------- */

static void test_pings(void **state)
{
    (void)state;
    rig.config.limits.ping_ms = 1000;
    rig.config.limits.pong_ms = 500;
    begin();
    for (int i = 0; i < 50; i++) {
        rig_wait(&rig, 200);
        session_alive(wire.session);
    }
    assert_in_range(wire.pings, 9, 10);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 1400);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 200);
    assert_int_equal(wire.code, CLOSE_NO_PONG);
}

/* The process stood still: the peer has been asked nothing that it could have answered. */
static void test_late_pings(void **state)
{
    (void)state;
    rig.config.limits.ping_ms = 1000;
    rig.config.limits.pong_ms = 500;
    begin();
    rig_wait(&rig, 1000); /* the first comes sooner */
    session_alive(wire.session);
    for (int i = 0; i < 3; i++) {
        unsigned before = wire.pings;
        clock_advance(5000);
        rig_wait(&rig, 1);
        assert_int_equal(wire.pings, before + 1);
        rig_wait(&rig, 400);
        assert_int_equal(wire.code, 0);
        session_alive(wire.session);
    }
    clock_advance(5000);
    rig_wait(&rig, 1);
    session_alive(wire.session);
    clock_advance(5000);
    rig_wait(&rig, 1);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 1500); /* asked, and silent */
    assert_int_equal(wire.code, CLOSE_NO_PONG);
}

/* A ping goes along with a message, a little early: it is no write of its own. */
static void test_pings_ride(void **state)
{
    unsigned writes, before;
    (void)state;
    rig.config.limits.ping_ms = 16000;
    rig.config.limits.pong_ms = 500;
    begin();
    (void)subscribed("log.a", 50);
    before = wire.pings;
    writes = wire.writes;
    for (int i = 0; i < 800; i++) {
        rig_wait(&rig, 200);
        rig_live(&rig, 50, "1");
        session_alive(wire.session);
    }
    assert_in_range(wire.pings, before + 9, before + 12);
    assert_int_equal(wire.writes, writes + 800);
    assert_int_equal(wire.code, 0);
    /* Without messages they come by themselves, and who does not answer is closed. */
    before = wire.pings;
    for (int i = 0; i < 200; i++) {
        rig_wait(&rig, 200);
        session_alive(wire.session);
    }
    assert_in_range(wire.pings, before + 2, before + 3);
    rig_wait(&rig, 16400);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 400); /* a ping that was late by a step has given it as much */
    assert_int_equal(wire.code, CLOSE_NO_PONG);
}

/* The process stood still, and what comes first is a message. */
static void test_a_late_ping_does_not_ride(void **state)
{
    (void)state;
    rig.config.limits.ping_ms = 16000;
    rig.config.limits.pong_ms = 500;
    begin();
    (void)subscribed("log.a", 50);
    rig_wait(&rig, 16000);
    session_alive(wire.session);
    for (int i = 0; i < 3; i++) {
        clock_advance(50000);
        rig_live(&rig, 50, "1");
        rig_wait(&rig, 1);
        assert_int_equal(wire.code, 0);
        rig_wait(&rig, 400);
        assert_int_equal(wire.code, 0);
        session_alive(wire.session);
    }
}

static void test_no_pings(void **state)
{
    (void)state;
    begin();
    assert_int_equal(rig.timers.count, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_too_many_errors(void **state)
{
    (void)state;
    rig.config.limits.errors = 5;
    begin();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            client("{\"type\":\"dance\",\"id\":1}");
            wire_expect(&wire, "\"id\":1");
        }
        assert_int_equal(wire.code, 0);
        rig_wait(&rig, 10000);
    }
    for (int i = 0; i < 7; i++)
        session_text(wire.session, SPAN("{\"type\":\"dance\",\"id\":2}"));
    rig_turn(&rig);
    for (int i = 0; i < 5; i++)
        wire_expect(&wire, "\"id\":2");
    wire_expect_none(&wire);
    assert_int_equal(wire.code, CLOSE_ERRORS);
}

/* ---- closing: one reply for every id --------------------------------------------------------- */

static void open_requests(uint64_t id[4])
{
    client("{\"type\":\"publish\",\"id\":\"p\",\"channel\":\"log.a\",\"data\":1}");
    client("{\"type\":\"history\",\"id\":\"h1\",\"channel\":\"log.a\"}");
    client("{\"type\":\"history\",\"id\":\"h2\",\"channel\":\"log.a\"}");
    client("{\"type\":\"subscribe\",\"id\":\"s\",\"channel\":\"log.b\"}");
    client("{\"type\":\"subscribe\",\"id\":\"t\",\"channel\":\"log.c\"}");
    client("{\"type\":\"unsubscribe\",\"id\":\"u\",\"channel\":\"log.c\"}");
    id[0] = rig_number(&rig, 0, MAIL_PUBLISH);
    id[1] = rig_number(&rig, 0, MAIL_HISTORY);
    id[2] = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    id[3] = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    (void)rig_number(&rig, 0, MAIL_UNSUBSCRIBE);
}

static void test_fail_waits_for_answers(void **state)
{
    uint64_t id[4], live, replay;
    (void)state;

    begin();
    live = subscribed("log.l", 50);
    replay = subscribed("log.r", 0);
    (void)rig_number(&rig, 0, MAIL_PULL);
    open_requests(id);
    session_fail(wire.session, CLOSE_UNSUPPORTED_DATA);
    client("{\"type\":\"ping\",\"id\":9}");
    assert_int_equal(rig_number(&rig, 0, MAIL_UNSUBSCRIBE), live);
    assert_int_equal(rig_number(&rig, 0, MAIL_UNSUBSCRIBE), replay);
    rig_done_mail(&rig, MAIL_PUBLISHED, id[0], "\"0/1\"");
    wire_expect(&wire, "\"type\":\"published\",\"id\":\"p\"");
    rig_done_mail(&rig, MAIL_HISTORY_DONE, id[1], "\"messages\":[]");
    wire_expect(&wire, "\"id\":\"h1\"");
    rig_done_mail(&rig, MAIL_HISTORY_DONE, rig_number(&rig, 0, MAIL_HISTORY), "\"messages\":[]");
    wire_expect(&wire, "\"id\":\"h2\"");
    rig_subscribed(&rig, id[2], 60);
    wire_expect(&wire, "\"type\":\"subscribed\",\"id\":\"s\"");
    assert_int_equal(rig_number(&rig, 0, MAIL_UNSUBSCRIBE), id[2]);
    rig_refused(&rig, id[3]);
    wire_expect(&wire, "\"id\":\"t\"");
    assert_int_equal(wire.code, 0);
    rig_left(&rig, id[3], NULL);
    wire_expect(&wire, "\"type\":\"unsubscribed\",\"id\":\"u\"");
    wire_expect_none(&wire);
    assert_int_equal(wire.code, CLOSE_UNSUPPORTED_DATA);
}

static void expect_made_up(void)
{
    static const char *const parts[] = {
        "\"id\":\"s\",\"channel\":\"log.b\",\"code\":\"bus_unavailable\"",
        "\"id\":\"t\",\"channel\":\"log.c\",\"code\":\"bus_unavailable\"",
        "\"type\":\"unsubscribed\",\"id\":\"u\"",
        "\"id\":\"p\",\"channel\":\"log.a\",\"code\":\"outcome_unknown\"",
        "\"id\":\"h1\",\"channel\":\"log.a\",\"code\":\"bus_unavailable\"",
        "\"id\":\"h2\",\"channel\":\"log.a\",\"code\":\"bus_unavailable\"",
    };

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        wire_expect(&wire, parts[i]);
    wire_expect_none(&wire);
}

static void test_fail_has_a_deadline(void **state)
{
    uint64_t id[4];
    (void)state;

    begin();
    open_requests(id);
    session_fail(wire.session, CLOSE_TOO_BIG);
    rig_wait(&rig, 4900);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 300);
    expect_made_up();
    assert_int_equal(wire.code, CLOSE_TOO_BIG);
    rig_done_mail(&rig, MAIL_PUBLISHED, id[0], "\"0/1\"");
}

static void test_fail_while_choked(void **state)
{
    (void)state;
    begin();
    wire.result = TRANSPORT_CHOKED;
    client("{\"type\":\"ping\",\"id\":1}");
    client("{\"type\":\"ping\",\"id\":2}");
    session_fail(wire.session, CLOSE_TOO_BIG);
    rig_turn(&rig);
    assert_int_equal(wire.code, 0);
    rig_wait(&rig, 5200);
    assert_int_equal(wire.code, CLOSE_TOO_BIG);
}

/* ---- drain, stop ----------------------------------------------------------------------------- */

static void test_drain(void **state)
{
    struct wire late;
    uint64_t id;
    (void)state;

    begin();
    session_worker_drain(rig.worker, 3000);
    rig_turn(&rig);
    wire_expect(&wire, "{\"type\":\"goaway\",\"reason\":");
    client("{\"type\":\"publish\",\"id\":1,\"channel\":\"log.a\",\"data\":1}");
    id = rig_number(&rig, 0, MAIL_PUBLISH);
    wire_open(&rig, &late);
    wire_expect(&late, "goaway");
    rig_wait(&rig, 100);
    assert_int_equal(late.code, CLOSE_RESTART);
    wire_gone(&rig, &late);
    rig_wait(&rig, 2800);
    assert_int_equal(wire.code, 0); /* its publish is open */
    rig_done_mail(&rig, MAIL_PUBLISHED, id, "\"0/1\"");
    wire_expect(&wire, "published");
    rig_wait(&rig, 200);
    assert_int_equal(wire.code, CLOSE_RESTART);
}

static void test_drain_ends(void **state)
{
    uint64_t id[4];
    (void)state;

    begin();
    open_requests(id);
    session_worker_drain(rig.worker, 3000);
    rig_wait(&rig, 3100);
    wire_expect(&wire, "goaway");
    expect_made_up();
    assert_int_equal(wire.code, CLOSE_RESTART);
}

static void test_finish(void **state)
{
    uint64_t id[4];
    (void)state;

    begin();
    open_requests(id);
    inbox_force(&rig.inbox, &mail_done_new(MAIL_PUBLISHED, id[0], ERR_NONE, SPAN("\"0/1\""))->item);
    session_worker_finish(rig.worker);
    wire_expect(&wire, "\"type\":\"published\",\"id\":\"p\"");
    wire_expect(&wire, "\"id\":\"s\"");
    assert_int_equal(wire.count, 7);
    assert_int_equal(wire.code, CLOSE_RESTART);
}

/* ---- gone ------------------------------------------------------------------------------------ */

enum before { AT_WORK, FAILING, FAILED_LONG_AGO, DRAINING, FINISHED };

static void forget_mail(void)
{
    struct inbox_item *item = inbox_take(&rig.bus[0]), *next;

    for (; item; item = next) {
        next = item->next;
        (void)inbox_settle(&rig.bus[0], item->bytes);
        mail_free(item);
    }
}

static void gone_after(enum before before)
{
    uint64_t id[4], live, replay;

    wire_open(&rig, &wire);
    live = subscribed("log.l", 50);
    replay = subscribed("log.r", 0);
    (void)rig_number(&rig, 0, MAIL_PULL);
    open_requests(id);
    if (before == FAILING || before == FAILED_LONG_AGO) session_fail(wire.session, CLOSE_TOO_BIG);
    if (before == FAILED_LONG_AGO) rig_wait(&rig, 6000);
    if (before == DRAINING) session_worker_drain(rig.worker, 1000);
    if (before == FINISHED) session_worker_finish(rig.worker);
    if (before == AT_WORK) /* and with something to write */
        inbox_force(&rig.inbox,
                    &mail_frame_new(MAIL_FRAME, live, frame_new(FRAME_TEXT, SPAN("x")))->item);
    session_worker_inbox(rig.worker);
    wire_gone(&rig, &wire);
    assert_int_equal(session_worker_count(rig.worker), 0);
    rig_live(&rig, 50, "late");
    rig_frame(&rig, replay, SPAN("late"));
    rig_chunk(&rig, replay, 50);
    rig_done_mail(&rig, MAIL_PUBLISHED, id[0], "\"0/1\"");
    rig_done_mail(&rig, MAIL_HISTORY_DONE, id[1], "");
    rig_subscribed(&rig, id[2], 60);
    rig_refused(&rig, id[3]);
    rig_left(&rig, id[3], NULL);
    forget_mail();
}

static void test_gone_in_any_state(void **state)
{
    (void)state;
    rig_start(&rig);
    gone_after(AT_WORK);
    gone_after(FAILING);
    gone_after(FAILED_LONG_AGO);
    gone_after(FINISHED);
    gone_after(DRAINING);
    wire_open(&rig, &wire); /* for the teardown */
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_slow_in_bytes),
        ROW(test_a_burst_is_not_slow),
        ROW(test_a_large_message_behind_an_answer),
        ROW(test_slow_in_time),
        ROW(test_choked_goes_on),
        ROW(test_dead_transport),
        ROW(test_pings),
        ROW(test_late_pings),
        ROW(test_pings_ride),
        ROW(test_a_late_ping_does_not_ride),
        ROW(test_no_pings),
        ROW(test_too_many_errors),
        ROW(test_fail_waits_for_answers),
        ROW(test_fail_has_a_deadline),
        ROW(test_fail_while_choked),
        ROW(test_drain),
        ROW(test_drain_ends),
        ROW(test_finish),
        ROW(test_gone_in_any_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
