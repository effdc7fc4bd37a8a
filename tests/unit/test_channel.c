/* Channel names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "protocol/channel.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void accepts(void **state)
{
    (void)state;
    static const struct span good[] = {
        SPAN("a"),
        SPAN("a.b"),
        SPAN("quotes.EUR/USD"),
        SPAN("a-b_c~!@#$%^&()=+[]|\\;:'\",<>?`"),
        SPAN("0"),
        SPAN("\xc3\xa9.\xe2\x82\xac"),
        SPAN("\xf0\x9f\x98\x80"),
        SPAN("\xe2\x80\x8b"),
        SPAN("\xef\xbb\xbf"),
        SPAN("\xc2\xa1"),
        SPAN("\xe2\x80\xa7"),
        SPAN("\xe2\x80\xaa"),
        SPAN("\xf4\x8f\xbf\xbf"),
    };
    for (size_t i = 0; i < COUNT(good); i++)
        if (!channel_valid(good[i])) fail_msg("refused: %.*s", (int)good[i].n, good[i].p);
}

static void refuses(void **state)
{
    (void)state;
    static const struct span bad[] = {
        SPAN(""),     SPAN("."),    SPAN(".."),    SPAN(".a"),           SPAN("a."),
        SPAN("a..b"), SPAN("a*"),   SPAN("*"),     SPAN("a.{b}"),        SPAN("a{"),
        SPAN("}"),    SPAN("\xff"), SPAN("a\xc3"), SPAN("\xed\xa0\x80"), SPAN("\xc0\xae"),
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        if (channel_valid(bad[i])) fail_msg("accepted: %.*s", (int)bad[i].n, bad[i].p);
    assert_false(channel_valid((struct span){NULL, 0}));
}

static void bounds_length(void **state)
{
    (void)state;
    char name[CHANNEL_MAX + 1];
    memset(name, 'a', sizeof(name));
    assert_true(channel_valid((struct span){name, CHANNEL_MAX}));
    assert_false(channel_valid((struct span){name, CHANNEL_MAX + 1}));
    memcpy(name + CHANNEL_MAX - 2, "\xe2\x82\xac", 3);
    assert_false(channel_valid((struct span){name, CHANNEL_MAX}));
}

/* The whole of the property White_Space, and all controls; nothing else of the code points. */
static void knows_every_code_point(void **state)
{
    (void)state;
    static const uint32_t spaces[] = {0x20,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003,
                                      0x2004, 0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200a,
                                      0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char text[6] = "x";
        if (code >= 0xd800 && code <= 0xdfff) continue;
        bool allowed = code >= 0x20 && !(code >= 0x7f && code < 0xa0);
        for (size_t i = 0; i < COUNT(spaces); i++)
            allowed = allowed && code != spaces[i];
        if (code < 0x80 && code > 0 && strchr("*{}", (int)code) != NULL) allowed = false;
        size_t n = 1 + utf8_put(text + 1, code);
        text[n++] = 'y';
        if (channel_valid((struct span){text, n}) != allowed) fail_msg("U+%04X", (unsigned)code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_length),
        cmocka_unit_test(knows_every_code_point),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
