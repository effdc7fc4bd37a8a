/* Entries of a stream as messages, and the way back. */
#include <stdio.h>
#include <stdlib.h>

#include "redis_text.h"

#include "base/json_scan.h"
#include "bus/redis_entry.h"
#include "bus/redis_id.h"

static const struct redis_rule plain = {.payload = "data", .key = "key"};

static struct wsbus_message *message_of(const char *text, const struct redis_rule *rule)
{
    struct entry_room room = {0};
    struct redis_entry e, *copy;
    struct wsbus_message *m;
    redisReply *r = redis_text(text);
    assert_int_equal(entry_parse(r, &room, &e), 0);
    copy = entry_copy(&e);
    entry_room_done(&room);
    freeReplyObject(r);
    m = entry_message(copy, rule);
    free(copy);
    return m;
}

static void payload_is(const struct wsbus_message *m, const char *text)
{
    assert_int_equal(m->payload_len, strlen(text));
    assert_memory_equal(m->payload, text, strlen(text));
}

static void a_field_is_the_payload(void **state)
{
    struct wsbus_message *m =
        message_of("*2 $ 1699999999999-7 *8 $ a $ 1 $ data $ hello $ key $ k $ b $ ", &plain);
    (void)state;
    payload_is(m, "hello");
    assert_true(m->pos.hi == 1699999999999 && m->pos.lo == 7 && m->pos.partition == 0);
    assert_int_equal(m->ts, 1699999999999);
    assert_int_equal(m->key_len, 1);
    assert_memory_equal(m->key, "k", 1);
    assert_int_equal(m->header_count, 2);
    assert_memory_equal(m->headers[0].name, "a", 1);
    assert_memory_equal(m->headers[0].value, "1", 1);
    assert_memory_equal(m->headers[1].name, "b", 1);
    assert_int_equal(m->headers[1].value_len, 0);
    wsbus_message_unref(m);
}

static void empty_is_not_missing(void **state)
{
    struct wsbus_message *m = message_of("*2 $ 1-0 *4 $ data $  $ key $ ", &plain);
    (void)state;
    assert_non_null(m->payload);
    assert_int_equal(m->payload_len, 0);
    assert_non_null(m->key);
    assert_int_equal(m->key_len, 0);
    wsbus_message_unref(m);
    m = message_of("*2 $ 1-0 *2 $ data $ x", &plain);
    assert_null(m->key);
    assert_int_equal(m->header_count, 0);
    wsbus_message_unref(m);
}

static void the_rule_names_the_fields(void **state)
{
    const struct redis_rule rule = {.payload = "payload", .key = "id"};
    struct wsbus_message *m = message_of("*2 $ 1-0 *6 $ data $ d $ payload $ p $ id $ 7", &rule);
    (void)state;
    payload_is(m, "p");
    assert_memory_equal(m->key, "7", 1);
    assert_int_equal(m->header_count, 1);
    assert_memory_equal(m->headers[0].name, "data", 4);
    wsbus_message_unref(m);
}

static void repeated_fields_are_headers(void **state)
{
    struct wsbus_message *m =
        message_of("*2 $ 1-0 *8 $ data $ 1 $ data $ 2 $ key $ a $ key $ b", &plain);
    (void)state;
    payload_is(m, "1");
    assert_memory_equal(m->key, "a", 1);
    assert_int_equal(m->header_count, 2);
    assert_memory_equal(m->headers[0].value, "2", 1);
    assert_memory_equal(m->headers[1].value, "b", 1);
    wsbus_message_unref(m);
}

static void without_a_payload_it_is_an_object(void **state)
{
    struct wsbus_message *m = message_of(
        "*2 $ 1-0 *10 $ temp $ 21.5 $ key $ k1 $ say $ \"hi\" $ bin $ \xff\xfe $ bad\xff $ x",
        &plain);
    (void)state;
    payload_is(m, "{\"temp\":\"21.5\",\"key\":\"k1\",\"say\":\"\\\"hi\\\"\","
                  "\"bin\":{\"binary\":\"//4=\"}}");
    assert_true(json_valid(span_of(m->payload, m->payload_len)));
    assert_memory_equal(m->key, "k1", 2);
    assert_int_equal(m->header_count, 0);
    wsbus_message_unref(m);
    m = message_of("*2 $ 1-0 *8 $ b $ 1 $ a $ 2 $ b $ 3 $ b $ 4", &plain);
    payload_is(m, "{\"b\":[\"1\",\"3\",\"4\"],\"a\":\"2\"}");
    assert_null(m->key);
    wsbus_message_unref(m);
    m = message_of("*2 $ 1-0 *2 $  $ ", &plain);
    payload_is(m, "{\"\":\"\"}");
    wsbus_message_unref(m);
    m = message_of("*2 $ 1-0 *0", &plain);
    payload_is(m, "{}");
    wsbus_message_unref(m);
}

static void times_beyond_the_clock(void **state)
{
    struct wsbus_message *m = message_of("*2 $ 18446744073709551615-1 *2 $ data $ x", &plain);
    (void)state;
    assert_true(m->ts == INT64_MAX);
    wsbus_message_unref(m);
}

static void what_is_no_entry(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* that could be read all the same */
    } rows[] = {
        {":1", 0},
        {"$ 1-0", 0},
        {"*0", 0},
        {"*2 $ x *2 $ a $ b", 0},
        {"*2 :1 *2 $ a $ b", 0},
        {"*1 $ 5-0", 5},
        {"*2 $ 5-0 $-1", 5},
        {"*2 $ 5-0 *1 $ a", 5},
        {"*2 $ 5-0 *2 $ a :1", 5},
    };
    struct entry_room room = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        redisReply *r = redis_text(rows[i].text);
        struct redis_entry e;
        assert_int_equal(entry_parse(r, &room, &e), -1);
        assert_int_equal(e.pos.hi, rows[i].ms);
        assert_int_equal(e.count, 0);
        freeReplyObject(r);
    }
    entry_room_done(&room);
}

static void many_fields_do_not_cost_their_square(void **state)
{
    enum { MANY = 100000 };
    struct span *fields = malloc(2 * MANY * sizeof *fields);
    char(*names)[8] = malloc(MANY * sizeof *names);
    struct redis_entry e = {.count = MANY, .fields = fields};
    struct wsbus_message *m;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        int n = snprintf(names[i], sizeof names[i], "%d", i % 5 ? i : 0);
        fields[2 * i] = fields[2 * i + 1] = span_of(names[i], (size_t)n);
    }
    m = entry_message(&e, &plain);
    assert_true(json_valid(span_of(m->payload, m->payload_len)));
    wsbus_message_unref(m);
    free(names);
    free(fields);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_the_payload),
        cmocka_unit_test(empty_is_not_missing),
        cmocka_unit_test(the_rule_names_the_fields),
        cmocka_unit_test(repeated_fields_are_headers),
        cmocka_unit_test(without_a_payload_it_is_an_object),
        cmocka_unit_test(times_beyond_the_clock),
        cmocka_unit_test(what_is_no_entry),
        cmocka_unit_test(many_fields_do_not_cost_their_square),
    };
    return cmocka_run_group_tests_name("redis_entry", tests, NULL, NULL);
}
