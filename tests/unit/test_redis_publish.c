/* What becomes of a publish, against a server that says what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/mem.h"
#include "bus/redis_publish.h"
#include "redis_stage.h"

struct bench {
    struct stage stage;
    struct redis_config *config;
    struct redis_link *link;
    struct redis_publish *publish;
    struct wsbus_value rule[4];
    struct buf heard;
    struct stage_client client;
};

static void on_published(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                         const struct wsbus_pos *pos, int64_t receivers)
{
    static const char *const names[] = {
        [WSBUS_OK] = "ok",           [WSBUS_BAD_REQUEST] = "bad",
        [WSBUS_BUSY] = "busy",       [WSBUS_UNAVAILABLE] = "unavailable",
        [WSBUS_REFUSED] = "refused", [WSBUS_OUTCOME_UNKNOWN] = "unknown",
    };
    struct bench *b = CONTAINER_OF(CONTAINER_OF(h, struct stage, host), struct bench, stage);
    buf_printf(&b->heard, "%llu=%s", (unsigned long long)token, names[a->status]);
    if (pos)
        buf_printf(&b->heard, ":%llu-%llu", (unsigned long long)pos->hi,
                   (unsigned long long)pos->lo);
    else if (a->status == WSBUS_OK)
        buf_printf(&b->heard, ":%lld", (long long)receivers);
    if (a->status == WSBUS_REFUSED) buf_printf(&b->heard, "(%s)", a->words);
    buf_byte(&b->heard, ' ');
}

static void on_link(void *owner)
{
    (void)owner;
}

static void on_link_down(void *owner, const char *words)
{
    (void)owner;
    (void)words;
}

static const struct link_ops ops = {.up = on_link, .down = on_link_down};

static void begin(struct bench *b)
{
    *b = (struct bench){0};
    stage_init(&b->stage);
    stage_set(&b->stage, "publish_timeout", "2000");
    b->stage.host.published = on_published;
    buf_init(&b->heard, BUF_UNLIMITED);
    b->config = stage_config(&b->stage);
    struct link_spec spec = {.host = &b->stage.host,
                             .config = b->config,
                             .name = "commands",
                             .ops = &ops,
                             .owner = b,
                             .queue_bytes = 500};
    b->link = link_new(&spec);
    b->publish = publish_new(&b->stage.host, b->config, b->link);
    b->rule[REDIS_RULE_KIND].string = "stream";
    b->rule[REDIS_RULE_MAXLEN].number = 9;
    b->rule[REDIS_RULE_PAYLOAD].string = "data";
    b->rule[REDIS_RULE_KEY].string = "key";
    stage_server_up(&b->stage);
    link_start(b->link);
}

static void end(struct bench *b)
{
    link_stop(b->link);
    publish_free(b->publish);
    link_free(b->link);
    redis_config_free(b->config);
    stage_hang_up(&b->stage, &b->client);
    stage_done(&b->stage);
    buf_free(&b->heard);
}

static struct wsbus_publish message(const char *topic, const char *payload)
{
    return (struct wsbus_publish){
        .topic = {.name = topic, .name_len = strlen(topic)},
        .payload = payload,
        .payload_len = (uint32_t)strlen(payload),
        .partition = -1,
    };
}

static void send_text(struct bench *b, uint64_t token, const char *payload)
{
    struct wsbus_publish m = message("t", payload);
    publish_send(b->publish, token, &m);
}

static void heard(struct bench *b, const char *expected)
{
    buf_byte(&b->heard, '\0');
    assert_string_equal(b->heard.p, expected);
    buf_clear(&b->heard);
}

static void answers_with_receivers(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    send_text(&b, 1, "early");
    b.client = stage_greet(&b.stage);
    send_text(&b, 2, "x y");
    stage_expect(&b.stage, &b.client, "PUBLISH t early");
    stage_expect(&b.stage, &b.client, "PUBLISH t x y");
    stage_say(&b.stage, &b.client, ":3\r\n:0\r\n");
    heard(&b, "1=ok:3 2=ok:0 ");
    assert_int_equal(publish_pending(b.publish), 0);
    end(&b);
}

static void writes_entries_of_streams(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    b.client = stage_greet(&b.stage);
    struct wsbus_publish m = message("s", "p");
    m.topic.rule = b.rule;
    m.key = "k";
    m.key_len = 1;
    struct wsbus_header header = {"h", "v", 1, 1};
    m.headers = &header;
    m.header_count = 1;
    publish_send(b.publish, 1, &m);
    b.rule[REDIS_RULE_MAXLEN].number = 0;
    m.key = NULL;
    m.header_count = 0;
    publish_send(b.publish, 2, &m);
    stage_expect(&b.stage, &b.client, "XADD s MAXLEN ~ 9 * data p key k h v");
    stage_expect(&b.stage, &b.client, "XADD s * data p");
    stage_say(&b.stage, &b.client, "$4\r\n17-2\r\n+nonsense\r\n");
    heard(&b, "1=ok:17-2 2=unknown ");
    struct wsbus_header bad[] = {{"data", "v", 4, 1}, {"key", "v", 3, 1}};
    m.header_count = 1;
    for (unsigned i = 0; i < 2; i++) {
        m.headers = &bad[i];
        publish_send(b.publish, 3 + i, &m);
    }
    m.header_count = 0;
    m.partition = 1;
    publish_send(b.publish, 5, &m);
    heard(&b, "3=bad 4=bad 5=bad ");
    stage_expect_nothing(&b.stage, &b.client);
    end(&b);
}

/* In time, each in its own way, and nothing twice. */
static void deadlines_are_kept(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    b.client = stage_greet(&b.stage);
    send_text(&b, 1, "written");
    stage_expect(&b.stage, &b.client, "PUBLISH t written");
    stage_pass(&b.stage, 1000);
    send_text(&b, 2, "later");
    stage_expect(&b.stage, &b.client, "PUBLISH t later");
    stage_pass(&b.stage, 999);
    heard(&b, "");
    stage_pass(&b.stage, 1);
    heard(&b, "1=unknown ");
    stage_say(&b.stage, &b.client, ":1\r\n:2\r\n");
    heard(&b, "2=ok:2 ");
    stage_server_down(&b.stage);
    stage_hang_up(&b.stage, &b.client);
    send_text(&b, 3, "never written");
    stage_pass(&b.stage, 1999);
    heard(&b, "");
    stage_pass(&b.stage, 1);
    heard(&b, "3=unavailable ");
    stage_server_up(&b.stage);
    b.client = stage_greet(&b.stage);
    stage_expect_nothing(&b.stage, &b.client);
    end(&b);
}

static void a_loss_tells_what_was_written(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    b.client = stage_greet(&b.stage);
    send_text(&b, 1, "a");
    stage_expect(&b.stage, &b.client, "PUBLISH t a");
    stage_hang_up(&b.stage, &b.client);
    heard(&b, "1=unknown ");
    send_text(&b, 2, "b");
    b.client = stage_greet(&b.stage);
    stage_expect(&b.stage, &b.client, "PUBLISH t b");
    stage_say(&b.stage, &b.client, ":1\r\n");
    heard(&b, "2=ok:1 ");
    end(&b);
}

static void errors_keep_their_words(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    b.client = stage_greet(&b.stage);
    for (unsigned i = 1; i <= 4; i++)
        send_text(&b, i, "x");
    for (unsigned i = 1; i <= 4; i++)
        stage_expect(&b.stage, &b.client, "PUBLISH t x");
    stage_say(&b.stage, &b.client,
              "-NOPERM no\r\n-LOADING wait\r\n-MOVED 1 h:1\r\n-OOM too much\r\n");
    heard(&b, "1=refused(NOPERM no) 2=unavailable "
              "3=refused(MOVED 1 h:1 (Redis Cluster is not supported yet)) "
              "4=refused(OOM too much) ");
    assert_true(link_ready(b.link));
    send_text(&b, 5, "x");
    stage_expect(&b.stage, &b.client, "PUBLISH t x");
    stage_say(&b.stage, &b.client, "-READONLY You can't write against a read only replica.\r\n");
    heard(&b, "5=refused(READONLY You can't write against a read only replica.) ");
    stage_hang_up(&b.stage, &b.client);
    b.client = stage_greet(&b.stage);
    end(&b);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    char big[400];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    send_text(&b, 1, big);
    send_text(&b, 2, big);
    heard(&b, "2=busy ");
    b.client = stage_greet(&b.stage);
    stage_expect_words(&b.stage, &b.client, "PUBLISH");
    send_text(&b, 3, big);
    heard(&b, "3=busy "); /* written and not answered counts too */
    stage_say(&b.stage, &b.client, ":1\r\n");
    send_text(&b, 4, big);
    stage_expect_words(&b.stage, &b.client, "PUBLISH");
    heard(&b, "1=ok:1 ");
    end(&b);
}

static void on_drained(void *arg)
{
    struct bench *b = arg;
    buf_str(&b->heard, "drained ");
}

static void drains_in_time(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    b.client = stage_greet(&b.stage);
    send_text(&b, 1, "a");
    send_text(&b, 2, "b");
    publish_drain(b.publish, 100, on_drained, &b);
    stage_expect(&b.stage, &b.client, "PUBLISH t a");
    stage_expect(&b.stage, &b.client, "PUBLISH t b");
    stage_say(&b.stage, &b.client, ":1\r\n");
    heard(&b, "1=ok:1 ");
    stage_pass(&b.stage, 100);
    heard(&b, "2=unknown drained ");
    end(&b);
    begin(&b);
    b.client = stage_greet(&b.stage);
    stage_hang_up(&b.stage, &b.client);
    send_text(&b, 1, "a");
    publish_drain(b.publish, 100, on_drained, &b);
    heard(&b, "1=unavailable drained ");
    b.client = stage_greet(&b.stage);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_with_receivers),  cmocka_unit_test(writes_entries_of_streams),
        cmocka_unit_test(deadlines_are_kept),      cmocka_unit_test(a_loss_tells_what_was_written),
        cmocka_unit_test(errors_keep_their_words), cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(drains_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
