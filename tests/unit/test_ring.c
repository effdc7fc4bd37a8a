/* The ring: bounds, floor, chains by key, and what it can and cannot tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/ring.h"
#include "protocol/cursor.h"

static const struct span any = {NULL, 0};

static struct wsbus_message *message(int32_t partition, uint64_t n, const char *key)
{
    struct wsbus_message m = {
        .pos = {.partition = partition, .epoch = 7, .lo = n},
        .ts = (int64_t)n,
        .key = key,
        .key_len = key ? (uint32_t)strlen(key) : 0,
        .payload = "x",
        .payload_len = 1,
    };
    return wsbus_message_new(&m);
}

static void push(struct ring *r, int32_t partition, uint64_t n, const char *key)
{
    struct wsbus_message *m = message(partition, n, key);
    ring_push(r, m);
    wsbus_message_unref(m);
}

static struct wsbus_cursor *cursor(uint64_t n)
{
    struct wsbus_cursor *c = cursor_new(1);
    c->pos[0].epoch = 7;
    c->pos[0].lo = n;
    return c;
}

static void begin(struct ring *r, size_t max_messages, size_t max_bytes, uint64_t floor)
{
    struct wsbus_cursor *c = cursor(floor);
    ring_init(r, max_messages, max_bytes, 3);
    ring_begin(r, c);
    cursor_free(c);
}

static bool covers(const struct ring *r, uint64_t n)
{
    struct wsbus_cursor *c = cursor(n);
    bool yes = ring_covers(r, c);
    cursor_free(c);
    return yes;
}

static uint64_t after(const struct ring *r, uint64_t n, struct span key)
{
    struct wsbus_cursor *c = cursor(n);
    uint64_t serial = ring_after(r, c, key);
    cursor_free(c);
    return serial == RING_NONE ? 0 : ring_entry(r, serial)->message->pos.lo;
}

static void an_empty_ring_covers_from_where_it_began(void **state)
{
    struct ring r;
    (void)state;
    begin(&r, 10, 1 << 20, 5);
    assert_true(covers(&r, 5));
    assert_true(covers(&r, 6));
    assert_false(covers(&r, 4));
    assert_int_equal(after(&r, 5, any), 0);
    assert_null(ring_newest(&r, any, 1));
    ring_done(&r);
}

static void holes_of_the_log_do_not_move_the_floor(void **state)
{
    struct ring r;
    (void)state;
    begin(&r, 10, 1 << 20, 5);
    push(&r, 0, 90, NULL);
    push(&r, 0, 95, NULL);
    assert_true(covers(&r, 5));
    assert_int_equal(after(&r, 5, any), 90);
    assert_int_equal(after(&r, 90, any), 95);
    assert_int_equal(after(&r, 95, any), 0);
    ring_done(&r);
}

static void what_is_evicted_becomes_the_floor(void **state)
{
    struct ring r;
    (void)state;
    begin(&r, 4, 1 << 20, 0);
    for (uint64_t n = 1; n <= 10; n++)
        push(&r, 0, n, NULL);
    assert_int_equal(r.next - r.first, 4);
    assert_false(covers(&r, 5));
    assert_true(covers(&r, 6));
    assert_int_equal(after(&r, 6, any), 7);
    ring_done(&r);
}

static void bytes_bound_it_too_but_one_message_always_fits(void **state)
{
    struct ring r;
    (void)state;
    begin(&r, 1000, 10, 0);
    push(&r, 0, 1, NULL);
    push(&r, 0, 2, NULL);
    assert_int_equal(r.next - r.first, 1);
    assert_int_equal(after(&r, 0, any), 2);
    ring_done(&r);
}

static void another_epoch_is_not_covered(void **state)
{
    struct ring r;
    struct wsbus_cursor *c = cursor(9);
    (void)state;
    begin(&r, 10, 1 << 20, 5);
    c->pos[0].epoch = 8;
    assert_false(ring_covers(&r, c));
    cursor_free(c);
    c = cursor_new(0);
    assert_false(ring_covers(&r, c));
    cursor_free(c);
    ring_done(&r);
}

static void messages_are_chained_by_key(void **state)
{
    struct ring r;
    uint64_t serial;
    struct wsbus_cursor *c = cursor(0);
    (void)state;
    begin(&r, 6, 1 << 20, 0);
    for (uint64_t n = 1; n <= 12; n++)
        push(&r, 0, n, n % 3 == 0 ? "a" : "b");
    serial = ring_after(&r, c, SPAN("a"));
    assert_int_equal(ring_entry(&r, serial)->message->pos.lo, 9);
    serial = ring_following(&r, serial, SPAN("a"));
    assert_int_equal(ring_entry(&r, serial)->message->pos.lo, 12);
    assert_int_equal(ring_following(&r, serial, SPAN("a")), RING_NONE);
    assert_int_equal(after(&r, 9, SPAN("a")), 12);
    assert_int_equal(after(&r, 0, SPAN("b")), 7);
    assert_int_equal(after(&r, 0, SPAN("c")), 0);
    assert_int_equal(ring_newest(&r, SPAN("a"), 2)->pos.lo, 9);
    assert_null(ring_newest(&r, SPAN("a"), 3));
    assert_int_equal(ring_newest(&r, any, 6)->pos.lo, 7);
    assert_null(ring_newest(&r, any, 7));
    cursor_free(c);
    ring_done(&r);
}

static void the_newest_of_a_key_is_kept_beyond_the_ring(void **state)
{
    struct ring r;
    (void)state;
    begin(&r, 2, 1 << 20, 0);
    push(&r, 0, 1, "a");
    push(&r, 0, 2, "b");
    push(&r, 0, 3, "c");
    push(&r, 0, 4, "d");
    assert_int_equal(ring_newest(&r, SPAN("a"), 1)->pos.lo, 1);
    assert_null(ring_newest(&r, SPAN("a"), 2));
    push(&r, 0, 5, "e");
    push(&r, 0, 6, "f"); /* a, b, c, d are beyond, three of them are kept */
    assert_null(ring_newest(&r, SPAN("a"), 1));
    assert_int_equal(ring_newest(&r, SPAN("b"), 1)->pos.lo, 2);
    push(&r, 0, 7, "b"); /* back in the ring */
    assert_int_equal(ring_newest(&r, SPAN("b"), 1)->pos.lo, 7);
    assert_null(ring_newest(&r, SPAN("b"), 2));
    assert_int_equal(after(&r, 0, SPAN("b")), 7);
    ring_done(&r);
}

static void partitions_are_counted_apart(void **state)
{
    struct ring r;
    struct wsbus_cursor *c = cursor_new(2);
    (void)state;
    c->pos[0].epoch = c->pos[1].epoch = 7;
    ring_init(&r, 4, 1 << 20, 10);
    ring_begin(&r, c);
    for (uint64_t n = 1; n <= 3; n++) {
        push(&r, 0, n, NULL);
        push(&r, 1, n * 10, NULL);
    }
    assert_false(ring_covers(&r, c)); /* 0/1 and 1/10 were evicted */
    c->pos[0].lo = 1;
    assert_false(ring_covers(&r, c));
    c->pos[1].lo = 10;
    assert_true(ring_covers(&r, c));
    c->pos[0].lo = 3;
    assert_int_equal(ring_entry(&r, ring_after(&r, c, any))->message->pos.lo, 20);
    assert_int_equal(ring_count_after(&r, c), 2);
    cursor_free(c);
    ring_done(&r);
}

/* Against a naive model: every cursor the ring says it covers yields exactly what was pushed. */
static void random_pushes_agree_with_a_list(void **state)
{
    struct ring r;
    unsigned seed = 12345;
    uint64_t pos[2000], n = 0;
    int keys[2000];
    (void)state;
    begin(&r, 50, 1 << 20, 0);
    for (int i = 0; i < 2000; i++) {
        char key[8];
        n += 1 + (unsigned)rand_r(&seed) % 3;
        pos[i] = n;
        keys[i] = rand_r(&seed) % 7;
        snprintf(key, sizeof key, "k%d", keys[i]);
        push(&r, 0, n, keys[i] ? key : NULL);
        for (int probe = 0; probe < 5; probe++) {
            uint64_t from = n - (unsigned)rand_r(&seed) % (unsigned)(n < 150 ? n : 150);
            int wanted = 1 + rand_r(&seed) % 6;
            uint64_t all = 0, keyed = 0;
            if (!covers(&r, from)) continue;
            for (int j = i; j >= 0 && pos[j] > from; j--) {
                all = pos[j];
                if (keys[j] == wanted) keyed = pos[j];
            }
            snprintf(key, sizeof key, "k%d", wanted);
            assert_int_equal(after(&r, from, any), all);
            assert_int_equal(after(&r, from, span_str(key)), keyed);
        }
    }
    ring_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_ring_covers_from_where_it_began),
        cmocka_unit_test(holes_of_the_log_do_not_move_the_floor),
        cmocka_unit_test(what_is_evicted_becomes_the_floor),
        cmocka_unit_test(bytes_bound_it_too_but_one_message_always_fits),
        cmocka_unit_test(another_epoch_is_not_covered),
        cmocka_unit_test(messages_are_chained_by_key),
        cmocka_unit_test(the_newest_of_a_key_is_kept_beyond_the_ring),
        cmocka_unit_test(partitions_are_counted_apart),
        cmocka_unit_test(random_pushes_agree_with_a_list),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
