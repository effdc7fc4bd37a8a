/* Cursors: sorted positions, their order and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_pos.h"
#include "protocol/cursor.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct wsbus_pos pos(int32_t partition, uint64_t epoch, uint64_t hi, uint64_t lo)
{
    return (struct wsbus_pos){.partition = partition, .epoch = epoch, .hi = hi, .lo = lo};
}

static void assert_text(const struct wsbus_cursor *c, const char *text)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    cursor_write(&b, c, &fake_backend);
    if (!span_eq(buf_view(&b), span_str(text))) fail_msg("%.*s", (int)b.n, b.p);
    buf_free(&b);
}

static void makes_and_copies(void **state)
{
    (void)state;
    struct wsbus_cursor *c = cursor_new(3);
    c->pos[1].lo = 7;
    struct wsbus_cursor *copy = cursor_copy(c);
    cursor_free(c);
    assert_text(copy, "[\"0/0:0-0\",\"1/0:0-7\",\"2/0:0-0\"]");
    assert_int_equal(cursor_get(copy, 1)->lo, 7);
    assert_null(cursor_find(copy, 3));
    assert_null(cursor_find(copy, -1));
    assert_null(cursor_get(NULL, 0));
    cursor_free(copy);
    assert_null(cursor_copy(NULL));
    assert_text(NULL, "null");
    cursor_free(NULL);
}

static void puts_in_order(void **state)
{
    (void)state;
    static const int32_t order[] = {5, 1, INT32_MAX, 0, 3, 1, 5};
    struct wsbus_cursor *c = NULL;
    for (size_t i = 0; i < COUNT(order); i++) {
        struct wsbus_pos p = pos(order[i], 1, 0, i);
        cursor_put(&c, &p);
    }
    assert_text(c, "[\"0/1:0-3\",\"1/1:0-5\",\"3/1:0-4\",\"5/1:0-6\",\"2147483647/1:0-2\"]");
    assert_null(cursor_find(c, 2));
    assert_int_equal(cursor_find(c, 3)->lo, 4);
    cursor_free(c);
}

static void advances_only(void **state)
{
    (void)state;
    struct wsbus_cursor *c = NULL;
    struct wsbus_pos p = pos(0, 1, 5, 5);
    cursor_advance(&c, &p);
    p = pos(0, 1, 5, 4);
    cursor_advance(&c, &p);
    assert_text(c, "[\"0/1:5-5\"]");
    p = pos(0, 1, 6, 0);
    cursor_advance(&c, &p);
    assert_text(c, "[\"0/1:6-0\"]");
    p = pos(0, 2, 0, 1); /* another log */
    cursor_advance(&c, &p);
    assert_text(c, "[\"0/2:0-1\"]");
    cursor_free(c);
}

static void compares(void **state)
{
    (void)state;
    struct wsbus_pos a = pos(0, 1, 1, 9), b = pos(0, 1, 2, 0), max = pos(0, 1, 1, UINT64_MAX);
    assert_true(pos_compare(&a, &b) < 0);
    assert_true(pos_compare(&b, &a) > 0);
    assert_true(pos_compare(&a, &max) < 0);
    assert_true(pos_compare(&a, &a) == 0);
    assert_true(pos_comparable(&a, &b));
    struct wsbus_pos other = pos(0, 2, 1, 9);
    assert_false(pos_comparable(&a, &other));
    struct wsbus_pos before = pos_before(b);
    assert_true(before.hi == 1 && before.lo == UINT64_MAX);
    before = pos_before(a);
    assert_true(before.hi == 1 && before.lo == 8 && before.epoch == 1);
    before = pos_before(pos(3, 4, 0, 0));
    assert_true(before.hi == 0 && before.lo == 0 && before.epoch == 4 && before.partition == 3);
}

static int parse(const char *json, struct wsbus_cursor **ret)
{
    const char *why = NULL;
    int result = cursor_parse(span_str(json), &fake_backend, ret, &why);
    if (result != 0) assert_non_null(why);
    return result;
}

static void parses(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"[]", "[]"},
        {" [ ] ", "[]"},
        {"[\"0/1:2-3\"]", "[\"0/1:2-3\"]"},
        {"[ \"2/1:2-3\" , \"0/4:5-6\", \"10/0:0-0\" ]", "[\"0/4:5-6\",\"2/1:2-3\",\"10/0:0-0\"]"},
        {"[\"0\\/1:2-3\",\"\\u0031/1:2\\u002d3\"]", "[\"0/1:2-3\",\"1/1:2-3\"]"},
        {"[\"2147483647/18446744073709551615:0-18446744073709551615\"]",
         "[\"2147483647/18446744073709551615:0-18446744073709551615\"]"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wsbus_cursor *c = NULL;
        if (parse(rows[i][0], &c) != 0) fail_msg("refused: %s", rows[i][0]);
        assert_text(c, rows[i][1]);
        cursor_free(c);
    }
}

static void refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "null",
        "{}",
        "\"0/1:2-3\"",
        "1",
        "[1]",
        "[null]",
        "[[\"0/1:2-3\"]]",
        "[\"0/1:2-3\",{}]",
        "[\"\"]",
        "[\"0\"]",
        "[\"0/\"]",
        "[\"/1:2-3\"]",
        "[\"00/1:2-3\"]",
        "[\"01/1:2-3\"]",
        "[\"-1/1:2-3\"]",
        "[\"+1/1:2-3\"]",
        "[\" 0/1:2-3\"]",
        "[\"2147483648/1:2-3\"]",
        "[\"99999999999999999999/1:2-3\"]",
        "[\"a/1:2-3\"]",
        "[\"0/x\"]",
        "[\"0/1:2-3x\"]",
        "[\"0/1:2-3\",\"0/1:2-4\"]",
        "[\"0/1:2-3\",\"1/1:2-3\",\"0/1:2-3\"]",
        "[\"0/1:2-3\\u0000\"]",
        "[\"\\ud800/1:2-3\"]",
        "[\"0/1:2-3\\udc00\"]",
        "[\"0 /1:2-3\"]",
        "[\"0/1111111111111111111111111111111111111111111111111111111111111111:2-3\"]",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct wsbus_cursor *c = NULL;
        if (parse(bad[i], &c) == 0) fail_msg("accepted: %s", bad[i]);
        assert_null(c);
    }
    static const struct wsbus_backend without_log = {.name = "none"};
    const char *why = NULL;
    struct wsbus_cursor *c = NULL;
    assert_int_equal(cursor_parse(SPAN("[\"0/1\"]"), &without_log, &c, &why), -1);
}

static void bounds_count(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    for (int count = WSBUS_PARTITIONS_MAX; count <= WSBUS_PARTITIONS_MAX + 1; count++) {
        struct wsbus_cursor *c = NULL;
        const char *why = NULL;
        buf_clear(&b);
        for (int i = 0; i < count; i++)
            buf_printf(&b, "%s\"%d/0:0-1\"", i == 0 ? "[" : ",", count - i);
        buf_byte(&b, ']');
        int result = cursor_parse(buf_view(&b), &fake_backend, &c, &why);
        assert_int_equal(result, count == WSBUS_PARTITIONS_MAX ? 0 : -1);
        if (c != NULL) assert_int_equal(c->pos[0].partition, 1);
        cursor_free(c);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_and_copies), cmocka_unit_test(puts_in_order),
        cmocka_unit_test(advances_only),    cmocka_unit_test(compares),
        cmocka_unit_test(parses),           cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_count),
    };
    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
