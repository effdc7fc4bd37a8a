/* Sessions at work: requests, subscriptions, replay, messages. Their end: test_session_close.c. */
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

static void client(const char *text)
{
    wire_send(&rig, &wire, text);
}

static void expect(const char *part)
{
    wire_expect(&wire, part);
}

static void refused(const char *frame, const char *part)
{
    client(frame);
    expect(part);
    wire_expect_none(&wire);
    rig_no_mail(&rig, 0);
    rig_no_mail(&rig, 1);
}

static uint64_t subscribe_live(const char *channel, uint64_t number)
{
    char text[200];
    uint64_t id;

    snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s\"}", channel);
    client(text);
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    rig_subscribed(&rig, id, number);
    expect("\"type\":\"subscribed\",\"id\":1");
    return id;
}

/* ---- small frames ---------------------------------------------------------------------------- */

static void test_ping_and_errors(void **state)
{
    (void)state;
    client("{\"type\":\"ping\",\"id\":\"x\"}");
    expect("{\"type\":\"pong\",\"id\":\"x\"}");
    client("{\"type\":\"ping\"}");
    wire_expect_none(&wire);
    refused("{\"type\":\"auth\",\"id\":2,\"token\":\"t\"}", "\"code\":\"unsupported\"");
    refused("nonsense", "\"code\":\"bad_request\"");
    refused("{\"type\":\"dance\",\"id\":3}", "\"id\":3,\"code\":\"unknown_type\"");
}

static void test_subscribe_checks(void **state)
{
    static const char *const rows[][2] = {
        {"\"no.rule\"", "unknown_channel"},
        {"\"secret.x\"", "forbidden"},
        {"\"mute.x\",\"from\":\"earliest\"", "forbidden"},
        {"\"plain.x\",\"from\":{\"last\":1}", "unsupported"},
        {"\"log.x\",\"from\":\"snapshot\"", "unsupported"},
        {"\"log.x\",\"filter\":{\"key\":\"a\"}", "unsupported"},
        {"\"log.x\",\"policy\":\"conflate\"", "unsupported"},
        {"\"log.x\",\"policy\":\"drop\",\"interval\":5", "unsupported"},
        {"\"log.x\",\"from\":{\"after\":[\"0/broken\"]}", "bad_request"},
    };
    char frame[200], part[60];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(frame, sizeof frame, "{\"type\":\"subscribe\",\"id\":9,\"channel\":%s}",
                 rows[i][0]);
        snprintf(part, sizeof part, "\"code\":\"%s\"", rows[i][1]);
        refused(frame, part);
    }
    refused("{\"type\":\"unsubscribe\",\"id\":9,\"channel\":\"log.x\"}", "not_subscribed");
    refused("{\"type\":\"history\",\"id\":9,\"channel\":\"mute.x\"}", "forbidden");
    refused("{\"type\":\"history\",\"id\":9,\"channel\":\"plain.x\"}", "unsupported");
}

static void test_ask(void **state)
{
    struct mail_ask *m;
    (void)state;

    client("{\"type\":\"history\",\"id\":9,\"channel\":\"keyed.k1\",\"limit\":9999,"
           "\"from\":{\"after\":[\"0/3\",\"1/4\"]},\"until\":[\"0/7\"]}");
    m = CONTAINER_OF(rig_mail(&rig, 0, MAIL_HISTORY), struct mail_ask, item);
    assert_int_equal(m->worker, 3);
    assert_int_equal(m->limit, 500);
    assert_int_equal(m->from, FROM_AFTER);
    assert_int_equal(m->cursor->count, 2);
    assert_int_equal(m->until->pos[0].lo, 7);
    assert_string_equal(m->topic.p, "keyed");
    assert_true(span_eq(m->key, SPAN("k1")));
    assert_true(span_eq(m->channel, SPAN("keyed.k1")));
    rig_done_mail(&rig, MAIL_HISTORY_DONE, m->id, "\"messages\":[],\"cursor\":[]");
    expect("\"type\":\"history\",\"id\":9,\"channel\":\"keyed.k1\",\"messages\":[]");
    mail_free(&m->item);
}

/* ---- publish --------------------------------------------------------------------------------- */

static void test_publish_checks(void **state)
{
    static const char *const rows[][2] = {
        {"\"no.rule\",\"data\":1", "unknown_channel"},
        {"\"secret.x\",\"data\":1", "forbidden"},
        {"\"mute.x\",\"data\":1", "forbidden"},
        {"\"plain.x\",\"data\":1,\"key\":\"k\"", "unsupported"},
        {"\"plain.x\",\"data\":1,\"headers\":{\"a\":\"b\"}", "unsupported"},
        {"\"plain.x\",\"tombstone\":true", "unsupported"},
        {"\"plain.x\",\"data\":1,\"partition\":1", "bad_request"},
        {"\"keyed.k1\",\"data\":1,\"key\":\"k2\"", "bad_request"},
    };
    char frame[1200], part[60], big[1100];
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(frame, sizeof frame, "{\"type\":\"publish\",\"channel\":%s}", rows[i][0]);
        snprintf(part, sizeof part, "\"code\":\"%s\"", rows[i][1]);
        refused(frame, part);
    }
    memset(big, 'x', sizeof big);
    snprintf(frame, sizeof frame,
             "{\"type\":\"publish\",\"channel\":\"log.a\",\"text\":\"%.1001s\"}", big);
    refused(frame, "too_large");
}

static void test_publish(void **state)
{
    struct mail_publish *m;
    (void)state;

    client("{\"type\":\"publish\",\"id\":7,\"channel\":\"keyed.k1\",\"data\": {\"a\":1} ,"
           "\"headers\":{\"h\":\"v\"},\"partition\":2}");
    m = CONTAINER_OF(rig_mail(&rig, 0, MAIL_PUBLISH), struct mail_publish, item);
    assert_memory_equal(m->publish.payload, "{\"a\":1}", m->publish.payload_len);
    assert_memory_equal(m->publish.key, "k1", 2);
    assert_int_equal(m->publish.partition, 2);
    assert_int_equal(m->publish.header_count, 1);
    assert_true(m->placed);
    rig_done_mail(&rig, MAIL_PUBLISHED, m->id, "\"2/5\"");
    expect("{\"type\":\"published\",\"id\":7,\"pos\":\"2/5\"}");
    rig_done_mail(&rig, MAIL_PUBLISHED, m->id, "\"2/5\""); /* nobody waits for it any more */
    mail_free(&m->item);
    /* Without an id there is no success reply, but there are errors. */
    client("{\"type\":\"publish\",\"channel\":\"plain.a\",\"data\":1}");
    m = CONTAINER_OF(rig_mail(&rig, 1, MAIL_PUBLISH), struct mail_publish, item);
    assert_false(m->placed);
    rig_done_mail(&rig, MAIL_PUBLISHED, m->id, NULL);
    mail_free(&m->item);
    client("{\"type\":\"publish\",\"channel\":\"plain.a\",\"data\":1}");
    rig_say(&rig, &mail_done_new(MAIL_PUBLISHED, rig_number(&rig, 1, MAIL_PUBLISH), ERR_BUS_ERROR,
                                 SPAN("No space."))
                       ->item);
    expect("\"channel\":\"plain.a\",\"code\":\"bus_error\",\"message\":\"No space.\"");
    wire_expect_none(&wire);
}

static void test_busy(void **state)
{
    struct inbox_item *full = &mail_leave_new(MAIL_DRAINED, 0, 0, false)->item;
    (void)state;

    full->bytes = 1048576;
    inbox_force(&rig.bus[0], full);
    client("{\"type\":\"publish\",\"id\":1,\"channel\":\"log.a\",\"data\":1}");
    expect("\"id\":1,\"channel\":\"log.a\",\"code\":\"busy\"");
    client("{\"type\":\"history\",\"id\":2,\"channel\":\"log.a\"}");
    expect("\"id\":2,\"channel\":\"log.a\",\"code\":\"busy\"");
    client("{\"type\":\"subscribe\",\"id\":3,\"channel\":\"log.a\"}");
    expect("\"id\":3,\"channel\":\"log.a\",\"code\":\"busy\"");
    client("{\"type\":\"history\",\"id\":4,\"channel\":\"log.a\"}");
    expect("\"retry\":true,\"retry_after\":");
    mail_free(rig_mail(&rig, 0, MAIL_DRAINED));
    subscribe_live("log.a", 5);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static uint64_t begin_replay(unsigned number)
{
    char text[120];

    snprintf(text, sizeof text,
             "{\"type\":\"subscribe\",\"id\":%u,\"channel\":\"log.%u\",\"from\":\"earliest\"}",
             number, number);
    client(text);
    return rig_number(&rig, 0, MAIL_SUBSCRIBE);
}

/* A replay counts from its request until it is live or gone. */
static void test_replays_of_one_connection(void **state)
{
    uint64_t first = 0, second = 0;
    (void)state;

    for (unsigned i = 0; i < rig.config.replay.each; i++) {
        uint64_t id = begin_replay(i);
        if (i == 0) first = id;
        if (i == 1) second = id;
    }
    client("{\"type\":\"subscribe\",\"id\":90,\"channel\":\"log.x\",\"from\":{\"ago\":5}}");
    expect("\"id\":90,\"channel\":\"log.x\",\"code\":\"busy\"");
    client("{\"type\":\"subscribe\",\"channel\":\"log.y\"}"); /* nothing of the past */
    (void)rig_number(&rig, 0, MAIL_SUBSCRIBE);
    rig_say(&rig, &mail_done_new(MAIL_REFUSED, first, ERR_BUSY, span_of(NULL, 0))->item);
    expect("\"id\":0,\"channel\":\"log.0\",\"code\":\"busy\"");
    (void)begin_replay(0);
    rig_say(&rig, &mail_subscribed_new(second, SPAN("[]"))->item);
    expect("\"subscribed\"");
    (void)rig_number(&rig, 0, MAIL_PULL);
    rig_say(&rig, &mail_chunk_new(second, 77)->item);
    (void)begin_replay(91);
    client("{\"type\":\"unsubscribe\",\"channel\":\"log.2\"}");
    mail_free(rig_mail(&rig, 0, MAIL_UNSUBSCRIBE));
    (void)begin_replay(92);
    client("{\"type\":\"subscribe\",\"id\":93,\"channel\":\"log.x\",\"from\":{\"last\":5}}");
    expect("\"id\":93,\"channel\":\"log.x\",\"code\":\"busy\"");
}

static void test_live(void **state)
{
    uint64_t id = subscribe_live("log.a", 50);
    (void)state;

    rig_live(&rig, 50, "{\"n\":1}");
    rig_live(&rig, 51, "{\"n\":2}"); /* nobody's */
    rig_frame(&rig, id, SPAN("{\"type\":\"gap\"}"));
    expect("{\"n\":1}");
    expect("gap");
    client("{\"type\":\"subscribe\",\"id\":2,\"channel\":\"log.a\"}");
    expect("already_subscribed");
    client("{\"type\":\"unsubscribe\",\"id\":3,\"channel\":\"log.a\"}");
    expect("{\"type\":\"unsubscribed\",\"id\":3,\"channel\":\"log.a\"}");
    assert_int_equal(rig_number(&rig, 0, MAIL_UNSUBSCRIBE), id);
    rig_live(&rig, 50, "{\"n\":3}");
    rig_frame(&rig, id, SPAN("late"));
    rig_left(&rig, id, "late");
    wire_expect_none(&wire);
}

static void test_ended_by_bus(void **state)
{
    uint64_t id = subscribe_live("log.a", 50);
    (void)state;

    rig_left(&rig, id, "topic deleted");
    expect("{\"type\":\"unsubscribed\",\"channel\":\"log.a\",\"reason\":\"topic deleted\"}");
    rig_live(&rig, 50, "{\"n\":3}");
    wire_expect_none(&wire);
    subscribe_live("log.a", 51);
}

static void test_refused(void **state)
{
    (void)state;
    client("{\"type\":\"subscribe\",\"channel\":\"log.a\"}");
    rig_refused(&rig, rig_number(&rig, 0, MAIL_SUBSCRIBE));
    expect("\"channel\":\"log.a\",\"code\":\"bus_unavailable\"");
    subscribe_live("log.a", 51);
}

/* unsubscribe and subscribe need not wait for replies. */
static void test_leaving(void **state)
{
    struct mail_leave *m;
    uint64_t first, second;
    (void)state;

    client("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"log.a\"}");
    client("{\"type\":\"unsubscribe\",\"id\":2,\"channel\":\"log.a\"}");
    client("{\"type\":\"subscribe\",\"id\":3,\"channel\":\"log.a\"}");
    wire_expect_none(&wire);
    first = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    m = CONTAINER_OF(rig_mail(&rig, 0, MAIL_UNSUBSCRIBE), struct mail_leave, item);
    assert_true(m->answer && m->id == first);
    mail_free(&m->item);
    second = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    assert_true(second != first);

    rig_subscribed(&rig, first, 50);
    expect("\"type\":\"subscribed\",\"id\":1");
    rig_live(&rig, 50, "early");
    rig_frame(&rig, first, SPAN("early"));
    rig_left(&rig, first, NULL);
    expect("\"type\":\"unsubscribed\",\"id\":2");
    rig_subscribed(&rig, second, 50);
    expect("\"type\":\"subscribed\",\"id\":3");
    rig_live(&rig, 50, "now");
    expect("now");
    rig_no_mail(&rig, 0);
}

static void test_leaving_refused(void **state)
{
    uint64_t id;
    (void)state;

    client("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"log.a\"}");
    client("{\"type\":\"unsubscribe\",\"id\":2,\"channel\":\"log.a\"}");
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    (void)rig_number(&rig, 0, MAIL_UNSUBSCRIBE);
    rig_refused(&rig, id);
    expect("\"id\":1,\"channel\":\"log.a\",\"code\":\"bus_unavailable\"");
    rig_left(&rig, id, NULL);
    expect("\"type\":\"unsubscribed\",\"id\":2");
}

/* What is answered at once does not overtake the replies about the same channel. */
static void test_replies_keep_order(void **state)
{
    uint64_t id, again;
    (void)state;

    client("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"log.a\"}");
    client("{\"type\":\"subscribe\",\"id\":2,\"channel\":\"log.a\"}");
    client("{\"type\":\"unsubscribe\",\"id\":3,\"channel\":\"log.a\"}");
    client("{\"type\":\"unsubscribe\",\"id\":4,\"channel\":\"log.a\"}");
    client("{\"type\":\"subscribe\",\"id\":5,\"channel\":\"log.a\",\"from\":\"snapshot\"}");
    client("{\"type\":\"ping\",\"id\":6}");
    expect("\"type\":\"pong\",\"id\":6");
    wire_expect_none(&wire);
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    again = rig_number(&rig, 0, MAIL_UNSUBSCRIBE);
    assert_int_equal(id, again);
    rig_subscribed(&rig, id, 50);
    expect("\"type\":\"subscribed\",\"id\":1");
    expect("\"id\":2,\"channel\":\"log.a\",\"code\":\"already_subscribed\"");
    wire_expect_none(&wire);
    rig_left(&rig, id, NULL);
    expect("\"type\":\"unsubscribed\",\"id\":3");
    expect("\"id\":4,\"channel\":\"log.a\",\"code\":\"not_subscribed\"");
    expect("\"id\":5,\"channel\":\"log.a\",\"code\":\"unsupported\"");
}

static void test_limit(void **state)
{
    char frame[100];
    (void)state;

    for (int i = 0; i < 20; i++) {
        snprintf(frame, sizeof frame, "{\"type\":\"subscribe\",\"channel\":\"log.%d\"}", i);
        client(frame);
        mail_free(rig_mail(&rig, 0, MAIL_SUBSCRIBE));
    }
    refused("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"log.more\"}",
            "\"limit\":\"limits.subscriptions\"");
    client("{\"type\":\"unsubscribe\",\"channel\":\"log.0\"}");
    mail_free(rig_mail(&rig, 0, MAIL_UNSUBSCRIBE));
    client("{\"type\":\"subscribe\",\"channel\":\"log.more\"}");
    mail_free(rig_mail(&rig, 0, MAIL_SUBSCRIBE));
}

/* ---- replay ---------------------------------------------------------------------------------- */

static void test_replay(void **state)
{
    uint64_t id;
    (void)state;

    client("{\"type\":\"subscribe\",\"id\":1,\"channel\":\"log.a\",\"from\":\"earliest\"}");
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    rig_subscribed(&rig, id, 0);
    expect("subscribed");
    assert_int_equal(rig_number(&rig, 0, MAIL_PULL), id);
    rig_no_mail(&rig, 0);
    rig_frame(&rig, id, SPAN("old 1"));
    rig_frame(&rig, id, SPAN("old 2"));
    rig_no_mail(&rig, 0);
    rig_chunk(&rig, id, 0);
    assert_int_equal(rig_number(&rig, 0, MAIL_PULL), id);
    rig_frame(&rig, id, SPAN("old 3"));
    rig_frame(&rig, id, SPAN("{\"type\":\"live\"}"));
    rig_chunk(&rig, id, 50);
    rig_live(&rig, 50, "new");
    expect("old 1");
    expect("old 2");
    expect("old 3");
    expect("live");
    expect("new");
    rig_no_mail(&rig, 0);
}

/* A client that does not read is not pulled for, and not held against it. */
static void test_replay_is_paced(void **state)
{
    static char text[60000];
    uint64_t id;
    (void)state;

    memset(text, 'x', sizeof text);
    client("{\"type\":\"subscribe\",\"channel\":\"log.a\",\"from\":\"earliest\"}");
    id = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    rig_subscribed(&rig, id, 0);
    wire.result = TRANSPORT_CHOKED;
    for (int i = 0; i < 6; i++) { /* one is with the transport, five wait: over a quarter */
        (void)rig_number(&rig, 0, MAIL_PULL);
        rig_frame(&rig, id, span_of(text, sizeof text));
        rig_chunk(&rig, id, 0);
    }
    rig_no_mail(&rig, 0);
    rig_wait(&rig, 60000);
    assert_int_equal(wire.code, 0);
    assert_int_equal(wire.count, 2);
    session_writable(wire.session);
    rig_turn(&rig);
    (void)rig_number(&rig, 0, MAIL_PULL);
    rig_no_mail(&rig, 0);
    assert_int_equal(wire.count, 3);
}

/* Many replays of one client share the room. */
static void test_replays_share(void **state)
{
    char frame[100];
    uint64_t id[8];
    int pulls = 0;
    struct inbox_item *item;
    (void)state;

    for (int i = 0; i < 8; i++) {
        snprintf(frame, sizeof frame,
                 "{\"type\":\"subscribe\",\"channel\":\"log.%d\",\"from\":\"earliest\"}", i);
        client(frame);
        id[i] = rig_number(&rig, 0, MAIL_SUBSCRIBE);
    }
    for (int i = 0; i < 8; i++)
        rig_subscribed(&rig, id[i], 0);
    for (; pulls < 4; pulls++)
        assert_int_equal(rig_number(&rig, 0, MAIL_PULL), id[pulls]);
    rig_no_mail(&rig, 0);
    rig_chunk(&rig, id[0], 50);
    item = rig_mail(&rig, 0, MAIL_PULL);
    mail_free(item);
    client("{\"type\":\"unsubscribe\",\"channel\":\"log.1\"}"); /* while its chunk is on the way */
    (void)rig_number(&rig, 0, MAIL_UNSUBSCRIBE);
    client("{\"type\":\"ping\",\"id\":1}");
    (void)rig_number(&rig, 0, MAIL_PULL);
    rig_no_mail(&rig, 0);
}

/* ---- history --------------------------------------------------------------------------------- */

static void test_history_queue(void **state)
{
    uint64_t id;
    (void)state;

    for (int i = 0; i < 17; i++)
        client("{\"type\":\"history\",\"id\":1,\"channel\":\"log.a\"}");
    wire_expect_none(&wire);
    client("{\"type\":\"history\",\"id\":2,\"channel\":\"log.a\"}");
    expect("\"id\":2,\"channel\":\"log.a\",\"code\":\"busy\"");
    for (int i = 0; i < 17; i++) {
        id = rig_number(&rig, 0, MAIL_HISTORY);
        rig_no_mail(&rig, 0);
        rig_done_mail(&rig, MAIL_HISTORY_DONE, id, "\"messages\":[]");
        expect("\"type\":\"history\",\"id\":1");
    }
    rig_no_mail(&rig, 0);
}

static void test_history_waits_for_room(void **state)
{
    static char page[270000];
    uint64_t id;
    (void)state;

    memset(page, ' ', sizeof page - 1);
    page[0] = page[sizeof page - 2] = '"';
    wire.result = TRANSPORT_CHOKED;
    client("{\"type\":\"ping\",\"id\":1}");
    client("{\"type\":\"history\",\"id\":1,\"channel\":\"log.a\"}");
    client("{\"type\":\"history\",\"id\":2,\"channel\":\"log.a\"}");
    id = rig_number(&rig, 0, MAIL_HISTORY);
    rig_done_mail(&rig, MAIL_HISTORY_DONE, id, page);
    rig_no_mail(&rig, 0);
    session_writable(wire.session);
    rig_turn(&rig);
    (void)rig_number(&rig, 0, MAIL_HISTORY);
}

/* ---- the worker ------------------------------------------------------------------------------ */

static void test_drained(void **state)
{
    struct inbox_item *refused_item = &mail_chunk_new(1, 1)->item;
    struct mail_chunk *big = mail_chunk_new(1, 1);
    (void)state;

    big->item.bytes = 1048000;
    refused_item->bytes = 1000;
    inbox_force(&rig.inbox, &big->item);
    assert_false(inbox_post(&rig.inbox, refused_item));
    mail_free(refused_item);
    rig_turn(&rig);
    (void)rig_number(&rig, 0, MAIL_DRAINED);
    (void)rig_number(&rig, 1, MAIL_DRAINED);
    rig_no_mail(&rig, 0);
}

static void test_gathers(void **state)
{
    unsigned before = wire.writes;
    (void)state;

    subscribe_live("log.a", 50);
    before = wire.writes;
    for (int i = 0; i < 100; i++)
        inbox_force(&rig.inbox,
                    &mail_frame_new(MAIL_LIVE, 50, frame_new(FRAME_TEXT, SPAN("m")))->item);
    rig_turn(&rig);
    assert_int_equal(wire.writes, before + 1);
    for (int i = 0; i < 100; i++)
        expect("m");
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_ping_and_errors),
        ROW(test_subscribe_checks),
        ROW(test_ask),
        ROW(test_publish_checks),
        ROW(test_publish),
        ROW(test_busy),
        ROW(test_replays_of_one_connection),
        ROW(test_live),
        ROW(test_ended_by_bus),
        ROW(test_refused),
        ROW(test_leaving),
        ROW(test_leaving_refused),
        ROW(test_replies_keep_order),
        ROW(test_limit),
        ROW(test_replay),
        ROW(test_replay_is_paced),
        ROW(test_replays_share),
        ROW(test_history_queue),
        ROW(test_history_waits_for_room),
        ROW(test_drained),
        ROW(test_gathers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
