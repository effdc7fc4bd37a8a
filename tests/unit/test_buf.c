/* The growing buffer: caps, numbers, escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void assert_content(const struct buf *b, const char *text)
{
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->n > 0 ? b->p : "", text, b->n);
}

static void appends(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    assert_null(b.p);
    buf_append(&b, NULL, 0);
    buf_append(&b, "ab", 2);
    buf_str(&b, "cd");
    buf_byte(&b, 'e');
    buf_span(&b, SPAN("fg"));
    buf_span(&b, (struct span){NULL, 0});
    assert_content(&b, "abcdefg");
    for (int i = 0; i < 1000; i++)
        buf_str(&b, "0123456789");
    assert_int_equal(b.n, 10007);
    assert_memory_equal(b.p + b.n - 10, "0123456789", 10);
    buf_shrink(&b, 100);
    assert_int_equal(b.n, 0);
    assert_int_equal(b.size, 0);
    buf_str(&b, "x");
    buf_shrink(&b, 4096);
    assert_int_equal(b.n, 0);
    assert_true(b.size > 0);
    buf_free(&b);
    assert_null(b.p);
}

static void keeps_its_cap(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_str(&b, "12345678");
    buf_str(&b, "abc");
    assert_true(b.failed);
    assert_content(&b, "12345678");
    buf_str(&b, "a"); /* would fit, but something is missing already */
    assert_content(&b, "12345678");
    buf_clear(&b);
    assert_false(b.failed);
    buf_str(&b, "1234567890");
    assert_false(b.failed);
    buf_byte(&b, 'x');
    assert_true(b.failed);
    assert_true(b.size <= 10);
    buf_free(&b);
    assert_false(b.failed);

    buf_init(&b, 0);
    buf_append(&b, "", 0);
    assert_false(b.failed);
    buf_byte(&b, 'x');
    assert_true(b.failed);
    buf_free(&b);
}

static void leaves_nothing_half_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4);
    buf_str(&b, "x");
    buf_json(&b, SPAN("ab"));
    assert_true(b.failed);
    assert_content(&b, "x");
    buf_clear(&b);
    buf_str(&b, "x");
    buf_base64(&b, SPAN("a"));
    assert_true(b.failed);
    assert_content(&b, "x");
    buf_clear(&b);
    buf_i64(&b, -1000);
    assert_true(b.failed);
    assert_content(&b, "");
    buf_clear(&b);
    buf_printf(&b, "%s", "12345");
    assert_true(b.failed);
    assert_content(&b, "");
    buf_free(&b);
}

static void writes_numbers(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    buf_u64(&b, 0);
    buf_byte(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_byte(&b, ' ');
    buf_i64(&b, INT64_MIN);
    buf_byte(&b, ' ');
    buf_i64(&b, INT64_MAX);
    buf_byte(&b, ' ');
    buf_i64(&b, -1);
    assert_content(&b, "0 18446744073709551615 -9223372036854775808 9223372036854775807 -1");
    buf_free(&b);
}

static void prints(void **state)
{
    (void)state;
    struct buf b;
    char longer[1000];
    memset(longer, 'y', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    buf_init(&b, 1002);
    buf_printf(&b, "%d-%s", 7, "x");
    assert_content(&b, "7-x");
    buf_printf(&b, "%s", longer);
    assert_false(b.failed);
    assert_int_equal(b.n, 1002);
    buf_free(&b);
}

static void writes_json_strings(void **state)
{
    (void)state;
    static const struct {
        struct span text;
        const char *json;
    } rows[] = {
        {SPAN(""), "\"\""},
        {SPAN("abc"), "\"abc\""},
        {SPAN("a\"b\\c/"), "\"a\\\"b\\\\c/\""},
        {SPAN("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\""},
        {SPAN("\0\x1f\x7f"), "\"\\u0000\\u001f\x7f\""},
        {SPAN("\xe2\x82\xac\n\xf0\x9f\x98\x80"), "\"\xe2\x82\xac\\n\xf0\x9f\x98\x80\""},
    };
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_clear(&b);
        buf_json(&b, rows[i].text);
        assert_content(&b, rows[i].json);
    }
    buf_clear(&b);
    buf_json(&b, (struct span){NULL, 0});
    buf_base64(&b, (struct span){NULL, 0});
    assert_content(&b, "\"\"");
    buf_free(&b);
}

static void reserves(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    char *p = buf_reserve(&b, 5);
    assert_non_null(p);
    memcpy(p, "hello", 5);
    assert_int_equal(b.n, 0);
    buf_added(&b, 5);
    assert_content(&b, "hello");
    assert_null(buf_reserve(&b, 4));
    assert_true(b.failed);
    buf_clear(&b);
    assert_null(buf_reserve(&b, SIZE_MAX));
    buf_free(&b);
}

static void steals(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 3);
    buf_str(&b, "abc");
    char *text = buf_steal(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.n, 0);
    free(text);
    text = buf_steal(&b);
    assert_string_equal(text, "");
    free(text);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(keeps_its_cap),
        cmocka_unit_test(leaves_nothing_half_written),
        cmocka_unit_test(writes_numbers),
        cmocka_unit_test(prints),
        cmocka_unit_test(writes_json_strings),
        cmocka_unit_test(reserves),
        cmocka_unit_test(steals),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
