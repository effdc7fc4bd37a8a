/* Sessions of /raw: what becomes of the frames of the hub. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "protocol/message.h"
#include "session/raw.h"
#include "session_rig.h"

static struct raw *plan(struct rig *r, const char *subscribe, const char *publish)
{
    struct raw_query q = {.subscribe = span_str(subscribe), .publish = span_str(publish)};
    struct raw_refusal why;

    return raw_new(r->worker, &q, &why);
}

static void open_raw(struct rig *r, struct wire *w, struct raw *raw)
{
    assert_non_null(raw);
    wire_prepare(w);
    w->session = session_open_raw(r->worker, &w->transport, "test", raw);
    rig_turn(r);
}

static const struct wsbus_backend no_log = {.name = "none"};

/* The frame of a channel for this payload, as the hub makes it. */
static void say_message(struct rig *r, uint64_t channel, struct span payload)
{
    struct wsbus_header header = {"data", "{}", 4, 2};
    struct wsbus_message m = {
        .ts = 5, .key = "k\"", .key_len = 2, .headers = &header, .header_count = 1};
    struct buf text;

    m.payload = payload.p;
    m.payload_len = (uint32_t)payload.n;
    buf_init(&text, BUF_UNLIMITED);
    message_write(&text, SPAN("log.a"), &m, &no_log, false);
    rig_say(r, &mail_frame_new(MAIL_LIVE, channel, frame_new(FRAME_TEXT, buf_view(&text)))->item);
    buf_free(&text);
}

static void test_payloads(void **state)
{
    static const struct span payloads[] = {
        SPAN("{\"a\":[1,\"}\"]}"), SPAN(" 1 "),  SPAN("plain"),    SPAN("\"\\u0041\""),
        SPAN("a\nb\\\""),          SPAN("null"), SPAN("\xc3\xa9"), SPAN("\"x\",\"tombstone\":true"),
    };
    struct wire w, other;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_start(&r);
    open_raw(&r, &w, plan(&r, "log.a", NULL));
    rig_subscribed(&r, rig_number(&r, 0, MAIL_SUBSCRIBE), 7);
    open_raw(&r, &other, plan(&r, "log.a", NULL));
    rig_subscribed(&r, rig_number(&r, 0, MAIL_SUBSCRIBE), 7);
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
        say_message(&r, 7, payloads[i]);
        assert_string_equal(w.frames[i], payloads[i].p);
        assert_string_equal(other.frames[i], payloads[i].p);
        w.read = other.read = i + 1;
    }
    say_message(&r, 7, span_of(NULL, 0)); /* a tombstone */
    wire_expect_none(&w);
    assert_int_equal(w.binaries, 0);
    say_message(&r, 7, SPAN("\xff\x01"));
    assert_int_equal(w.binaries, 1);
    rig_live(&r, 7, "{\"type\":\"position\",\"channel\":\"log.a\",\"cursor\":[]}");
    wire_expect_none(&w);
    assert_int_equal(w.code, 0);
    rig_live(&r, 7, "{\"type\":\"gap\",\"channel\":\"log.a\",\"reason\":\"bus\"}");
    assert_int_equal(w.code, CLOSE_SERVER_ERROR);
    wire_gone(&r, &w);
    wire_gone(&r, &other);
    rig_done(&r);
}

static void test_replay_then_the_end_of_the_bus(void **state)
{
    struct wire w;
    struct rig r;
    uint64_t id;

    (void)state;
    rig_init(&r);
    rig_start(&r);
    open_raw(&r, &w, plan(&r, "log.a", NULL));
    id = rig_number(&r, 0, MAIL_SUBSCRIBE);
    rig_subscribed(&r, id, 0);
    assert_int_equal(rig_number(&r, 0, MAIL_PULL), id);
    rig_frame(&r, id, SPAN("{\"type\":\"message\",\"channel\":\"log.a\",\"ts\":1,\"data\":[1]}"));
    rig_frame(&r, id, SPAN("{\"type\":\"live\",\"channel\":\"log.a\",\"cursor\":[]}"));
    rig_chunk(&r, id, 9);
    assert_string_equal(w.frames[0], "[1]");
    w.read = 1;
    wire_expect_none(&w);
    rig_left(&r, id, "gone");
    assert_int_equal(w.code, CLOSE_SERVER_ERROR);
    assert_string_equal(w.reason, "gone");
    wire_gone(&r, &w);
    rig_done(&r);
}

static void test_publishes_are_awaited(void **state)
{
    struct wire w;
    struct rig r;
    uint64_t first, second;

    (void)state;
    rig_init(&r);
    rig_start(&r);
    open_raw(&r, &w, plan(&r, NULL, "log.a"));
    session_text(w.session, SPAN("one"));
    session_text(w.session, span_of(NULL, 0));
    first = rig_number(&r, 0, MAIL_PUBLISH);
    struct inbox_item *item = rig_mail(&r, 0, MAIL_PUBLISH);
    struct mail_publish *m = CONTAINER_OF(item, struct mail_publish, item);
    second = m->id;
    assert_non_null(m->publish.payload); /* an empty message is not a tombstone */
    assert_int_equal(m->publish.payload_len, 0);
    mail_free(item);
    rig_say(&r, &mail_done_new(MAIL_PUBLISHED, first, ERR_BUS_ERROR, SPAN("no room"))->item);
    assert_int_equal(w.code, 0); /* the second is not answered yet */
    session_text(w.session, SPAN("three"));
    rig_no_mail(&r, 0);
    rig_say(&r, &mail_done_new(MAIL_PUBLISHED, second, ERR_NONE, SPAN("\"0/1\""))->item);
    assert_int_equal(w.code, CLOSE_SERVER_ERROR);
    assert_string_equal(w.reason, "no room");
    wire_expect_none(&w);
    wire_gone(&r, &w);
    rig_done(&r);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *subscribe, *publish, *from;
        enum error_code code;
    } cases[] = {
        {NULL, NULL, NULL, ERR_BAD_REQUEST},
        {NULL, "log.a", "now", ERR_BAD_REQUEST},
        {"log.a", NULL, "now\"", ERR_BAD_REQUEST},
        {"log.a", NULL, "{}", ERR_BAD_REQUEST},
        {"log..a", NULL, NULL, ERR_BAD_REQUEST},
        {"log.a", NULL, "{\"after\":[\"0/x\"]}", ERR_BAD_REQUEST},
        {"other.a", NULL, NULL, ERR_UNKNOWN_CHANNEL},
        {"secret.a", NULL, NULL, ERR_FORBIDDEN},
        {"log.a", "secret.a", NULL, ERR_FORBIDDEN},
        {NULL, "mute.a", NULL, ERR_FORBIDDEN},
        {"mute.a", NULL, "earliest", ERR_FORBIDDEN},
        {"plain.a", NULL, "earliest", ERR_UNSUPPORTED},
        {"log.a", NULL, "snapshot", ERR_UNSUPPORTED},
    };
    struct raw_refusal why;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct raw_query q = {.subscribe = span_str(cases[i].subscribe),
                              .publish = span_str(cases[i].publish),
                              .from = span_str(cases[i].from)};
        assert_null(raw_new(r.worker, &q, &why));
        assert_int_equal(why.code, cases[i].code);
        assert_true(strlen(why.message) > 0);
    }
    struct raw_query good = {.subscribe = SPAN("log.a"), .from = SPAN("{\"after\":[\"0/1\"]}")};
    struct raw *raw = raw_new(r.worker, &good, &why);
    assert_non_null(raw);
    raw_free(raw);
    rig_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_replay_then_the_end_of_the_bus),
        cmocka_unit_test(test_publishes_are_awaited),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
