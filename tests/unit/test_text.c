/* UTF-8 and base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void knows_utf8(void **state)
{
    (void)state;
    static const struct span good[] = {
        SPAN(""),
        SPAN("a"),
        SPAN("\0\x7f"),
        SPAN("\xc2\x80\xdf\xbf"),
        SPAN("\xe0\xa0\x80\xef\xbf\xbf"),
        SPAN("\xed\x9f\xbf\xee\x80\x80"),
        SPAN("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
        SPAN("12345678\xe2\x82\xac"
             "12345678"),
        SPAN("\xef\xbb\xbf"),
    };
    static const struct span bad[] = {
        SPAN("\x80"),
        SPAN("\xbf"),
        SPAN("\xc0\x80"),
        SPAN("\xc1\xbf"),
        SPAN("\xc2"),
        SPAN("\xc2"
             "a"),
        SPAN("\xe0\x9f\xbf"),
        SPAN("\xe2\x82"),
        SPAN("\xed\xa0\x80"),
        SPAN("\xed\xbf\xbf"),
        SPAN("\xf0\x8f\xbf\xbf"),
        SPAN("\xf4\x90\x80\x80"),
        SPAN("\xf5\x80\x80\x80"),
        SPAN("\xf8\x88\x80\x80\x80"),
        SPAN("\xfe"),
        SPAN("\xff"),
        SPAN("12345678\xff"),
        SPAN("1234567\xe2\x82"),
        SPAN("\xf0\x9f\x98"
             "a"),
        SPAN("\xe2\x82\xac\xac"),
    };
    for (size_t i = 0; i < COUNT(good); i++)
        if (!utf8_valid(good[i])) fail_msg("good row %zu", i);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (utf8_valid(bad[i])) fail_msg("bad row %zu", i);
    assert_true(utf8_valid((struct span){NULL, 0}));
    assert_int_equal(utf8_length("", 0), 0);
    assert_int_equal(utf8_length("\xe2\x82\xac", 2), 0);
    assert_int_equal(utf8_length("\xe2\x82\xac", 3), 3);
}

static void writes_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char text[4] = {0};
        if (code >= 0xd800 && code <= 0xdfff) continue;
        size_t n = utf8_put(text, code);
        assert_int_equal(n, code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);
        assert_int_equal(utf8_length(text, n), n);
    }
    char euro[4];
    utf8_put(euro, 0x20ac);
    assert_memory_equal(euro, "\xe2\x82\xac", 3);
}

static void encodes_base64(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        const char *text;
    } rows[] = {
        {SPAN(""), ""},
        {SPAN("f"), "Zg=="},
        {SPAN("fo"), "Zm8="},
        {SPAN("foo"), "Zm9v"},
        {SPAN("foob"), "Zm9vYg=="},
        {SPAN("fooba"), "Zm9vYmE="},
        {SPAN("foobar"), "Zm9vYmFy"},
        {SPAN("\xff\xff\xff"), "////"},
        {SPAN("\xfb\xef\xbe"), "++++"},
        {SPAN("\0"), "AA=="},
        {SPAN("\0\0\0\xff"), "AAAA/w=="},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[16], bytes[16];
        size_t n = strlen(rows[i].text);
        assert_int_equal(base64_encoded(rows[i].bytes.n), n);
        assert_int_equal(base64_encode(text, rows[i].bytes), n);
        assert_memory_equal(text, rows[i].text, n);
        assert_int_equal(base64_decode(bytes, (struct span){text, n}), rows[i].bytes.n);
        assert_memory_equal(bytes, rows[i].bytes.p, rows[i].bytes.n);
    }
}

static void refuses_inexact_base64(void **state)
{
    (void)state;
    static const struct span bad[] = {
        SPAN("Z"),    SPAN("Zg"),       SPAN("Zg="),      SPAN("Zg==="),    SPAN("Zh=="),
        SPAN("Zm9="), SPAN("Zm9v\n"),   SPAN(" Zm9v"),    SPAN("Zm 9v==="), SPAN("===="),
        SPAN("Z==="), SPAN("Zg=a"),     SPAN("Zg==Zg=="), SPAN("=Zm9"),     SPAN("Zm9-"),
        SPAN("Zm9_"), SPAN("Zm9\xff"),  SPAN("Zm9\0"),    SPAN("\0\0=="),   SPAN("Zm=v"),
        SPAN("Z=9v"), SPAN("Zm9vZm9*"),
    };
    char bytes[16];
    for (size_t i = 0; i < COUNT(bad); i++)
        if (base64_decode(bytes, bad[i]) != -1) fail_msg("row %zu accepted", i);
}

/* All lengths and bytes there and back, decoded in place, with no byte to spare. */
static void base64_round_trip(void **state)
{
    (void)state;
    char bytes[256];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 7 + 3);
    for (size_t n = 1; n <= sizeof(bytes); n++) {
        size_t size = base64_encoded(n);
        char *text = mem_alloc(size);
        assert_int_equal(base64_encode(text, (struct span){bytes, n}), size);
        assert_int_equal(base64_decode(text, (struct span){text, size}), n);
        assert_memory_equal(text, bytes, n);
        free(text);
    }
}

/* Fed in pieces of any size it says the same as for the whole, and no later than it must. */
static void knows_utf8_in_pieces(void **state)
{
    static const struct {
        struct span text;
        size_t wrong; /* bytes after which it must be known; 0: it is good */
    } cases[] = {
        {SPAN("plain ascii, longer than a word"), 0},
        {SPAN("12345678\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 12345678"), 0},
        {SPAN("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"), 0},
        {SPAN("12345678\xff"), 9},
        {SPAN("\x80"), 1},
        {SPAN("\xc0\x80"), 1},
        {SPAN("\xc1\xbf"), 1},
        {SPAN("\xe0\x9f\xbf"), 2},
        {SPAN("\xed\xa0\x80"), 2},
        {SPAN("\xf0\x8f\xbf\xbf"), 2},
        {SPAN("\xf4\x90\x80\x80"), 2},
        {SPAN("\xf5\x80\x80\x80"), 1},
        {SPAN("\xe2\x82x"), 3},
        {SPAN("\xe2x"), 2},
        {SPAN("\xf0\x9f\x98\xf0"), 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span text = cases[i].text;
        for (size_t step = 1; step <= text.n; step++) {
            struct utf8 u = {.left = 0};
            size_t at = 0;
            bool good = true;
            while (good && at < text.n) {
                size_t n = text.n - at < step ? text.n - at : step;
                good = utf8_more(&u, span_of(text.p + at, n));
                at += n;
            }
            assert_int_equal(good, cases[i].wrong == 0);
            if (good) assert_true(utf8_ends(&u));
            if (!good) assert_true(at < cases[i].wrong + step && at >= cases[i].wrong);
        }
        assert_int_equal(utf8_valid(text), cases[i].wrong == 0);
    }
    struct utf8 u = {.left = 0};
    assert_true(utf8_more(&u, SPAN("a\xf0\x9f\x98")));
    assert_false(utf8_ends(&u));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_utf8),        cmocka_unit_test(writes_every_code_point),
        cmocka_unit_test(encodes_base64),    cmocka_unit_test(refuses_inexact_base64),
        cmocka_unit_test(base64_round_trip), cmocka_unit_test(knows_utf8_in_pieces),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
