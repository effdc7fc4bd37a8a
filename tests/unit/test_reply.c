/* Frames to the client, byte for byte, and the table of codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "protocol/reply.h"

static const struct span none = {NULL, 0};
static struct buf out;

static void expect(const char *text)
{
    if (!span_eq(buf_view(&out), span_str(text))) fail_msg("%.*s", (int)out.n, out.p);
    assert_true(json_valid(buf_view(&out)));
    assert_null(memchr(out.p, '\n', out.n));
    buf_clear(&out);
}

static void writes_welcome(void **state)
{
    (void)state;
    reply_welcome(&out, &(struct reply_welcome){.session = "s1",
                                                .ping_ms = 25000,
                                                .auth = "anonymous",
                                                .message_bytes = 65536,
                                                .frame_bytes = 132096,
                                                .subscriptions = 100,
                                                .history = 1000});
    expect("{\"type\":\"welcome\",\"server\":\"wsbus/" WSBUS_VERSION
           "\",\"session\":\"s1\",\"ping\":25000,\"auth\":\"anonymous\",\"limits\":{"
           "\"message_bytes\":65536,\"frame_bytes\":132096,\"subscriptions\":100,"
           "\"history\":1000}}");
}

static void writes_subscriptions(void **state)
{
    (void)state;
    struct reply_subscribed r = {SPAN("7"), SPAN("a.\"b\""), SPAN("[\"0/1\"]"), RECOVERED_ABSENT,
                                 NULL};
    reply_subscribed(&out, &r);
    expect("{\"type\":\"subscribed\",\"id\":7,\"channel\":\"a.\\\"b\\\"\",\"cursor\":[\"0/1\"]}");
    r.cursor = none;
    r.recovered = RECOVERED_YES;
    r.reason = "ignored";
    reply_subscribed(&out, &r);
    expect("{\"type\":\"subscribed\",\"id\":7,\"channel\":\"a.\\\"b\\\"\",\"cursor\":null,"
           "\"recovered\":true}");
    r.recovered = RECOVERED_NO;
    r.reason = "expired";
    r.id = none;
    r.channel = SPAN("c");
    reply_subscribed(&out, &r);
    expect("{\"type\":\"subscribed\",\"channel\":\"c\",\"cursor\":null,\"recovered\":false,"
           "\"reason\":\"expired\"}");
    r.reason = NULL;
    reply_subscribed(&out, &r);
    expect("{\"type\":\"subscribed\",\"channel\":\"c\",\"cursor\":null,\"recovered\":false}");
    reply_unsubscribed(&out, SPAN("\"x\""), SPAN("c"), NULL);
    expect("{\"type\":\"unsubscribed\",\"id\":\"x\",\"channel\":\"c\"}");
    reply_unsubscribed(&out, none, SPAN("c"), "forbidden");
    expect("{\"type\":\"unsubscribed\",\"channel\":\"c\",\"reason\":\"forbidden\"}");
    reply_live(&out, SPAN("c"), SPAN("[]"));
    expect("{\"type\":\"live\",\"channel\":\"c\",\"cursor\":[]}");
    reply_position(&out, SPAN("c"), SPAN("[\"0/2\"]"));
    expect("{\"type\":\"position\",\"channel\":\"c\",\"cursor\":[\"0/2\"]}");
}

static void writes_gaps(void **state)
{
    (void)state;
    struct reply_gap g = {SPAN("c"), "slow", SPAN("[\"0/1\"]"), SPAN("[\"0/3\"]"), 2};
    reply_gap(&out, &g);
    expect("{\"type\":\"gap\",\"channel\":\"c\",\"reason\":\"slow\",\"after\":[\"0/1\"],"
           "\"until\":[\"0/3\"],\"lost\":2}");
    g = (struct reply_gap){SPAN("c"), "bus", none, none, -1};
    reply_gap(&out, &g);
    expect("{\"type\":\"gap\",\"channel\":\"c\",\"reason\":\"bus\"}");
}

static void writes_answers(void **state)
{
    (void)state;
    reply_published(&out, SPAN("1"), SPAN("\"0/17\""), 0);
    expect("{\"type\":\"published\",\"id\":1,\"pos\":\"0/17\"}");
    reply_published(&out, SPAN("1"), none, 3);
    expect("{\"type\":\"published\",\"id\":1,\"receivers\":3}");
    reply_pong(&out, SPAN("\"\""));
    expect("{\"type\":\"pong\",\"id\":\"\"}");
    reply_goaway(&out, "drain", 1234);
    expect("{\"type\":\"goaway\",\"reason\":\"drain\",\"retry_after\":1234}");
}

static void writes_history(void **state)
{
    (void)state;
    struct buf body;
    struct reply_history h = {SPAN("{},{}"), SPAN("[\"0/2\"]"), SPAN("[\"0/0\"]"),
                              true,          RECOVERED_NO,      "epoch"};
    buf_init(&body, BUF_UNLIMITED);
    reply_history_body(&body, &h);
    reply_history(&out, SPAN("1"), SPAN("c"), buf_view(&body));
    expect("{\"type\":\"history\",\"id\":1,\"channel\":\"c\",\"messages\":[{},{}],"
           "\"cursor\":[\"0/2\"],\"before\":[\"0/0\"],\"more\":true,\"recovered\":false,"
           "\"reason\":\"epoch\"}");
    buf_clear(&body);
    h = (struct reply_history){none, SPAN("[]"), SPAN("[]"), false, RECOVERED_ABSENT, NULL};
    reply_history_body(&body, &h);
    reply_history(&out, none, SPAN("c"), buf_view(&body));
    expect("{\"type\":\"history\",\"channel\":\"c\",\"messages\":[],\"cursor\":[],\"before\":[],"
           "\"more\":false}");
    buf_free(&body);
}

static void writes_errors(void **state)
{
    (void)state;
    struct reply_error e = {.code = ERR_BAD_REQUEST, .message = SPAN("No \"x\".")};
    reply_error(&out, &e);
    expect("{\"type\":\"error\",\"code\":\"bad_request\",\"message\":\"No \\\"x\\\".\","
           "\"retry\":false}");
    e = (struct reply_error){
        .id = SPAN("1"), .channel = SPAN("c"), .code = ERR_BUSY, .retry_after = 500};
    reply_error(&out, &e);
    expect("{\"type\":\"error\",\"id\":1,\"channel\":\"c\",\"code\":\"busy\",\"message\":"
           "\"The server has too much to do at the moment.\",\"retry\":true,\"retry_after\":500}");
    e = (struct reply_error){
        .code = ERR_LIMIT, .message = SPAN("Full."), .limit = "limits.subscriptions"};
    reply_error(&out, &e);
    expect("{\"type\":\"error\",\"code\":\"limit\",\"message\":\"Full.\",\"retry\":false,"
           "\"limit\":\"limits.subscriptions\"}");
    /* The words of a bus in another encoding. */
    e = (struct reply_error){.code = ERR_BUS_ERROR,
                             .message = SPAN("a\xff\xe9\xe2\x82\xac\n\xe2\x82")};
    reply_error(&out, &e);
    expect("{\"type\":\"error\",\"code\":\"bus_error\",\"message\":\"a\xef\xbf\xbd\xef\xbf\xbd"
           "\xe2\x82\xac\\n\xef\xbf\xbd\xef\xbf\xbd\",\"retry\":false}");
}

static void knows_codes(void **state)
{
    (void)state;
    static const char *const names[] = {
        [ERR_BAD_REQUEST] = "bad_request",
        [ERR_UNKNOWN_TYPE] = "unknown_type",
        [ERR_TOO_LARGE] = "too_large",
        [ERR_UNAUTHENTICATED] = "unauthenticated",
        [ERR_TOKEN_EXPIRED] = "token_expired",
        [ERR_FORBIDDEN] = "forbidden",
        [ERR_UNKNOWN_CHANNEL] = "unknown_channel",
        [ERR_ALREADY_SUBSCRIBED] = "already_subscribed",
        [ERR_NOT_SUBSCRIBED] = "not_subscribed",
        [ERR_UNSUPPORTED] = "unsupported",
        [ERR_LIMIT] = "limit",
        [ERR_RATE_LIMITED] = "rate_limited",
        [ERR_BUSY] = "busy",
        [ERR_BUS_UNAVAILABLE] = "bus_unavailable",
        [ERR_BUS_ERROR] = "bus_error",
        [ERR_OUTCOME_UNKNOWN] = "outcome_unknown",
        [ERR_INTERNAL] = "internal",
    };
    for (int code = ERR_BAD_REQUEST; code <= ERR_INTERNAL; code++) {
        assert_string_equal(error_name((enum error_code)code), names[code]);
        assert_int_equal(error_retry((enum error_code)code), code == ERR_RATE_LIMITED ||
                                                                 code == ERR_BUSY ||
                                                                 code == ERR_BUS_UNAVAILABLE);
        assert_true(strlen(error_default((enum error_code)code)) > 10);
    }
    assert_int_equal(error_of_status(WSBUS_OK), ERR_NONE);
    assert_int_equal(error_of_status(WSBUS_UNKNOWN_TOPIC), ERR_UNKNOWN_CHANNEL);
    assert_int_equal(error_of_status(WSBUS_REFUSED), ERR_BUS_ERROR);
    assert_int_equal(error_of_status(WSBUS_UNAVAILABLE), ERR_BUS_UNAVAILABLE);
    assert_int_equal(error_of_status(WSBUS_OUTCOME_UNKNOWN), ERR_OUTCOME_UNKNOWN);
    assert_string_equal(close_reason(CLOSE_SLOW), "slow consumer");
    assert_string_equal(close_reason(CLOSE_ERRORS), "too many errors");
    assert_string_equal(close_reason((enum close_code)4999), "");
}

static int setup(void **state)
{
    (void)state;
    buf_init(&out, BUF_UNLIMITED);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_welcome), cmocka_unit_test(writes_subscriptions),
        cmocka_unit_test(writes_gaps),    cmocka_unit_test(writes_answers),
        cmocka_unit_test(writes_history), cmocka_unit_test(writes_errors),
        cmocka_unit_test(knows_codes),
    };
    return cmocka_run_group_tests_name("reply", tests, setup, teardown);
}
