/* Offers of permessage-deflate: taken, declined, malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edge/offer.h"

#define PMD "permessage-deflate"
#define NONE 0
#define BAD (-1)

static const struct {
    const char *value;
    int outcome; /* bits of the window; NONE, BAD */
    bool asked;
} cases[] = {
    /* what browsers and libraries send */
    {PMD, 15, false},
    {PMD "; client_max_window_bits", 15, false},
    {PMD "; client_max_window_bits=15", 15, false},
    {PMD ";client_max_window_bits", 15, false},
    {PMD ", x-webkit-deflate-frame", 15, false},
    {"x-webkit-deflate-frame", NONE, false},
    {"", NONE, false},
    /* each parameter */
    {PMD "; server_no_context_takeover", 15, false},
    {PMD "; client_no_context_takeover", 15, false},
    {PMD "; server_no_context_takeover; client_no_context_takeover", 15, false},
    {PMD "; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits", 10,
     true},
    {PMD "; server_max_window_bits=8", 8, true},
    {PMD "; server_max_window_bits=9", 9, true},
    {PMD "; server_max_window_bits=14", 14, true},
    {PMD "; server_max_window_bits=15", 15, true},
    {PMD "; client_max_window_bits=8", 15, false},
    {PMD "; client_max_window_bits=12; server_max_window_bits=12", 12, true},
    /* quotes, spaces, empty elements */
    {PMD "; server_max_window_bits=\"10\"", 10, true},
    {PMD "; server_max_window_bits=\"1\\0\"", 10, true},
    {"  " PMD "\t;  server_max_window_bits = 11  ", 11, true},
    {", ," PMD ",,", 15, false},
    {",", NONE, false},
    /* declined: values */
    {PMD "; server_max_window_bits", NONE, false},
    {PMD "; server_max_window_bits=7", NONE, false},
    {PMD "; server_max_window_bits=16", NONE, false},
    {PMD "; server_max_window_bits=0", NONE, false},
    {PMD "; server_max_window_bits=08", NONE, false},
    {PMD "; server_max_window_bits=010", NONE, false},
    {PMD "; server_max_window_bits=+9", NONE, false},
    {PMD "; server_max_window_bits=9.0", NONE, false},
    {PMD "; server_max_window_bits=100000000000000000000000008", NONE, false},
    {PMD "; server_max_window_bits=\"99999999999999999999\"", NONE, false},
    {PMD "; client_max_window_bits=7", NONE, false},
    {PMD "; client_max_window_bits=16", NONE, false},
    {PMD "; client_max_window_bits=x", NONE, false},
    {PMD "; server_no_context_takeover=1", NONE, false},
    {PMD "; client_no_context_takeover=true", NONE, false},
    /* declined: twice, unknown */
    {PMD "; server_no_context_takeover; server_no_context_takeover", NONE, false},
    {PMD "; client_max_window_bits; client_max_window_bits=9", NONE, false},
    {PMD "; server_max_window_bits=9; server_max_window_bits=9", NONE, false},
    {PMD "; more", NONE, false},
    {PMD "; more=1", NONE, false},
    {PMD "; SERVER_NO_CONTEXT_TAKEOVER", NONE, false},
    {"Permessage-Deflate", NONE, false},
    {"permessage-deflate2", NONE, false},
    {"permessage-bzip2; level=9", NONE, false},
    /* several: the first that can be */
    {PMD "; server_max_window_bits=16, " PMD, 15, false},
    {PMD "; server_max_window_bits=10, " PMD, 10, true},
    {PMD "; more, " PMD "; server_max_window_bits=9, " PMD, 9, true},
    {"foo; bar=\"1\", " PMD "; client_max_window_bits", 15, false},
    {PMD "; server_max_window_bits, " PMD "; client_max_window_bits=1", NONE, false},
    /* malformed, whatever stands beside it */
    {";", BAD, false},
    {PMD ";", BAD, false},
    {PMD ";;", BAD, false},
    {PMD "; ; client_max_window_bits", BAD, false},
    {PMD " client_max_window_bits", BAD, false},
    {PMD "; client_max_window_bits=", BAD, false},
    {PMD "; =9", BAD, false},
    {PMD "; server_max_window_bits=\"", BAD, false},
    {PMD "; server_max_window_bits=\"9", BAD, false},
    {PMD "; server_max_window_bits=\"\"", BAD, false},
    {PMD "; server_max_window_bits=\"9 \"", BAD, false},
    {PMD "; server_max_window_bits=\"9\\", BAD, false},
    {PMD "; server_max_window_bits=9 9", BAD, false},
    {PMD "; server_max_window_bits==9", BAD, false},
    {"(comment)", BAD, false},
    {PMD ", foo bar", BAD, false},
    {PMD ", ;", BAD, false},
    {"\x80", BAD, false},
    {PMD "=1", BAD, false},
};

static void test_offers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct offer o = {.window_bits = 0};
        enum offer_verdict v = offer_read(span_str(cases[i].value), &o);
        enum offer_verdict expected = cases[i].outcome == NONE  ? OFFER_NONE
                                      : cases[i].outcome == BAD ? OFFER_MALFORMED
                                                                : OFFER_TAKEN;
        if (v != expected) fail_msg("%s: %d", cases[i].value, (int)v);
        if (v != OFFER_TAKEN) continue;
        if ((int)o.window_bits != cases[i].outcome || o.window_asked != cases[i].asked)
            fail_msg("%s: %u, %d", cases[i].value, o.window_bits, o.window_asked);
    }
}

/* Of every offer that begins the same way, the answer is within its bounds. */
static void test_pieces(void **state)
{
    static const char all[] = PMD "; client_max_window_bits=\"1\\5\"; server_max_window_bits=9, x";
    (void)state;
    for (size_t n = 0; n < sizeof all; n++) {
        struct offer o;
        (void)offer_read(span_of(all, n), &o);
    }
}

static void test_answer(void **state)
{
    char line[OFFER_ANSWER_MAX] = "";
    size_t n;
    struct offer o = {.window_bits = 15};

    (void)state;
    n = offer_answer(&o, line);
    assert_int_equal(n, strlen(line));
    assert_string_equal(line, "Sec-WebSocket-Extensions: permessage-deflate; "
                              "server_no_context_takeover; client_no_context_takeover\r\n");
    o = (struct offer){.window_bits = 10, .window_asked = true};
    n = offer_answer(&o, line);
    assert_int_equal(n, strlen(line));
    assert_string_equal(line, "Sec-WebSocket-Extensions: permessage-deflate; "
                              "server_no_context_takeover; client_no_context_takeover; "
                              "server_max_window_bits=10\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
