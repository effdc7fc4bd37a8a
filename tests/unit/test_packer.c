/* Messages out and in again: what is compressed, for whom, once; what may come of what comes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <zlib.h>

#include "base/frame.h"
#include "base/inflater.h"
#include "base/packer.h"

#define RSV1 0x40

static char text[200000];

/* Something like JSON, different in each place. */
static void fill(void)
{
    size_t n = 0;

    srand(7);
    while (n < sizeof text - 64)
        n += (size_t)snprintf(text + n, 64, "{\"symbol\":\"EUR%d\",\"bid\":%d.%05d},",
                              rand() % 1000, rand() % 3, rand() % 100000);
}

static const struct inflater_bounds free_bounds = {1 << 30, 0};

/* What a client makes of a frame. */
static struct span read_back(struct inflater *i, const struct frame *f)
{
    struct span plain = {NULL, 0};

    assert_int_equal(inflater_message(i, frame_payload(f), &free_bounds, &plain), INFLATER_OK);
    return plain;
}

static void test_round_trips(void **state)
{
    static const size_t sizes[] = {1,    2,     10,    100,   125,   126,    300,
                                   1024, 30000, 32768, 40000, 65535, 100000, sizeof text - 100};
    struct inflater *i = inflater_new();

    (void)state;
    for (int level = 1; level <= 9; level++) {
        struct packer *p = packer_new(level, 0);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            struct span plain = span_of(text, sizes[k]);
            struct frame *f = frame_new(FRAME_TEXT, plain);
            const struct frame *form = packer_form(p, f, 15);
            if (sizes[k] < 10) assert_ptr_equal(form, f);
            if (form != f) {
                assert_int_equal(form->bytes[0], 0x80 | RSV1 | FRAME_TEXT);
                assert_true(form->len < f->len);
                assert_true(span_eq(read_back(i, form), plain));
                inflater_rest(i);
            }
            if (sizes[k] >= 300) assert_true(form->len < f->len * 3 / 4);
            frame_unref(f);
        }
        packer_free(p);
    }
    inflater_free(i);
}

static void test_once(void **state)
{
    struct packer *p = packer_new(1, 0), *other = packer_new(9, 0);
    struct frame *f = frame_new(FRAME_BINARY, span_of(text, 5000));
    const struct frame *form = packer_form(p, f, 15);

    (void)state;
    assert_ptr_not_equal(form, f);
    assert_int_equal(form->bytes[0], 0x80 | RSV1 | FRAME_BINARY);
    assert_ptr_equal(packer_form(p, f, 15), form);
    assert_ptr_equal(packer_form(other, f, 15), form);
    packer_free(p);
    packer_free(other);
    frame_unref(f);
}

static void test_left_as_they_are(void **state)
{
    struct packer *p = packer_new(1, 256);
    char noise[1000];
    struct frame *f;

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(rand() >> 7);
    f = frame_new(FRAME_BINARY, span_of(noise, sizeof noise)); /* would not be smaller */
    assert_ptr_equal(packer_form(p, f, 15), f);
    assert_ptr_equal(packer_form(p, f, 15), f);
    frame_unref(f);
    f = frame_new(FRAME_TEXT, span_of(text, 255)); /* too small */
    assert_ptr_equal(packer_form(p, f, 15), f);
    frame_unref(f);
    f = frame_new(FRAME_TEXT, span_of(text, 256));
    assert_ptr_not_equal(packer_form(p, f, 15), f);
    frame_unref(f);
    packer_free(p);
    p = packer_new(1, 0);
    f = frame_new(FRAME_PING, span_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 50));
    assert_ptr_equal(packer_form(p, f, 15), f); /* never a control frame */
    frame_unref(f);
    packer_free(p);
}

/* A window of a client must hold the whole message. */
static void test_windows(void **state)
{
    static const struct {
        size_t size;
        unsigned least;
    } cases[] = {{200, 8},   {256, 8},    {257, 9},    {512, 9},    {513, 10},
                 {1024, 10}, {30000, 15}, {32768, 15}, {100000, 15}};
    struct packer *p = packer_new(6, 0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct frame *f = frame_new(FRAME_TEXT, span_of(text, cases[i].size));
        for (unsigned bits = 8; bits <= 15; bits++) {
            const struct frame *form = packer_form(p, f, bits);
            if ((form != f) != (bits >= cases[i].least))
                fail_msg("%zu bytes, window of %u bits", cases[i].size, bits);
        }
        frame_unref(f);
    }
    packer_free(p);
}

/* zlib refuses a reference that is longer than the window that it was told of. */
static void test_small_window_is_enough(void **state)
{
    struct packer *p = packer_new(9, 0);
    unsigned char out[2048];

    (void)state;
    for (size_t size = 100; size <= 1024; size += 7) {
        unsigned bits = size <= 256 ? 8 : size <= 512 ? 9 : 10;
        struct frame *f = frame_new(FRAME_TEXT, span_of(text, size));
        const struct frame *form = packer_form(p, f, bits);
        z_stream z = {.next_out = out, .avail_out = sizeof out};
        if (form != f) {
            struct span packed = frame_payload(form);
            z.next_in = (Bytef *)(size_t)packed.p;
            z.avail_in = (uInt)packed.n;
            assert_int_equal(inflateInit2(&z, -(int)bits), Z_OK);
            assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
            assert_int_equal(z.total_out, size);
            inflateEnd(&z);
        }
        frame_unref(f);
    }
    packer_free(p);
}

static void test_runs(void **state)
{
    static const size_t sizes[] = {3, 300, 0, 5000, 20, 700};
    struct inflater *i = inflater_new();
    struct packer *p = packer_new(1, 256);
    const struct frame *form;
    struct frame *run;
    struct span payload;
    struct buf out;
    size_t at = 0, from = 0;

    (void)state;
    buf_init(&out, BUF_UNLIMITED);
    for (size_t k = 0; k < 6; k++)
        frame_append(&out, FRAME_TEXT, span_of(text, sizes[k]));
    run = frame_run(buf_view(&out), 6);
    form = packer_form(p, run, 15);
    assert_ptr_not_equal(form, run);
    assert_int_equal(form->count, 6);
    assert_ptr_equal(packer_form(p, run, 12), run); /* not for the largest of them */
    assert_ptr_equal(packer_form(p, run, 13), form);
    for (size_t k = 0; k < 6; k++, from = at) {
        struct span plain;
        assert_true(frame_next(form, &at, &payload));
        plain = payload;
        assert_int_equal(form->bytes[from] & RSV1, sizes[k] >= 256 ? RSV1 : 0);
        if (sizes[k] >= 256)
            assert_int_equal(inflater_message(i, payload, &free_bounds, &plain), INFLATER_OK);
        assert_true(span_eq(plain, span_of(text, sizes[k])));
    }
    assert_false(frame_next(form, &at, &payload));
    frame_unref(run);
    buf_free(&out);
    packer_free(p);
    inflater_free(i);
}

/* ---- several threads ------------------------------------------------------------------------- */

#define FRAMES 200

static struct frame *shared[FRAMES];

static void *ask_for_all(void *arg)
{
    const struct frame **forms = arg;
    struct packer *p = packer_new(1, 0);

    for (size_t i = 0; i < FRAMES; i++)
        forms[i] = packer_form(p, shared[i], 15);
    packer_free(p);
    return NULL;
}

static void test_threads(void **state)
{
    static const struct frame *forms[3][FRAMES];
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < FRAMES; i++)
        shared[i] = frame_new(FRAME_TEXT, span_of(text + i, 1000 + i));
    for (size_t t = 0; t < 3; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, ask_for_all, forms[t]), 0);
    for (size_t t = 0; t < 3; t++)
        pthread_join(threads[t], NULL);
    for (size_t i = 0; i < FRAMES; i++) {
        assert_ptr_not_equal(forms[0][i], shared[i]);
        assert_ptr_equal(forms[0][i], forms[1][i]);
        assert_ptr_equal(forms[0][i], forms[2][i]);
        frame_unref(shared[i]);
    }
}

/* ---- in -------------------------------------------------------------------------------------- */

/* As a client makes it; `from` goes before the end in one go. */
static struct span deflated(char *out, size_t room, struct span plain)
{
    z_stream z = {.next_in = (Bytef *)(size_t)plain.p,
                  .avail_in = (uInt)plain.n,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)room};

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    deflateEnd(&z);
    return span_of(out, (size_t)z.total_out - 4);
}

/* The examples of RFC 7692, section 7.2.3, and what stands close to them. */
static void test_examples(void **state)
{
    static const struct {
        const char *what;
        struct span in;
        enum inflater_result result;
        const char *plain;
    } cases[] = {
        {"7.2.3.1", SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"), INFLATER_OK, "Hello"},
        {"7.2.3.3 no compression", SPAN("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
         INFLATER_OK, "Hello"},
        {"7.2.3.4 the last block", SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), INFLATER_OK, "Hello"},
        {"the last block, nothing behind", SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), INFLATER_OK,
         "Hello"},
        {"7.2.3.5 two blocks", SPAN("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
         INFLATER_OK, "Hello"},
        {"two streams", SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
         INFLATER_OK, "HelloHello"},
        {"7.2.3.6 empty", SPAN("\x00"), INFLATER_OK, ""},
        {"no bytes", SPAN(""), INFLATER_OK, ""},
        {"a reference to the message before", SPAN("\xf2\x00\x11\x00\x00"), INFLATER_BROKEN, NULL},
        {"a block of no type", SPAN("\x06"), INFLATER_BROKEN, NULL},
        {"lengths that do not match", SPAN("\x00\x05\x00\x00\x00Hello"), INFLATER_BROKEN, NULL},
        {"cut in a stored block", SPAN("\x00\x50\x00\xaf\xff\x48\x65\x6c"), INFLATER_BROKEN, NULL},
        {"cut in a code", SPAN("\xf2\x48\xcd\xc9"), INFLATER_BROKEN, NULL},
        {"cut before the end of the block", SPAN("\xf2\x48\xcd\xc9\xc9"), INFLATER_BROKEN, NULL},
        {"gzip", SPAN("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xf3\x48\xcd\xc9\xc9\x07\x00"),
         INFLATER_BROKEN, NULL},
    };
    struct inflater *i = inflater_new();

    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct span plain = {NULL, 0};
        enum inflater_result r = inflater_message(i, cases[k].in, &free_bounds, &plain);
        if (r != cases[k].result) fail_msg("%s: %d", cases[k].what, (int)r);
        if (r != INFLATER_OK) continue;
        if (!span_eq(plain, span_str(cases[k].plain))) fail_msg("%s: other text", cases[k].what);
        inflater_rest(i);
    }
    inflater_free(i);
}

static void test_bound_of_bytes(void **state)
{
    static const size_t sizes[] = {1, 100, 4095, 4096, 4097, 16384, 65537, 150000};
    static char packed[sizeof text];
    struct inflater *i = inflater_new();

    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct inflater_bounds exact = {sizes[k], 0}, less = {sizes[k] - 1, 0};
        struct span in = deflated(packed, sizeof packed, span_of(text, sizes[k])), plain;
        assert_int_equal(inflater_message(i, in, &exact, &plain), INFLATER_OK);
        assert_true(span_eq(plain, span_of(text, sizes[k])));
        inflater_rest(i);
        assert_int_equal(inflater_message(i, in, &less, &plain), INFLATER_TOO_LARGE);
    }
    inflater_free(i);
}

/* 64 MB of zeros in 64 KB: it ends at the bound, and holds no more memory than that. */
static void test_bomb(void **state)
{
    size_t size = 64U << 20, room = size / 500;
    char *zeros = calloc(1, size), *packed = malloc(room);
    struct span in = deflated(packed, room, span_of(zeros, size)), plain;
    struct inflater *i = inflater_new();
    static const struct {
        struct inflater_bounds bounds;
        enum inflater_result result;
    } cases[] = {
        {{1 << 20, 0}, INFLATER_TOO_LARGE},         {{1 << 20, 100}, INFLATER_TOO_LARGE},
        {{64U << 20, 100}, INFLATER_TOO_DENSE},     {{64U << 20, 900}, INFLATER_TOO_DENSE},
        {{64U << 20, 1100}, INFLATER_OK},           {{64U << 20, 0}, INFLATER_OK},
        {{(64U << 20) - 1, 0}, INFLATER_TOO_LARGE}, {{1, 1}, INFLATER_TOO_LARGE},
    };

    (void)state;
    assert_true(in.n < size / 1000);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        assert_int_equal(inflater_message(i, in, &cases[k].bounds, &plain), cases[k].result);
    inflater_free(i);
    free(zeros);
    free(packed);
}

/* A little of anything is no bomb. */
static void test_small_and_dense(void **state)
{
    static char zeros[INFLATER_FREE + 1], packed[1000];
    struct inflater_bounds bounds = {1 << 20, 2};
    struct inflater *i = inflater_new();
    struct span plain;

    (void)state;
    assert_int_equal(
        inflater_message(i, deflated(packed, sizeof packed, span_of(zeros, INFLATER_FREE)), &bounds,
                         &plain),
        INFLATER_OK);
    assert_int_equal(plain.n, INFLATER_FREE);
    assert_int_equal(
        inflater_message(i, deflated(packed, sizeof packed, span_of(zeros, INFLATER_FREE + 1)),
                         &bounds, &plain),
        INFLATER_TOO_DENSE);
    inflater_free(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_left_as_they_are),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_small_window_is_enough),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_bound_of_bytes),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_small_and_dense),
    };

    fill();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
