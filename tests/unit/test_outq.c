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

/* As a session does it: nothing is queued that is over a limit. */
static enum outq_verdict push(struct outq *q, size_t n, enum outq_kind kind, uint64_t now)
{
    struct slip *s = slip_of(n);
    enum outq_verdict verdict = OUTQ_OK;

    if (kind != OUTQ_PACED) verdict = outq_judge(q, s->frame->len, now, limits);
    if (verdict == OUTQ_OK) outq_push(q, s, outq_tag(kind, 7), now);
    slip_unref(s);
    return verdict;
}

static void pop(struct outq *q)
{
    slip_unref(outq_take(q));
}

static void test_order(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    assert_null(outq_head(&q));
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 200; i++)
            assert_int_equal(push(&q, i, OUTQ_PACED, 0), OUTQ_OK);
        for (size_t i = 0; i < 200; i++) {
            assert_int_equal(outq_head(&q)->len, i + (i < 126 ? 2 : 4));
            pop(&q);
        }
        assert_true(outq_empty(&q));
        assert_int_equal(q.bytes, 0);
        assert_int_equal(q.memory, 0);
    }
}

static void test_moves_while_growing(void **state)
{
    struct outq q;
    size_t in = 0, out = 0;
    (void)state;

    outq_init(&q);
    for (size_t i = 0; i < 200; i++) {
        push(&q, in++, OUTQ_PACED, 0);
        push(&q, in++, OUTQ_PACED, 0);
        assert_int_equal(outq_head(&q)->len, out + (out < 126 ? 2 : 4));
        pop(&q);
        out++;
    }
    assert_int_equal(q.count, 200);
    assert_true(q.memory < 200 * sizeof(struct outq_entry) + 4096);
    outq_clear(&q);
    assert_true(outq_empty(&q));
    assert_int_equal(q.memory, 0);
}

/* A few that wait while more come: they need no memory, and keep their order when they move. */
static void test_a_few_at_a_time(void **state)
{
    struct outq q;
    (void)state;

    for (size_t wait = 1; wait < OUTQ_OWN + 2; wait++) {
        outq_init(&q);
        for (size_t i = 1; i <= wait; i++)
            push(&q, i, OUTQ_LOSSY, 0);
        for (size_t i = wait + 1; i < 40; i++) {
            struct outq_place oldest;
            pop(&q);
            push(&q, i, i % 3 ? OUTQ_PACED : OUTQ_LOSSY, 0);
            assert_int_equal(outq_head(&q)->len, i - wait + 1 + 2);
            assert_int_equal(q.count, wait);
            if (wait <= OUTQ_OWN && i < 30) assert_int_equal(q.memory, 0);
            if (i == 30 && q.lossy_count > 0)
                assert_true(outq_oldest_lossy(&q, &oldest)->slip->frame->len % 3 == 2);
        }
        while (!outq_empty(&q))
            pop(&q);
        assert_int_equal(q.bytes, 0);
        assert_int_equal(q.memory, 0);
    }
}

static void test_bytes(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    assert_int_equal(push(&q, 500, OUTQ_CAPPED, 0), OUTQ_OK); /* an empty queue takes any one */
    assert_int_equal(push(&q, 1, OUTQ_CAPPED, 0), OUTQ_SLOW);
    assert_int_equal(push(&q, 500, OUTQ_PACED, 0), OUTQ_OK);
    pop(&q);
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
    pop(&q);
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
        outq_push(&q, s, OUTQ_PACED, 0);
    assert_int_equal(s->refs, 6);
    pop(&q);
    assert_int_equal(s->refs, 5);
    outq_clear(&q);
    assert_int_equal(s->refs, 1);
    assert_true(sizeof(struct outq_entry) <= 16);
    slip_unref(s);
}

/* ---- what may be lost ------------------------------------------------------------------------ */

static struct outq_place place;

static size_t oldest_lossy(struct outq *q)
{
    const struct outq_entry *e = outq_oldest_lossy(q, &place);

    return e ? e->slip->frame->len : 0;
}

static void drop(struct outq *q, bool gap)
{
    (void)oldest_lossy(q);
    slip_unref(outq_drop(q, place));
    if (!gap) outq_erase(q, place);
}

static void test_drops_the_oldest(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    assert_int_equal(oldest_lossy(&q), 0);
    push(&q, 1, OUTQ_CAPPED, 0);
    push(&q, 2, OUTQ_LOSSY, 0);
    push(&q, 3, OUTQ_PACED, 0);
    push(&q, 4, OUTQ_LOSSY, 0);
    push(&q, 5, OUTQ_LOSSY, 0);
    assert_int_equal(oldest_lossy(&q), 4);
    drop(&q, true);
    assert_int_equal(oldest_lossy(&q), 6);
    drop(&q, false);
    assert_int_equal(q.lossy_count, 1);
    assert_int_equal(q.gaps, 1);
    assert_int_equal(q.bytes, 3 + 5 + 7);
    assert_int_equal(q.capped, 3 + 7);
    pop(&q);
    assert_null(outq_head(&q)); /* the gap */
    {
        struct outq_walk w = {.seen = 0};
        struct outq_entry *e = outq_next(&q, &w);
        struct slip *s = slip_of(30);
        assert_int_equal(outq_kind(e->tag), OUTQ_GAP);
        assert_int_equal(outq_lane(e->tag), 7);
        outq_fill(&q, e, s);
        slip_unref(s);
    }
    assert_int_equal(outq_head(&q)->len, 32);
    pop(&q);
    assert_int_equal(outq_head(&q)->len, 5);
    pop(&q);
    assert_int_equal(outq_head(&q)->len, 7); /* what was dropped behind it is skipped */
    pop(&q);
    assert_true(outq_empty(&q));
}

/* A queue in which nothing but a gap waits is empty for what comes. */
static void test_a_gap_alone(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    push(&q, 90, OUTQ_LOSSY, 0);
    drop(&q, true);
    assert_false(outq_empty(&q));
    assert_int_equal(push(&q, 500, OUTQ_LOSSY, 5000), OUTQ_OK);
    assert_int_equal(push(&q, 1, OUTQ_LOSSY, 5000), OUTQ_SLOW);
    drop(&q, false);
    outq_push_gap(&q, 3, 0);
    assert_int_equal(q.gaps, 2);
    assert_int_equal(oldest_lossy(&q), 0);
    outq_clear(&q);
}

/* One frame that is never taken, behind which others come and go. */
static void test_nothing_is_kept_for_nothing(void **state)
{
    struct outq q;
    (void)state;

    outq_init(&q);
    push(&q, 1, OUTQ_PACED, 0);
    for (int i = 0; i < 100000; i++) {
        struct slip *s = slip_of(1);
        outq_push(&q, s, outq_tag(OUTQ_LOSSY, 1), 0);
        slip_unref(s);
        if (i >= 10) drop(&q, false);
        if (i % 20000 == 0) push(&q, 2, OUTQ_PACED, 0);
        assert_true(q.memory < 10000);
    }
    for (int i = 0; i < 16; i++)
        pop(&q);
    assert_true(outq_empty(&q));
    assert_int_equal(q.memory, 0);
}

static void test_kept(void **state)
{
    struct outq q;
    struct outq_walk w = {.seen = 0};
    struct outq_entry *e;
    (void)state;

    outq_init(&q);
    for (int i = 0; i < 40; i++)
        push(&q, 0, i % 2 ? OUTQ_LOSSY : OUTQ_CAPPED, 0);
    while ((e = outq_next(&q, &w)))
        if (outq_kind(e->tag) == OUTQ_LOSSY) outq_keep(&q, e);
    assert_int_equal(oldest_lossy(&q), 0);
    assert_int_equal(q.capped, 40 * 2);
    outq_clear(&q);
}

/* Against a plain list: whatever is done, order and sums are right. */
static void test_model(void **state)
{
    enum { MOST = 4000 };
    static struct {
        size_t len;
        bool lossy, here;
    } model[MOST];
    struct outq q;
    uint32_t chance = 1;
    size_t in = 0, head = 0, bytes = 0;
    (void)state;

    outq_init(&q);
    while (in < MOST) {
        chance = chance * 1664525 + 1013904223;
        if (chance >> 30 < 2) {
            size_t n = chance >> 8 & 63;
            bool lossy = chance >> 20 & 1;
            struct slip *s = slip_of(n);
            outq_push(&q, s, lossy ? outq_tag(OUTQ_LOSSY, 1) : OUTQ_PACED, 0);
            slip_unref(s);
            model[in].len = n + 2;
            model[in].lossy = lossy;
            model[in++].here = true;
            bytes += n + 2;
        } else if (chance >> 30 == 2) {
            size_t i = head;
            while (i < in && !(model[i].here && model[i].lossy))
                i++;
            if (i == in) {
                assert_int_equal(oldest_lossy(&q), 0);
                continue;
            }
            assert_int_equal(oldest_lossy(&q), model[i].len);
            drop(&q, false);
            model[i].here = false;
            bytes -= model[i].len;
        } else {
            while (head < in && !model[head].here)
                head++;
            assert_int_equal(outq_empty(&q), head == in);
            if (head == in) continue;
            assert_int_equal(outq_head(&q)->len, model[head].len);
            pop(&q);
            bytes -= model[head++].len;
        }
        assert_int_equal(q.bytes, bytes);
    }
    outq_clear(&q);
    assert_int_equal(q.memory, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_moves_while_growing),
        cmocka_unit_test(test_a_few_at_a_time),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_drops_the_oldest),
        cmocka_unit_test(test_a_gap_alone),
        cmocka_unit_test(test_nothing_is_kept_for_nothing),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
