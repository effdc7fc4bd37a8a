#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/percent.h"

static void decodes(void **state)
{
    static const struct {
        const char *given, *expected;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"%41%c3%A4", "A\xc3\xa4"},
        {"a%25b%", NULL},
        {"%4", NULL},
        {"%4x", NULL},
        {"%x4", NULL},
        {"%%41", NULL},
        {"a%00b", NULL},
        {"\xff%2F", "\xff/"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = percent_decode(span_str(cases[i].given));
        if (cases[i].expected)
            assert_string_equal(text, cases[i].expected);
        else
            assert_null(text);
        free(text);
    }
}

static void one_byte(void **state)
{
    (void)state;
    assert_int_equal(percent_byte(span_str("%7e and more")), 0x7e);
    assert_int_equal(percent_byte(span_str("%00")), 0);
    assert_int_equal(percent_byte(span_str("7e")), -1);
    assert_int_equal(percent_byte(span_of("%41", 2)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decodes), cmocka_unit_test(one_byte)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
