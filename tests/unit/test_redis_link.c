/* The connection that keeps itself alive, against a server that says what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "bus/redis_link.h"
#include "bus/redis_reply.h"
#include "redis_stage.h"

struct bench {
    struct stage stage;
    struct redis_config *config;
    struct redis_link *link;
    unsigned ups, downs;
    char words[256];        /* of the last `down` */
    char trail[512];        /* what was settled: "name=fate " */
    struct link_call *send; /* to be sent from inside `up` */
    bool stop_in_done;
};

struct named_call {
    struct link_call call;
    struct bench *bench;
    char name[8];
};

static void on_up(void *owner)
{
    struct bench *b = owner;
    b->ups++;
    if (!b->send) return;
    assert_int_equal(link_send(b->link, b->send, 1, (const char *[]){"FIRST"}, (size_t[]){5}), 0);
    b->send = NULL;
}

static void on_down(void *owner, const char *words)
{
    struct bench *b = owner;
    b->downs++;
    snprintf(b->words, sizeof(b->words), "%s", words);
}

static void on_done(struct link_call *c, enum call_fate fate, const struct redisReply *reply)
{
    static const char *const fates[] = {
        [CALL_ANSWERED] = "", [CALL_UNSENT] = "unsent", [CALL_LOST] = "lost"};
    struct named_call *n = CONTAINER_OF(c, struct named_call, call);
    struct bench *b = n->bench;
    size_t used = strlen(b->trail);
    snprintf(b->trail + used, sizeof(b->trail) - used, "%s=%s ", n->name,
             fate == CALL_ANSWERED ? reply->str : fates[fate]);
    free(n);
    if (b->stop_in_done) {
        b->stop_in_done = false;
        link_stop(b->link);
    }
}

static const struct link_ops ops = {.up = on_up, .down = on_down};

static void begin_with(struct bench *b, const char *option, const char *text)
{
    *b = (struct bench){0};
    stage_init(&b->stage);
    if (option) stage_set(&b->stage, option, text);
    b->config = stage_config(&b->stage);
    struct link_spec spec = {.host = &b->stage.host,
                             .config = b->config,
                             .name = "test",
                             .ops = &ops,
                             .owner = b,
                             .queue_bytes = 1000};
    b->link = link_new(&spec);
}

static void begin(struct bench *b)
{
    begin_with(b, NULL, NULL);
    stage_server_up(&b->stage);
    link_start(b->link);
}

static void end(struct bench *b)
{
    link_stop(b->link);
    link_free(b->link);
    redis_config_free(b->config);
    stage_done(&b->stage);
}

static struct named_call *new_call(struct bench *b, const char *name, bool keep)
{
    struct named_call *n = mem_zero(sizeof(*n));
    n->bench = b;
    n->call.done = on_done;
    n->call.keep = keep;
    snprintf(n->name, sizeof(n->name), "%s", name);
    return n;
}

static struct link_call *send_call(struct bench *b, const char *name, bool keep)
{
    struct named_call *n = new_call(b, name, keep);
    size_t len = strlen(name);
    assert_int_equal(link_send(b->link, &n->call, 1, &name, &len), 0);
    return &n->call;
}

/* ---- cases -------------------------------------------------------------------------------- */

static void greets_and_answers_in_order(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_accept(&b.stage);
    stage_expect(&b.stage, &c, "CLIENT SETNAME wsbus-test");
    stage_expect(&b.stage, &c, "PING");
    stage_say(&b.stage, &c, "-ERR unknown command\r\n");
    assert_false(link_ready(b.link));
    stage_say(&b.stage, &c, "+PONG\r\n");
    assert_true(link_ready(b.link));
    assert_int_equal(b.ups, 1);
    send_call(&b, "A", false);
    send_call(&b, "B", false);
    assert_int_equal(link_queued(b.link), 2 * strlen("*1\r\n$1\r\nA\r\n"));
    stage_expect(&b.stage, &c, "A");
    stage_expect(&b.stage, &c, "B");
    stage_say(&b.stage, &c, "+one\r\n$3\r\ntw");
    assert_string_equal(b.trail, "A=one ");
    stage_say(&b.stage, &c, "o\r\n");
    assert_string_equal(b.trail, "A=one B=two ");
    assert_int_equal(link_queued(b.link), 0);
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void logs_in_and_selects(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, NULL, NULL);
    redis_config_free(b.config);
    link_free(b.link);
    char url[128];
    snprintf(url, sizeof(url), "redis+unix://al%%40ice:p%%2Fw@%s?db=7", b.stage.path);
    stage_set(&b.stage, "url", url);
    b.config = stage_config(&b.stage);
    struct link_spec spec = {.host = &b.stage.host,
                             .config = b.config,
                             .name = "test",
                             .ops = &ops,
                             .owner = &b,
                             .queue_bytes = 1000,
                             .want_id = true};
    b.link = link_new(&spec);
    stage_server_up(&b.stage);
    link_start(b.link);
    struct stage_client c = stage_accept(&b.stage);
    stage_expect(&b.stage, &c, "AUTH al@ice p/w");
    stage_expect(&b.stage, &c, "SELECT 7");
    stage_expect(&b.stage, &c, "CLIENT SETNAME wsbus-test");
    stage_expect(&b.stage, &c, "CLIENT ID");
    stage_expect(&b.stage, &c, "PING");
    stage_say(&b.stage, &c, "+OK\r\n+OK\r\n+OK\r\n:42\r\n+PONG\r\n");
    assert_true(link_ready(b.link));
    assert_int_equal(link_client_id(b.link), 42);
    stage_hang_up(&b.stage, &c);
    assert_int_equal(link_client_id(b.link), 0);
    end(&b);
}

/* The words of a refusal are logged once for each change, and no attempt follows at once. */
static void refusals_are_retried_and_told_once(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    static const char *const errors[] = {"-NOAUTH Authentication required.\r\n",
                                         "-NOAUTH Authentication required.\r\n",
                                         "-LOADING Redis is loading the dataset in memory\r\n"};
    for (size_t i = 0; i < 3; i++) {
        struct stage_client c = stage_accept(&b.stage);
        stage_expect(&b.stage, &c, "CLIENT SETNAME wsbus-test");
        stage_expect(&b.stage, &c, "PING");
        stage_say(&b.stage, &c, "+OK\r\n");
        stage_say(&b.stage, &c, errors[i]);
        assert_int_equal(b.downs, i + 1);
        assert_false(link_ready(b.link));
        stage_hang_up(&b.stage, &c);
    }
    const char *first = strstr(b.stage.said, "NOAUTH");
    assert_non_null(first);
    assert_null(strstr(first + 1, "NOAUTH"));
    assert_non_null(strstr(b.stage.said, "LOADING"));
    assert_int_equal(b.ups, 0);
    struct stage_client c = stage_greet(&b.stage);
    assert_true(link_ready(b.link));
    assert_non_null(strstr(b.stage.said, "connected to"));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void what_was_not_written_outlives_a_loss(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    send_call(&b, "EARLY", true);
    send_call(&b, "GONE", false);
    assert_string_equal(b.trail, "");
    stage_turn(&b.stage);
    stage_turn(&b.stage);
    assert_string_equal(b.trail, "GONE=unsent ");
    struct stage_client c = stage_greet(&b.stage);
    stage_expect(&b.stage, &c, "EARLY");
    stage_hang_up(&b.stage, &c);
    assert_string_equal(b.trail, "GONE=unsent EARLY=lost ");
    assert_int_equal(b.downs, 1);
    send_call(&b, "KEPT", true);
    struct link_call *back = send_call(&b, "BACK", true);
    assert_true(link_cancel(b.link, back));
    free(CONTAINER_OF(back, struct named_call, call));
    struct named_call *first = new_call(&b, "FIRST", false);
    b.send = &first->call;
    c = stage_greet(&b.stage);
    stage_expect(&b.stage, &c, "FIRST");
    stage_expect(&b.stage, &c, "KEPT");
    stage_say(&b.stage, &c, "+1\r\n+2\r\n");
    assert_string_equal(b.trail, "GONE=unsent EARLY=lost FIRST=1 KEPT=2 ");
    stage_expect_nothing(&b.stage, &c);
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void a_written_call_is_not_taken_back(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_greet(&b.stage);
    struct link_call *call = send_call(&b, "A", true);
    stage_expect(&b.stage, &c, "A");
    assert_false(link_cancel(b.link, call));
    stage_say(&b.stage, &c, "+late\r\n");
    assert_string_equal(b.trail, "A=late ");
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void the_queue_has_a_cap(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    char big[990];
    memset(big, 'x', sizeof(big));
    const char *word = big;
    size_t len = sizeof(big);
    struct named_call *n = new_call(&b, "BIG", true);
    assert_int_equal(link_send(b.link, &n->call, 1, &word, &len), -1);
    len = 500;
    assert_int_equal(link_send(b.link, &n->call, 1, &word, &len), 0);
    struct named_call *second = new_call(&b, "TWO", true);
    assert_int_equal(link_send(b.link, &second->call, 1, &word, &len), -1);
    free(second);
    end(&b);
    assert_string_equal(b.trail, "BIG=unsent ");
}

/* It reads when it likes: nothing is lost, doubled or out of order, and slowness is no death. */
static void a_slow_server_is_waited_for(void **state)
{
    (void)state;
    enum { COMMANDS = 100, SIZE = 50000 };
    struct bench b;
    begin(&b);
    link_free(b.link);
    struct link_spec spec = {.host = &b.stage.host,
                             .config = b.config,
                             .name = "test",
                             .ops = &ops,
                             .owner = &b,
                             .queue_bytes = 1 << 24};
    b.link = link_new(&spec);
    link_start(b.link);
    struct stage_client c = stage_greet(&b.stage);
    static char text[SIZE + 1];
    memset(text, 'x', SIZE);
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct named_call *n = new_call(&b, "", false);
        snprintf(text, 8, "%u", i);
        text[strlen(text)] = 'x';
        const char *word = text;
        size_t len = SIZE;
        assert_int_equal(link_send(b.link, &n->call, 1, &word, &len), 0);
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        snprintf(text, 8, "%u", i);
        text[strlen(text)] = 'x';
        stage_expect(&b.stage, &c, text);
        stage_pass(&b.stage, 1000);
    }
    assert_int_equal(b.downs, 0);
    stage_expect(&b.stage, &c, "PING");
    for (unsigned i = 0; i < COMMANDS; i++)
        stage_say(&b.stage, &c, "+\r\n");
    stage_say(&b.stage, &c, "+PONG\r\n");
    assert_int_equal(link_queued(b.link), 0);
    assert_true(link_ready(b.link));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

/* Frozen: a PING at half of the time, the end at all of it; a byte in between saves. */
static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_greet(&b.stage);
    stage_pass(&b.stage, 4999);
    stage_expect_nothing(&b.stage, &c);
    stage_pass(&b.stage, 1);
    stage_expect(&b.stage, &c, "PING");
    stage_pass(&b.stage, 4000);
    stage_say(&b.stage, &c, "+PONG\r\n");
    stage_pass(&b.stage, 4000);
    assert_true(link_ready(b.link));
    stage_expect_nothing(&b.stage, &c);
    stage_pass(&b.stage, 1000);
    stage_expect(&b.stage, &c, "PING");
    send_call(&b, "A", true);
    stage_expect(&b.stage, &c, "A");
    stage_pass(&b.stage, 4999);
    assert_int_equal(b.downs, 0);
    stage_pass(&b.stage, 1);
    assert_int_equal(b.downs, 1);
    assert_string_equal(b.trail, "A=lost ");
    assert_non_null(strstr(b.words, "no sign of life"));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

/* We stood still, and the server was never asked. */
static void a_silence_of_ours_is_none_of_the_server(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_greet(&b.stage);
    for (int i = 0; i < 2; i++) {
        stage_pass(&b.stage, 60000);
        assert_true(link_ready(b.link));
        stage_expect(&b.stage, &c, "PING");
        stage_pass(&b.stage, 4000);
        stage_say(&b.stage, &c, "+PONG\r\n");
    }
    stage_pass(&b.stage, 60000);
    stage_expect(&b.stage, &c, "PING");
    stage_pass(&b.stage, 4999);
    assert_int_equal(b.downs, 0);
    stage_pass(&b.stage, 1);
    assert_int_equal(b.downs, 1);
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void a_login_that_takes_too_long_fails(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_accept(&b.stage);
    stage_expect(&b.stage, &c, "CLIENT SETNAME wsbus-test");
    stage_pass(&b.stage, 5000);
    assert_int_equal(b.downs, 1);
    assert_non_null(strstr(b.words, "login"));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void nonsense_ends_the_connection(void **state)
{
    (void)state;
    static const char *const nonsense[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "+nobody asked\r\n",
        "*99999999\r\n",
        "*2147483647\r\n",
        "$-5\r\n",
        ",1.5\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    };
    struct bench b;
    begin(&b);
    for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        struct stage_client c = stage_greet(&b.stage);
        assert_int_equal(b.ups, i + 1);
        stage_say(&b.stage, &c, nonsense[i]);
        assert_int_equal(b.downs, i + 1);
        stage_hang_up(&b.stage, &c);
    }
    end(&b);
}

static void pauses_grow_and_have_an_end(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, NULL, NULL);
    link_start(b.link); /* the server is down */
    uint64_t longest = 0;
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = b.downs;
        uint64_t waited = 0;
        while (b.downs == before && waited <= 5000) {
            stage_pass(&b.stage, 1);
            waited++;
        }
        assert_int_equal(b.downs, before + 1);
        if (i == 1) assert_true(waited <= 51);
        if (i == 2) assert_true(waited <= 251);
        if (waited > longest) longest = waited;
    }
    assert_in_range(longest, 2500, 5001);
    stage_server_up(&b.stage);
    struct stage_client c = stage_greet(&b.stage);
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void a_pause_can_be_cut_short(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, NULL, NULL);
    link_start(b.link);
    while (b.downs < 10)
        stage_pass(&b.stage, 10);
    stage_server_up(&b.stage);
    link_hasten(b.link);
    stage_pass(&b.stage, 50);
    stage_turn(&b.stage);
    assert_int_equal(link_state(b.link), LINK_GREETING);
    struct stage_client c = stage_greet(&b.stage);
    link_hasten(b.link);
    assert_true(link_ready(b.link));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

static void restarts_on_demand(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    link_restart(b.link, "too early");
    struct stage_client c = stage_greet(&b.stage);
    link_restart(b.link, "because");
    assert_true(link_ready(b.link));
    stage_turn(&b.stage);
    stage_turn(&b.stage);
    assert_string_equal(b.words, "because");
    stage_hang_up(&b.stage, &c);
    c = stage_greet(&b.stage);
    assert_int_equal(b.ups, 2);
    assert_int_equal(link_figures(b.link).connections, 2);
    stage_hang_up(&b.stage, &c);
    end(&b);
}

/* All calls are settled before link_stop() returns, also from inside a callback. */
static void stops_from_inside(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct stage_client c = stage_greet(&b.stage);
    send_call(&b, "A", true);
    send_call(&b, "B", true);
    stage_expect(&b.stage, &c, "A");
    stage_expect(&b.stage, &c, "B");
    send_call(&b, "C", true);
    b.stop_in_done = true;
    stage_say(&b.stage, &c, "+1\r\n+2\r\n");
    assert_true(strncmp(b.trail, "A=1 B=lost C=", 13) == 0);
    assert_int_equal(link_state(b.link), LINK_STOPPED);
    assert_int_equal(b.downs, 0);
    send_call(&b, "D", true);
    stage_turn(&b.stage);
    stage_turn(&b.stage);
    assert_non_null(strstr(b.trail, "D=unsent"));
    stage_hang_up(&b.stage, &c);
    end(&b);
}

/* The look-up ends after the link is gone. */
static void a_look_up_may_outlive_its_link(void **state)
{
    (void)state;
    struct bench b;
    begin_with(&b, "url", "redis://localhost:1");
    link_start(b.link);
    stage_turn(&b.stage); /* the look-up has begun */
    assert_non_null(b.stage.jobs);
    end(&b);
}

static void tells_errors_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum wsbus_status status;
    } errors[] = {
        {"LOADING Redis is loading", WSBUS_UNAVAILABLE},
        {"CLUSTERDOWN Hash slot not served", WSBUS_UNAVAILABLE},
        {"MASTERDOWN Link with MASTER is down", WSBUS_UNAVAILABLE},
        {"TRYAGAIN Multiple keys", WSBUS_UNAVAILABLE},
        {"BUSY Redis is busy", WSBUS_BUSY},
        {"BUSYGROUP Consumer Group name already exists", WSBUS_REFUSED},
        {"NOPERM this user has no permissions", WSBUS_REFUSED},
        {"OOM command not allowed", WSBUS_REFUSED},
    };
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s", errors[i].text);
        struct redisReply r = {.type = REDIS_REPLY_ERROR, .str = text, .len = strlen(text)};
        assert_int_equal(reply_status(&r), errors[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greets_and_answers_in_order),
        cmocka_unit_test(logs_in_and_selects),
        cmocka_unit_test(refusals_are_retried_and_told_once),
        cmocka_unit_test(what_was_not_written_outlives_a_loss),
        cmocka_unit_test(a_written_call_is_not_taken_back),
        cmocka_unit_test(the_queue_has_a_cap),
        cmocka_unit_test(a_slow_server_is_waited_for),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(a_silence_of_ours_is_none_of_the_server),
        cmocka_unit_test(a_login_that_takes_too_long_fails),
        cmocka_unit_test(nonsense_ends_the_connection),
        cmocka_unit_test(pauses_grow_and_have_an_end),
        cmocka_unit_test(a_pause_can_be_cut_short),
        cmocka_unit_test(restarts_on_demand),
        cmocka_unit_test(stops_from_inside),
        cmocka_unit_test(a_look_up_may_outlive_its_link),
        cmocka_unit_test(tells_errors_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
