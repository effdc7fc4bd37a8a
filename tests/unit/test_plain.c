/* base/plain.h: beside a look at each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/plain.h"

#define LONGEST 70

static const char *one_by_one(const char *p, const char *end)
{
    while (p < end && plain_is(*p))
        p++;
    return p;
}

static void test_a_byte_is_plain(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
        assert_int_equal(plain_is((char)c), plain);
    }
}

/* Each byte at each place of each length, with plain ones around it. The text ends with its memory. */
static void test_each_byte_at_each_place(void **state)
{
    (void)state;
    for (size_t n = 0; n <= LONGEST; n++) {
        char *text = malloc(n > 0 ? n : 1);
        assert_non_null(text);
        memset(text, 'x', n);
        assert_ptr_equal(plain_skip(text, text + n), text + n);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                assert_ptr_equal(plain_skip(text, text + n), one_by_one(text, text + n));
            }
            text[at] = 'x';
        }
        free(text);
    }
}

/* What follows the first that is not plain must not move it. */
static void test_any_bytes(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[LONGEST];
        for (size_t i = 0; i < sizeof(text); i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = seed >> 60 == 0 ? (char)(seed >> 40) : (char)(' ' + (seed >> 40) % 95);
        }
        assert_ptr_equal(plain_skip(text, text + sizeof(text)),
                         one_by_one(text, text + sizeof(text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_byte_is_plain),
        cmocka_unit_test(test_each_byte_at_each_place),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
