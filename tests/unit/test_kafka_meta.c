/* Questions about Kafka topics that nobody answers, because no broker is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <malloc.h>

#include "base/mem.h"
#include "bus/kafka_meta.h"
#include "redis_stage.h"

#define MANY 10000

static struct stage stage;

static struct kafka_config *nobody(struct wsbus_value **ret_values)
{
    char err[256];
    size_t n = 0;
    while (kafka_options[n].name)
        n++;
    struct wsbus_value *values = mem_zero(n * sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const char *text = kafka_options[i].fallback;
        if (strcmp(kafka_options[i].name, "url") == 0) text = "kafka://127.0.0.1:1";
        values[i].string = text;
        if (text) values[i].number = strtoll(text, NULL, 10);
    }
    *ret_values = values;
    return kafka_config_new(values, err, sizeof(err));
}

static void is_answered(struct meta_call *c, const struct kafka_topic *topic)
{
    (void)c;
    (void)topic;
    fail_msg("nobody turns the loop");
}

/* Of questions that are taken back before they were put nothing stays: clients choose the names. */
static void what_is_taken_back_is_forgotten(void **state)
{
    (void)state;
    char err[256], name[200];
    struct wsbus_value *values;
    struct kafka_config *config = nobody(&values);
    struct kafka_crew *crew = kafka_crew_new(&stage.host, 2);
    struct kafka_meta *meta = kafka_meta_new(&stage.host, config, crew, err, sizeof(err));
    struct meta_call first[8] = {{.done = is_answered}}, call = {.done = is_answered};
    assert_non_null(meta);
    for (int i = 0; i < 8; i++) { /* so many that those after them wait */
        first[i].done = is_answered;
        kafka_meta_ask(meta, &first[i], span_str("topic"), KAFKA_WANT_TIME, i);
    }
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < MANY; i++) {
        memset(name, 'n', sizeof(name));
        int n = snprintf(name, sizeof(name), "%d", i);
        name[n] = '.';
        kafka_meta_ask(meta, &call, span_of(name, sizeof(name)), KAFKA_WANT_EXTENT, 0);
        kafka_meta_cancel(&call);
    }
    size_t after = mallinfo2().uordblks;
    assert_true(after < before + MANY * sizeof(name) / 4);
    assert_int_equal(kafka_meta_open(meta), 8);
    for (int i = 0; i < 8; i++)
        kafka_meta_cancel(&first[i]);
    assert_int_equal(kafka_meta_open(meta), 0);
    kafka_meta_free(meta);
    kafka_crew_stop(crew);
    kafka_crew_free(crew);
    kafka_config_free(config);
    free(values);
}

/* Of two who ask the same, one leaves. */
static void the_other_one_still_waits(void **state)
{
    (void)state;
    char err[256];
    struct wsbus_value *values;
    struct kafka_config *config = nobody(&values);
    struct kafka_crew *crew = kafka_crew_new(&stage.host, 2);
    struct kafka_meta *meta = kafka_meta_new(&stage.host, config, crew, err, sizeof(err));
    struct meta_call calls[12] = {{.done = is_answered}};
    assert_non_null(meta);
    for (int i = 0; i < 12; i++) {
        calls[i].done = is_answered;
        kafka_meta_ask(meta, &calls[i], span_str(i < 6 ? "topic" : "other"), KAFKA_WANT_TIME,
                       i < 6 ? i : 0);
    }
    for (int i = 0; i < 11; i++)
        kafka_meta_cancel(&calls[i]);
    assert_true(calls[11].open);
    assert_int_equal(kafka_meta_open(meta), 1);
    kafka_meta_free(meta);
    assert_false(calls[11].open);
    kafka_crew_stop(crew);
    kafka_crew_free(crew);
    kafka_config_free(config);
    free(values);
}

static int setup(void **state)
{
    (void)state;
    stage_init(&stage);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stage_done(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_taken_back_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(the_other_one_still_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
