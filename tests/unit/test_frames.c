/* The check of a client's frames: what passes, what is found, in whole pieces and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "edge/frames.h"

struct run {
    char events[256]; /* one letter each: i ping, o pong, c close, x broken */
    unsigned code;
    char pinged[256];
    unsigned char passed[4096];
    size_t passed_n;
};

static void take_piece(struct frames *f, const unsigned char *p, size_t n, struct run *r)
{
    unsigned char copy[4096];
    struct frames_piece piece = {.p = copy, .n = n};
    struct frames_found found;
    enum frames_event e;

    memcpy(copy, p, n);
    if (r->code != 0) return;
    while ((e = frames_next(f, &piece, &found)) != FRAMES_END) {
        size_t at = strlen(r->events);
        r->events[at] = "?iocx"[e];
        if (e == FRAMES_PING) strncat(r->pinged, found.payload.p, found.payload.n);
        if (e == FRAMES_CLOSE || e == FRAMES_BROKEN) r->code = found.code;
        if (r->code != 0) break;
    }
    assert_true(piece.out <= piece.in);
    memcpy(r->passed + r->passed_n, copy, piece.out);
    r->passed_n += piece.out;
}

static struct run run(struct span in, size_t step, uint64_t limit)
{
    struct run r;
    struct frames f;

    memset(&r, 0, sizeof r);
    frames_init(&f, limit);
    for (size_t i = 0; i < in.n; i += step)
        take_piece(&f, (const unsigned char *)in.p + i, in.n - i < step ? in.n - i : step, &r);
    frames_done(&f);
    return r;
}

/* A client's frame with a mask of zeros, which leaves the payload as it is. */
#define MASK "\0\0\0\0"

static void test_broken(void **state)
{
    static const struct {
        const char *what;
        struct span in;
        unsigned code;
    } cases[] = {
        {"unmasked", SPAN("\x81\x01x"), CLOSE_PROTOCOL},
        {"unmasked ping", SPAN("\x89\x01x"), CLOSE_PROTOCOL},
        {"unmasked and empty", SPAN("\x81\x00"), CLOSE_PROTOCOL},
        {"RSV1", SPAN("\xc1\x81" MASK "x"), CLOSE_PROTOCOL},
        {"RSV2", SPAN("\xa1\x81" MASK "x"), CLOSE_PROTOCOL},
        {"RSV3", SPAN("\x91\x81" MASK "x"), CLOSE_PROTOCOL},
        {"RSV1 of a ping", SPAN("\xc9\x80" MASK), CLOSE_PROTOCOL},
        {"opcode 3", SPAN("\x83\x80" MASK), CLOSE_PROTOCOL},
        {"opcode 7", SPAN("\x87\x80" MASK), CLOSE_PROTOCOL},
        {"opcode 11", SPAN("\x8b\x80" MASK), CLOSE_PROTOCOL},
        {"opcode 15", SPAN("\x8f\x80" MASK), CLOSE_PROTOCOL},
        {"16 bits for 125", SPAN("\x81\xfe\x00\x7d" MASK), CLOSE_PROTOCOL},
        {"16 bits for 0", SPAN("\x81\xfe\x00\x00" MASK), CLOSE_PROTOCOL},
        {"64 bits for 125", SPAN("\x81\xff\0\0\0\0\0\0\0\x7d" MASK), CLOSE_PROTOCOL},
        {"64 bits for 65535", SPAN("\x81\xff\0\0\0\0\0\0\xff\xff" MASK), CLOSE_PROTOCOL},
        {"the 64th bit", SPAN("\x81\xff\x80\0\0\0\0\0\0\0" MASK), CLOSE_PROTOCOL},
        {"all bits", SPAN("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" MASK), CLOSE_PROTOCOL},
        {"too big", SPAN("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" MASK), CLOSE_TOO_BIG},
        {"one too many", SPAN("\x82\xfe\x03\xe9" MASK), CLOSE_TOO_BIG},
        {"ping of 126", SPAN("\x89\xfe\x00\x7e" MASK), CLOSE_PROTOCOL},
        {"close of 64 bits", SPAN("\x88\xff\0\0\0\0\0\0\0\x02" MASK), CLOSE_PROTOCOL},
        {"ping in fragments", SPAN("\x09\x80" MASK), CLOSE_PROTOCOL},
        {"close in fragments", SPAN("\x08\x80" MASK), CLOSE_PROTOCOL},
        {"fragment of nothing", SPAN("\x80\x80" MASK), CLOSE_PROTOCOL},
        {"fragment of nothing, not the last", SPAN("\x00\x81" MASK "x"), CLOSE_PROTOCOL},
        {"text within a message", SPAN("\x01\x81" MASK "x\x81\x81" MASK "x"), CLOSE_PROTOCOL},
        {"binary within", SPAN("\x01\x80" MASK "\x02\x80" MASK), CLOSE_PROTOCOL},
        {"fragment behind the last", SPAN("\x01\x80" MASK "\x80\x80" MASK "\x80\x80" MASK),
         CLOSE_PROTOCOL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 32; step++) {
            struct run r = run(cases[i].in, step, 1000);
            if (r.code != cases[i].code || strcmp(r.events, "x") != 0)
                fail_msg("%s, step %zu: %u %s", cases[i].what, step, r.code, r.events);
        }
    }
}

static void test_close_frames(void **state)
{
    static const struct {
        struct span in;
        unsigned code;
        bool good;
    } cases[] = {
        {SPAN("\x88\x80" MASK), CLOSE_NO_CODE, true},
        {SPAN("\x88\x81" MASK "\x03"), CLOSE_PROTOCOL, false},
        {SPAN("\x88\x82" MASK "\x03\xe8"), 1000, true},
        {SPAN("\x88\x84" MASK "\x03\xe9ok"), 1001, true},
        {SPAN("\x88\x82" MASK "\x03\xe7"), CLOSE_PROTOCOL, false}, /* 999 */
        {SPAN("\x88\x82" MASK "\x00\x00"), CLOSE_PROTOCOL, false},
        {SPAN("\x88\x82" MASK "\x03\xec"), CLOSE_PROTOCOL, false}, /* 1004 */
        {SPAN("\x88\x82" MASK "\x03\xed"), CLOSE_PROTOCOL, false}, /* 1005 */
        {SPAN("\x88\x82" MASK "\x03\xee"), CLOSE_PROTOCOL, false}, /* 1006 */
        {SPAN("\x88\x82" MASK "\x03\xef"), 1007, true},
        {SPAN("\x88\x82" MASK "\x03\xf4"), 1012, true},
        {SPAN("\x88\x82" MASK "\x03\xf6"), 1014, true},
        {SPAN("\x88\x82" MASK "\x03\xf7"), CLOSE_PROTOCOL, false}, /* 1015 */
        {SPAN("\x88\x82" MASK "\x0b\xb7"), CLOSE_PROTOCOL, false}, /* 2999 */
        {SPAN("\x88\x82" MASK "\x0b\xb8"), 3000, true},
        {SPAN("\x88\x82" MASK "\x13\x87"), 4999, true},
        {SPAN("\x88\x82" MASK "\x13\x88"), CLOSE_PROTOCOL, false}, /* 5000 */
        {SPAN("\x88\x82" MASK "\xff\xff"), CLOSE_PROTOCOL, false},
        {SPAN("\x88\x83" MASK "\x03\xe8\xff"), CLOSE_NOT_UTF8, false},
        {SPAN("\x88\x84" MASK "\x03\xe8\xc3\xa9"), 1000, true},
        {SPAN("\x88\x83" MASK "\x03\xe8\xc3"), CLOSE_NOT_UTF8, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 16; step++) {
            struct run r = run(cases[i].in, step, 1000);
            const char *events = cases[i].good ? "c" : "x";
            if (r.code != cases[i].code || strcmp(r.events, events) != 0)
                fail_msg("case %zu, step %zu: %u %s", i, step, r.code, r.events);
        }
    }
}

static void check_passes(struct span in, struct span out, const char *events)
{
    for (size_t step = 1; step <= in.n; step++) {
        struct run r = run(in, step, 1000);
        assert_int_equal(r.code, 0);
        assert_string_equal(r.events, events);
        assert_int_equal(r.passed_n, out.n);
        assert_memory_equal(r.passed, out.p, out.n);
    }
}

static void test_data_passes_as_it_stands(void **state)
{
    unsigned char large[1000 + 8] = {0x82, 0xfe, 0x03, 0xe8, 1, 2, 3, 4};
    struct span all = {(const char *)large, sizeof large};

    (void)state;
    for (size_t i = 8; i < sizeof large; i++)
        large[i] = (unsigned char)(i * 7);
    check_passes(all, all, "");
    check_passes(SPAN("\x81\x80" MASK), SPAN("\x81\x80" MASK), "");
    check_passes(SPAN("\x81\x83" MASK "abc\x82\x81zzzzq"), SPAN("\x81\x83" MASK "abc\x82\x81zzzzq"),
                 "");
    check_passes(SPAN("\x01\x81" MASK "a\x00\x80" MASK "\x80\x81" MASK "b\x81\x80" MASK),
                 SPAN("\x01\x81" MASK "a\x00\x80" MASK "\x80\x81" MASK "b\x81\x80" MASK), "");
}

static void test_control_frames_are_taken_out(void **state)
{
    struct span in =
        SPAN("\x89\x80" MASK "\x01\x82" MASK "ab\x89\x82\x20\x20\x20\x20XY\x8a\x81" MASK
             "p\x80\x81" MASK "c\x8a\x80" MASK);

    (void)state;
    check_passes(in, SPAN("\x01\x82" MASK "ab\x80\x81" MASK "c"), "iioo");
    for (size_t step = 1; step <= in.n; step++)
        assert_string_equal(run(in, step, 1000).pinged, "xy"); /* unmasked */
}

static void test_a_message_is_measured_over_its_fragments(void **state)
{
    struct span in =
        SPAN("\x01\x84" MASK "aaaa\x89\x80" MASK "\x00\x84" MASK "bbbb\x80\x81" MASK "c");
    struct span again = SPAN("\x81\x88" MASK "aaaabbbb\x81\x88" MASK "aaaabbbb\x81\x89");

    (void)state;
    for (size_t step = 1; step < 40; step++) {
        assert_int_equal(run(in, step, 9).code, 0);
        assert_int_equal(run(in, step, 8).code, CLOSE_TOO_BIG);
        assert_int_equal(run(again, step, 8).code, 0); /* a header in hand is no message yet */
        assert_int_equal(run(again, step, 7).code, CLOSE_TOO_BIG);
    }
}

/* ---- compressed messages --------------------------------------------------------------------- */

static struct run run_compressed(struct span in, size_t step, uint64_t limit, char *ret_kinds)
{
    struct run r;
    struct frames f;
    size_t n = 0;

    memset(&r, 0, sizeof r);
    frames_init(&f, limit);
    assert_true(frames_allow_compressed(&f) > limit);
    for (size_t i = 0; i < in.n; i += step)
        take_piece(&f, (const unsigned char *)in.p + i, in.n - i < step ? in.n - i : step, &r);
    while (f.kinds)
        ret_kinds[n++] = frames_compressed(&f) ? 'C' : '-';
    ret_kinds[n] = '\0';
    assert_false(frames_compressed(&f));
    frames_done(&f);
    return r;
}

static void test_the_mark_is_taken_off(void **state)
{
    struct span in = SPAN("\xc1\x81" MASK "x\x81\x81" MASK "y\x42\x81" MASK "a\x89\x80" MASK
                          "\x80\x81" MASK "b\xc2\x80" MASK "\xc1\x80" MASK);
    struct span out = SPAN("\x81\x81" MASK "x\x81\x81" MASK "y\x02\x81" MASK "a\x80\x81" MASK
                           "b\x82\x80" MASK "\x81\x80" MASK);
    char kinds[32];

    (void)state;
    for (size_t step = 1; step <= in.n; step++) {
        struct run r = run_compressed(in, step, 1000, kinds);
        assert_int_equal(r.code, 0);
        assert_string_equal(kinds, "C-CCC");
        assert_int_equal(r.passed_n, out.n);
        assert_memory_equal(r.passed, out.p, out.n);
    }
}

static void test_marks_in_wrong_places(void **state)
{
    static const struct {
        const char *what;
        struct span in;
    } cases[] = {
        {"of a ping", SPAN("\xc9\x80" MASK)},
        {"of a pong", SPAN("\xca\x80" MASK)},
        {"of a close", SPAN("\xc8\x80" MASK)},
        {"of a later fragment", SPAN("\x41\x81" MASK "x\x40\x81" MASK "y")},
        {"of the last fragment", SPAN("\x41\x81" MASK "x\xc0\x81" MASK "y")},
        {"of a fragment, not of the first", SPAN("\x01\x81" MASK "x\xc0\x81" MASK "y")},
        {"of a fragment of nothing", SPAN("\xc0\x80" MASK)},
        {"of an unknown opcode", SPAN("\xc3\x80" MASK)},
        {"with RSV2", SPAN("\xe1\x81" MASK "x")},
        {"with RSV3", SPAN("\xd1\x81" MASK "x")},
        {"RSV2 alone", SPAN("\xa1\x81" MASK "x")},
        {"within a message", SPAN("\x01\x81" MASK "x\xc1\x81" MASK "x")},
        {"unmasked", SPAN("\xc1\x01x")},
    };
    char kinds[32];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 32; step++) {
            struct run r = run_compressed(cases[i].in, step, 1000, kinds);
            if (r.code != CLOSE_PROTOCOL || strcmp(r.events, "x") != 0)
                fail_msg("%s, step %zu: %u %s", cases[i].what, step, r.code, r.events);
        }
    }
}

/* One that could not be compressed is a little larger than it was. */
static void test_limits_of_compressed_messages(void **state)
{
    struct frames f;
    char kinds[32];

    (void)state;
    frames_init(&f, 1000);
    assert_in_range(frames_allow_compressed(&f), 1000 + 5, 2000);
    frames_done(&f);
    assert_int_equal(run_compressed(SPAN("\xc1\xfe\x03\xed" MASK), 3, 1000, kinds).code, 0);
    assert_int_equal(run_compressed(SPAN("\x81\xfe\x03\xed" MASK), 3, 1000, kinds).code,
                     CLOSE_TOO_BIG);
    assert_int_equal(run_compressed(SPAN("\xc1\xfe\x07\xed" MASK), 3, 1000, kinds).code,
                     CLOSE_TOO_BIG);
}

static void test_what_stands_before_a_broken_frame_passes(void **state)
{
    (void)state;
    for (size_t step = 1; step < 16; step++) {
        struct run r = run(SPAN("\x81\x81" MASK "x\x89\x80" MASK "\x83\x80" MASK), step, 100);
        assert_string_equal(r.events, "ix");
        assert_int_equal(r.passed_n, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_close_frames),
        cmocka_unit_test(test_data_passes_as_it_stands),
        cmocka_unit_test(test_control_frames_are_taken_out),
        cmocka_unit_test(test_a_message_is_measured_over_its_fragments),
        cmocka_unit_test(test_the_mark_is_taken_off),
        cmocka_unit_test(test_marks_in_wrong_places),
        cmocka_unit_test(test_limits_of_compressed_messages),
        cmocka_unit_test(test_what_stands_before_a_broken_frame_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
