/* Channels and feeds, against a server that says what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "bus/redis_pubsub.h"
#include "redis_stage.h"

struct bench {
    struct stage stage;
    struct redis_config *config;
    struct redis_pubsub *pubsub;
    struct buf heard;           /* what the host was told, a word for each thing */
    uint64_t leave, leave_from; /* in the message to `leave_from`, feed `leave` ends */
    struct stage_client client;
};

static struct bench *bench_of(const struct wsbus_host *h)
{
    return CONTAINER_OF(CONTAINER_OF(h, struct stage, host), struct bench, stage);
}

/* ---- the host ----------------------------------------------------------------------------- */

static void hear(const struct wsbus_host *h, const char *what, uint64_t feed, const char *words)
{
    buf_printf(&bench_of(h)->heard, "%s%llu%s%s ", what, (unsigned long long)feed, words ? "=" : "",
               words ? words : "");
}

static void on_subscribed(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a,
                          const struct wsbus_cursor *cursor)
{
    assert_null(cursor);
    hear(h,
         a->status == WSBUS_OK        ? "on"
         : a->status == WSBUS_REFUSED ? "refused"
                                      : "no",
         feed, a->words);
}

static void on_message(const struct wsbus_host *h, uint64_t feed, struct wsbus_message *m)
{
    struct bench *b = bench_of(h);
    assert_int_equal(m->ts, clock_wall());
    char text[32];
    snprintf(text, sizeof(text), "%.*s", (int)m->payload_len, m->payload);
    hear(h, "m", feed, text);
    wsbus_message_unref(m);
    if (b->leave && feed == b->leave_from) {
        uint64_t leave = b->leave;
        b->leave = 0;
        assert_true(pubsub_unsubscribe(b->pubsub, leave));
    }
}

static void on_gap(const struct wsbus_host *h, uint64_t feed, const struct wsbus_cursor *until)
{
    assert_null(until);
    hear(h, "gap", feed, NULL);
}

static void on_ended(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a)
{
    assert_int_equal(a->status, WSBUS_REFUSED);
    hear(h, "ended", feed, a->words);
}

static void on_unsubscribed(const struct wsbus_host *h, uint64_t feed)
{
    hear(h, "off", feed, NULL);
}

/* ---- helpers ------------------------------------------------------------------------------ */

static void begin(struct bench *b)
{
    *b = (struct bench){0};
    stage_init(&b->stage);
    b->stage.host.subscribed = on_subscribed;
    b->stage.host.message = on_message;
    b->stage.host.gap = on_gap;
    b->stage.host.ended = on_ended;
    b->stage.host.unsubscribed = on_unsubscribed;
    buf_init(&b->heard, BUF_UNLIMITED);
    b->config = stage_config(&b->stage);
    b->pubsub = pubsub_new(&b->stage.host, b->config);
    stage_server_up(&b->stage);
}

static void end(struct bench *b)
{
    pubsub_stop(b->pubsub);
    pubsub_free(b->pubsub);
    redis_config_free(b->config);
    stage_hang_up(&b->stage, &b->client);
    stage_done(&b->stage);
    buf_free(&b->heard);
}

static void follow(struct bench *b, uint64_t feed, const char *channel)
{
    struct wsbus_topic topic = {.name = channel, .name_len = strlen(channel)};
    pubsub_subscribe(b->pubsub, feed, &topic);
}

static void leave(struct bench *b, uint64_t feed)
{
    assert_true(pubsub_unsubscribe(b->pubsub, feed));
}

static void expect(struct bench *b, const char *command)
{
    stage_expect(&b->stage, &b->client, command);
}

static void expect_nothing(struct bench *b)
{
    stage_expect_nothing(&b->stage, &b->client);
}

static void say(struct bench *b, const char *raw)
{
    stage_say(&b->stage, &b->client, raw);
}

/* The reply to (un)subscribing. */
static void confirm(struct bench *b, const char *what, const char *channel)
{
    char raw[256];
    snprintf(raw, sizeof(raw), "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:1\r\n", strlen(what), what,
             strlen(channel), channel);
    say(b, raw);
}

static void publish(struct bench *b, const char *channel, const char *payload)
{
    char raw[256];
    snprintf(raw, sizeof(raw), "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
             strlen(channel), channel, strlen(payload), payload);
    say(b, raw);
}

/* All that was heard since the last time. */
static void heard(struct bench *b, const char *expected)
{
    buf_byte(&b->heard, '\0');
    assert_string_equal(b->heard.p, expected);
    buf_clear(&b->heard);
}

/* A connection with one feed, 1, of the channel "a". */
static void begin_with_feed(struct bench *b)
{
    begin(b);
    follow(b, 1, "a");
    b->client = stage_greet(&b->stage);
    expect(b, "SUBSCRIBE a");
    confirm(b, "subscribe", "a");
    heard(b, "on1 ");
}

static void lose_connection(struct bench *b)
{
    stage_hang_up(&b->stage, &b->client);
    b->client = stage_greet(&b->stage);
}

/* ---- cases -------------------------------------------------------------------------------- */

static void one_subscription_serves_all(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    follow(&b, 1, "a");
    follow(&b, 2, "a");
    b.client = stage_greet(&b.stage);
    expect(&b, "SUBSCRIBE a");
    expect_nothing(&b);
    heard(&b, "");
    confirm(&b, "subscribe", "a");
    heard(&b, "on1 on2 ");
    follow(&b, 3, "a");
    heard(&b, "on3 ");
    publish(&b, "a", "x");
    publish(&b, "b", "stray");
    heard(&b, "m1=x m2=x m3=x ");
    leave(&b, 1);
    leave(&b, 3);
    expect_nothing(&b);
    publish(&b, "a", "y");
    leave(&b, 2);
    heard(&b, "off1 off3 m2=y off2 ");
    expect(&b, "UNSUBSCRIBE a");
    publish(&b, "a", "z");
    confirm(&b, "unsubscribe", "a");
    heard(&b, "");
    assert_int_equal(pubsub_figures(b.pubsub).channels, 0);
    assert_int_equal(pubsub_figures(b.pubsub).feeds, 0);
    assert_false(pubsub_unsubscribe(b.pubsub, 2));
    end(&b);
}

static void what_comes_meanwhile_goes_together(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    follow(&b, 3, "c");
    follow(&b, 4, "d");
    leave(&b, 1);
    follow(&b, 5, "e");
    leave(&b, 4);
    heard(&b, "off1 off4 ");
    expect(&b, "SUBSCRIBE b");
    expect_nothing(&b);
    confirm(&b, "subscribe", "b");
    expect(&b, "UNSUBSCRIBE a");
    expect(&b, "SUBSCRIBE c e");
    confirm(&b, "unsubscribe", "a");
    confirm(&b, "subscribe", "c");
    publish(&b, "c", "early");
    heard(&b, "on2 on3 m3=early ");
    confirm(&b, "subscribe", "e");
    heard(&b, "on5 ");
    end(&b);
}

/* A feed that comes while its channel is being left is confirmed by a new SUBSCRIBE only. */
static void leaving_and_coming_back(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    leave(&b, 1);
    expect(&b, "UNSUBSCRIBE a");
    follow(&b, 2, "a");
    publish(&b, "a", "between");
    expect_nothing(&b);
    heard(&b, "off1 ");
    confirm(&b, "unsubscribe", "a");
    expect(&b, "SUBSCRIBE a");
    leave(&b, 2);
    follow(&b, 3, "a");
    confirm(&b, "subscribe", "a");
    publish(&b, "a", "x");
    heard(&b, "off2 on3 m3=x ");
    expect_nothing(&b);
    end(&b);
}

static void nobody_is_left_at_the_confirmation(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    expect(&b, "SUBSCRIBE b");
    leave(&b, 2);
    confirm(&b, "subscribe", "b");
    heard(&b, "off2 ");
    expect(&b, "UNSUBSCRIBE b");
    confirm(&b, "unsubscribe", "b");
    assert_int_equal(pubsub_figures(b.pubsub).channels, 1);
    end(&b);
}

/* The last feed goes and a new one comes before Redis was told. */
static void a_farewell_is_taken_back(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    expect(&b, "SUBSCRIBE b");
    leave(&b, 1);
    follow(&b, 3, "a");
    heard(&b, "off1 on3 ");
    publish(&b, "a", "x");
    confirm(&b, "subscribe", "b");
    heard(&b, "m3=x on2 ");
    expect_nothing(&b);
    end(&b);
}

static void a_loss_is_a_gap_for_each_feed(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "a");
    follow(&b, 3, "b");
    expect(&b, "SUBSCRIBE b");
    heard(&b, "on2 ");
    stage_hang_up(&b.stage, &b.client); /* feed 3 was not confirmed */
    follow(&b, 4, "a");
    leave(&b, 2);
    heard(&b, "off2 ");
    b.client = stage_greet(&b.stage);
    stage_turn(&b.stage);
    heard(&b, "");
    /* The order of the channels is the table's. */
    char both[2][32] = {"SUBSCRIBE a b", "SUBSCRIBE b a"};
    bool a_first = stage_peek(&b.stage, &b.client, both[0]);
    expect(&b, both[a_first ? 0 : 1]);
    confirm(&b, "subscribe", a_first ? "a" : "b");
    confirm(&b, "subscribe", a_first ? "b" : "a");
    heard(&b, a_first ? "gap1 on4 on3 " : "on3 gap1 on4 ");
    publish(&b, "a", "x");
    heard(&b, "m1=x m4=x ");
    lose_connection(&b);
    lose_connection(&b);
    lose_connection(&b); /* never confirmed in between: one gap */
    a_first = stage_peek(&b.stage, &b.client, both[0]);
    expect(&b, both[a_first ? 0 : 1]);
    confirm(&b, "subscribe", a_first ? "a" : "b");
    confirm(&b, "subscribe", a_first ? "b" : "a");
    heard(&b, a_first ? "gap1 gap4 gap3 " : "gap3 gap1 gap4 ");
    end(&b);
}

static void a_refusal_hits_one_channel(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    follow(&b, 3, "secret");
    follow(&b, 4, "secret");
    follow(&b, 5, "d");
    expect(&b, "SUBSCRIBE b");
    say(&b, "-NOPERM no permissions\r\n");
    heard(&b, "refused2=NOPERM no permissions ");
    expect(&b, "SUBSCRIBE secret d");
    say(&b, "-NOPERM one of them\r\n");
    heard(&b, "");
    expect(&b, "SUBSCRIBE secret");
    expect(&b, "SUBSCRIBE d");
    say(&b, "-NOPERM the first\r\n");
    confirm(&b, "subscribe", "d");
    heard(&b, "refused3=NOPERM the first refused4=NOPERM the first on5 ");
    follow(&b, 6, "secret"); /* nobody remembers */
    expect(&b, "SUBSCRIBE secret");
    confirm(&b, "subscribe", "secret");
    heard(&b, "on6 ");
    end(&b);
}

static void a_right_that_was_withdrawn_ends_a_feed(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    lose_connection(&b);
    expect(&b, "SUBSCRIBE a");
    say(&b, "-NOPERM not any more\r\n");
    heard(&b, "ended1=NOPERM not any more ");
    assert_int_equal(pubsub_figures(b.pubsub).feeds, 0);
    end(&b);
}

static void channels_go_in_batches(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    char name[1024];
    for (unsigned i = 1; i <= 2500; i++) {
        snprintf(name, sizeof(name), "c%u", i);
        follow(&b, i, name);
    }
    memset(name, 'x', 1000);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name + 1000, sizeof(name) - 1000, "%u", i);
        follow(&b, 5000 + i, name);
    }
    b.client = stage_greet(&b.stage);
    unsigned words[4];
    for (unsigned i = 0; i < 4; i++)
        words[i] = stage_expect_words(&b.stage, &b.client, "SUBSCRIBE");
    assert_int_equal(words[0], 1001);
    assert_int_equal(words[1], 1001);
    assert_int_equal(words[2] + words[3], 500 + 100 + 2);
    assert_in_range(words[2], 500 + 60, 500 + 70);
    expect_nothing(&b);
    end(&b);
}

static void a_wrong_confirmation_ends_the_connection(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    expect(&b, "SUBSCRIBE b");
    confirm(&b, "subscribe", "other");
    heard(&b, "");
    assert_non_null(strstr(b.stage.said, "confirms another channel"));
    stage_hang_up(&b.stage, &b.client);
    b.client = stage_greet(&b.stage);
    end(&b);
    assert_int_equal(b.heard.n, 0);
}

/* What Redis never says. Either nothing comes of it or the connection ends. */
static void odd_events_do_no_harm(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n",
        "*3\r\n$7\r\nmessage\r\n:1\r\n*0\r\n",
        "*2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$-1\r\n:1\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        "*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        "*3\r\n*0\r\n*0\r\n*0\r\n",
        "*0\r\n",
        "*-1\r\n",
        "$-1\r\n",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct bench b;
        begin_with_feed(&b);
        say(&b, odd[i]);
        heard(&b, "");
        end(&b);
    }
}

static void life_signs_do_not_disturb(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    stage_pass(&b.stage, 5000);
    expect(&b, "PING");
    follow(&b, 2, "b");
    expect(&b, "SUBSCRIBE b");
    say(&b, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    heard(&b, "");
    confirm(&b, "subscribe", "b");
    heard(&b, "on2 ");
    leave(&b, 1);
    leave(&b, 2);
    expect(&b, "UNSUBSCRIBE a");
    confirm(&b, "unsubscribe", "a");
    expect(&b, "UNSUBSCRIBE b");
    confirm(&b, "unsubscribe", "b");
    stage_pass(&b.stage, 5000);
    expect(&b, "PING"); /* not subscribed: answered in the other way */
    say(&b, "+PONG\r\n");
    follow(&b, 3, "c");
    expect(&b, "SUBSCRIBE c");
    confirm(&b, "subscribe", "c");
    heard(&b, "off1 off2 on3 ");
    end(&b);
}

static void feeds_end_from_inside_a_message(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "a");
    follow(&b, 3, "a");
    heard(&b, "on2 on3 ");
    b.leave_from = 1;
    b.leave = 2;
    publish(&b, "a", "x");
    heard(&b, "m1=x off2 m3=x ");
    b.leave = 1;
    publish(&b, "a", "y");
    heard(&b, "m1=y off1 m3=y ");
    b.leave_from = b.leave = 3;
    publish(&b, "a", "z");
    heard(&b, "m3=z off3 ");
    expect(&b, "UNSUBSCRIBE a");
    end(&b);
}

static void stopping_answers_who_waits(void **state)
{
    (void)state;
    struct bench b;
    begin_with_feed(&b);
    follow(&b, 2, "b");
    pubsub_stop(b.pubsub);
    heard(&b, "no2 ");
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_subscription_serves_all),
        cmocka_unit_test(what_comes_meanwhile_goes_together),
        cmocka_unit_test(leaving_and_coming_back),
        cmocka_unit_test(nobody_is_left_at_the_confirmation),
        cmocka_unit_test(a_farewell_is_taken_back),
        cmocka_unit_test(a_loss_is_a_gap_for_each_feed),
        cmocka_unit_test(a_refusal_hits_one_channel),
        cmocka_unit_test(a_right_that_was_withdrawn_ends_a_feed),
        cmocka_unit_test(channels_go_in_batches),
        cmocka_unit_test(a_wrong_confirmation_ends_the_connection),
        cmocka_unit_test(odd_events_do_no_harm),
        cmocka_unit_test(life_signs_do_not_disturb),
        cmocka_unit_test(feeds_end_from_inside_a_message),
        cmocka_unit_test(stopping_answers_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
