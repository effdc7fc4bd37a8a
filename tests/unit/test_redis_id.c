/* Ids of entries: text, order, neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bus/redis_id.h"
#include "protocol/cursor.h"

static void text_and_back(void **state)
{
    static const struct {
        const char *text;
        uint64_t hi, lo;
    } rows[] = {
        {"0-0", 0, 0},
        {"0-1", 0, 1},
        {"1699999999999-0", 1699999999999, 0},
        {"1-18446744073709551615", 1, UINT64_MAX},
        {"18446744073709551615-18446744073709551615", UINT64_MAX, UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wsbus_pos pos = {.epoch = 7};
        char text[REDIS_ID_MAX];
        assert_int_equal(redis_pos_parse(rows[i].text, strlen(rows[i].text), &pos), 0);
        assert_true(pos.hi == rows[i].hi && pos.lo == rows[i].lo && pos.epoch == 0);
        assert_string_equal(redis_id_text(&pos, text), rows[i].text);
    }
}

static void broken_text(void **state)
{
    static const char *const broken[] = {
        "",
        "-",
        "1",
        "1-",
        "-1",
        "01-1",
        "1-01",
        "1-1-",
        "+1-1",
        " 1-1",
        "1-1 ",
        "1--1",
        "a-1",
        "0x1-1",
        "1-*",
        "*",
        "$",
        "1-1-1",
        "18446744073709551616-0",
        "0-18446744073709551616",
    };
    struct wsbus_pos pos = {.hi = 5};
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(redis_pos_parse(broken[i], strlen(broken[i]), &pos), -1);
    assert_int_equal(redis_pos_parse("1-1\0", 4, &pos), -1);
    assert_int_equal(pos.hi, 5);
}

static void neighbours(void **state)
{
    struct wsbus_pos last = {.hi = 3, .lo = UINT64_MAX}, next = redis_id_next(last), back;
    struct wsbus_pos greatest = {.hi = UINT64_MAX, .lo = UINT64_MAX};
    (void)state;
    assert_true(next.hi == 4 && next.lo == 0);
    back = pos_before(next);
    assert_int_equal(pos_compare(&back, &last), 0);
    next = redis_id_next((struct wsbus_pos){.hi = 3, .lo = 8});
    assert_true(next.hi == 3 && next.lo == 9);
    next = redis_id_next(greatest);
    assert_int_equal(pos_compare(&next, &greatest), 0);
}

static void times(void **state)
{
    struct wsbus_pos pos = redis_id_at(1699999999999);
    (void)state;
    assert_true(pos.hi == 1699999999999 && pos.lo == 0);
    pos = redis_id_at(-5);
    assert_true(pos.hi == 0 && pos.lo == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(broken_text),
        cmocka_unit_test(neighbours),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests_name("redis_id", tests, NULL, NULL);
}
