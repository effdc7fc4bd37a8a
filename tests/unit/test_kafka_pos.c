/* Positions of Kafka and their text. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "bus/kafka_pos.h"

static void reads_what_it_writes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t lo;
    } cases[] = {
        {"-1", 0},
        {"0", 1},
        {"1042", 1043},
        {"9223372036854775806", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wsbus_pos pos = {.partition = 7, .epoch = 9, .hi = 9, .lo = 9};
        char text[WSBUS_POS_TEXT_MAX];
        assert_int_equal(kafka_pos_parse(cases[i].text, strlen(cases[i].text), &pos), 0);
        assert_int_equal(pos.partition, 7);
        assert_true(pos.epoch == 0 && pos.hi == 0);
        assert_true(pos.lo == cases[i].lo);
        size_t n = kafka_pos_format(&pos, text);
        assert_int_equal(n, strlen(cases[i].text));
        assert_memory_equal(text, cases[i].text, n);
    }
}

static void refuses_other_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "-",
                                        "-0",
                                        "-2",
                                        "00",
                                        "01",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1a",
                                        "0x1",
                                        "1-0",
                                        "-1 ",
                                        "--1",
                                        "1.",
                                        "1e3",
                                        "-10",
                                        "9223372036854775807",
                                        "18446744073709551616"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct wsbus_pos pos;
        if (kafka_pos_parse(texts[i], strlen(texts[i]), &pos) == 0)
            fail_msg("\"%s\" is taken", texts[i]);
    }
}

static void places_and_offsets(void **state)
{
    (void)state;
    struct wsbus_pos pos = kafka_pos_before(3, 0);
    assert_int_equal(pos.partition, 3);
    assert_true(pos.lo == 0 && kafka_pos_next(&pos) == 0);
    pos = kafka_pos_before(3, 42);
    assert_true(pos.lo == 42 && kafka_pos_next(&pos) == 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_other_texts),
        cmocka_unit_test(places_and_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
