#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/outq.h"

static const struct outq_limits limits = {100, 1000};

static struct slip *slip_of(size_t n)
{
    static const char text[4096];

    return slip_new(frame_new(FRAME_TEXT, span_of(text, n)));
}

static enum outq_verdict push(struct outq *q, size_t n, enum outq_kind kind, uint64_t now)
{
    struct slip *s = slip_of(n);
    enum outq_verdict verdict = outq_push(q, s, kind, now, limits);

    slip_unref(s);
    return verdict;
}

static void test_order(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    assert_null(outq_at(&q, 0));
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 45; i++)
            assert_int_equal(push(&q, i, OUTQ_PACED, 0), OUTQ_OK);
        for (size_t i = 0; i < 45; i++) {
            assert_int_equal(outq_at(&q, 0)->len, i + 2);
            if (i < 44) assert_int_equal(outq_at(&q, 1)->len, i + 3);
            outq_pop(&q);
        }
        assert_true(outq_empty(&q));
        assert_int_equal(q.bytes, 0);
        assert_null(q.heap);
    }
}

static void test_wraps_while_growing(void **state)
{
    struct outq q;
    size_t in = 0, out = 0;
    (void)state;

    outq_init(&q);
    for (size_t i = 0; i < 200; i++) {
        push(&q, in++, OUTQ_PACED, 0);
        push(&q, in++, OUTQ_PACED, 0);
        assert_int_equal(outq_at(&q, 0)->len, out + (out < 126 ? 2 : 4));
        outq_pop(&q);
        out++;
    }
    assert_int_equal(q.count, 200);
    outq_clear(&q);
    assert_true(outq_empty(&q));
    assert_null(q.heap);
}

static void test_bytes(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    assert_int_equal(push(&q, 500, OUTQ_CAPPED, 0), OUTQ_OK); /* an empty queue takes any one */
    assert_int_equal(push(&q, 1, OUTQ_CAPPED, 0), OUTQ_SLOW);
    assert_int_equal(push(&q, 500, OUTQ_PACED, 0), OUTQ_OK);
    outq_pop(&q);
    assert_int_equal(q.capped, 0);
    assert_int_equal(push(&q, 98, OUTQ_CAPPED, 0), OUTQ_OK);
    assert_int_equal(push(&q, 0, OUTQ_CAPPED, 0), OUTQ_SLOW);
    assert_int_equal(q.count, 2);
    outq_clear(&q);
}

static void test_age(void **state)
{
    struct outq q;
    uint64_t start = UINT32_MAX - 500; /* the clock of the entries wraps around */
    (void)state;

    outq_init(&q);
    push(&q, 1, OUTQ_CAPPED, start);
    assert_int_equal(push(&q, 1, OUTQ_CAPPED, start + 1000), OUTQ_OK);
    assert_int_equal(push(&q, 1, OUTQ_CAPPED, start + 1001), OUTQ_SLOW);
    outq_pop(&q);
    assert_int_equal(push(&q, 1, OUTQ_CAPPED, start + 1001), OUTQ_OK);
    outq_clear(&q);
}

static void test_references(void **state)
{
    struct outq q;
    struct slip *s = slip_of(10);
    (void)state;

    outq_init(&q);
    for (int i = 0; i < 5; i++)
        (void)outq_push(&q, s, OUTQ_PACED, 0, limits);
    assert_int_equal(s->refs, 6);
    outq_pop(&q);
    assert_int_equal(s->refs, 5);
    outq_clear(&q);
    assert_int_equal(s->refs, 1);
    assert_true(sizeof(struct outq_entry) <= 16);
    slip_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),      cmocka_unit_test(test_wraps_while_growing),
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_age),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
