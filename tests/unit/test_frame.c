#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/frame.h"

static char big[70000];

static void check(size_t n, uint32_t head, const unsigned char *bytes)
{
    struct frame *f = frame_new(FRAME_TEXT, span_of(big, n));
    assert_int_equal(f->head, head);
    assert_int_equal(f->len, head + n);
    assert_memory_equal(f->bytes, bytes, head);
    assert_true(span_eq(frame_payload(f), span_of(big, n)));
    frame_unref(f);
}

static void header_is_as_short_as_it_may_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)i;
    check(0, 2, (const unsigned char[]){0x81, 0});
    check(125, 2, (const unsigned char[]){0x81, 125});
    check(126, 4, (const unsigned char[]){0x81, 126, 0, 126});
    check(65535, 4, (const unsigned char[]){0x81, 126, 0xff, 0xff});
    check(65536, 10, (const unsigned char[]){0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0});
}

static void opcode_is_in_the_first_byte(void **state)
{
    (void)state;
    struct frame *f = frame_new(FRAME_PING, SPAN("x"));
    assert_int_equal(f->bytes[0], 0x89);
    frame_unref(f);
    f = frame_new(FRAME_BINARY, SPAN("x"));
    assert_int_equal(f->bytes[0], 0x82);
    frame_unref(f);
}

static void a_run_holds_frames_of_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 3};
    struct buf out;
    struct frame *run;
    struct span payload;
    size_t at = 0;
    (void)state;
    buf_init(&out, BUF_UNLIMITED);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        frame_append(&out, FRAME_TEXT, span_of(big + i, sizes[i]));
    run = frame_run(buf_view(&out), 7);
    assert_int_equal(run->len, out.n);
    assert_int_equal(run->head, 2);
    assert_int_equal(run->count, 7);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        assert_true(frame_next(run, &at, &payload));
        assert_true(span_eq(payload, span_of(big + i, sizes[i])));
    }
    assert_false(frame_next(run, &at, &payload));
    frame_unref(run);
    buf_free(&out);
}

static void one_frame_is_a_run_of_one(void **state)
{
    struct frame *f = frame_new(FRAME_TEXT, SPAN("hello"));
    struct span payload;
    size_t at = 0;
    (void)state;
    assert_true(frame_next(f, &at, &payload));
    assert_true(span_eq(payload, SPAN("hello")));
    assert_false(frame_next(f, &at, &payload));
    frame_unref(f);
}

static void lives_until_the_last_slip_is_gone(void **state)
{
    (void)state;
    struct frame *f = frame_new(FRAME_TEXT, SPAN("hello"));
    struct slip *a = slip_new(frame_ref(f));
    struct slip *b = slip_new(f);
    slip_ref(a);
    slip_unref(a);
    slip_unref(b);
    assert_true(span_eq(frame_payload(a->frame), SPAN("hello")));
    slip_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_is_as_short_as_it_may_be),
        cmocka_unit_test(opcode_is_in_the_first_byte),
        cmocka_unit_test(a_run_holds_frames_of_every_size),
        cmocka_unit_test(one_frame_is_a_run_of_one),
        cmocka_unit_test(lives_until_the_last_slip_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
