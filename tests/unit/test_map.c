#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/map.h"

#define THINGS 5000

struct thing {
    struct map_node node;
    uint64_t key;
    int seen;
};

static struct thing things[THINGS];

static struct thing *find(struct map *m, uint64_t key)
{
    for (struct map_node *n = map_find(m, hash_u64(key)); n; n = map_again(n)) {
        struct thing *t = CONTAINER_OF(n, struct thing, node);
        if (t->key == key) return t;
    }
    return NULL;
}

static void fill(struct map *m)
{
    map_init(m);
    for (size_t i = 0; i < THINGS; i++) {
        things[i] = (struct thing){.key = i * 7};
        map_insert(m, &things[i].node, hash_u64(things[i].key));
    }
}

static void finds_nothing_in_an_empty_map(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_find(&m, 1));
    struct map_walk w = {0};
    assert_null(map_next(&m, &w));
    map_done(&m);
}

static void finds_what_was_inserted_while_it_grows(void **state)
{
    (void)state;
    struct map m;
    fill(&m);
    assert_int_equal(m.count, THINGS);
    for (size_t i = 0; i < THINGS; i++)
        assert_ptr_equal(find(&m, i * 7), &things[i]);
    assert_null(find(&m, 1));
    map_done(&m);
}

static void walk_sees_each_once_and_may_remove_it(void **state)
{
    (void)state;
    struct map m;
    fill(&m);
    struct map_walk w = {0};
    struct map_node *n;
    size_t count = 0;
    while ((n = map_next(&m, &w))) {
        struct thing *t = CONTAINER_OF(n, struct thing, node);
        assert_int_equal(t->seen++, 0);
        if (t->key % 2) map_remove(&m, n);
        count++;
    }
    assert_int_equal(count, THINGS);
    assert_int_equal(m.count, THINGS / 2);
    for (size_t i = 0; i < THINGS; i++)
        assert_true((find(&m, i * 7) != NULL) == (i % 2 == 0));
    map_done(&m);
}

static void shrinks_when_little_is_left(void **state)
{
    (void)state;
    struct map m;
    fill(&m);
    size_t large = m.mask;
    for (size_t i = 1; i < THINGS; i++)
        map_remove(&m, &things[i].node);
    for (size_t i = 0; i < THINGS; i++) { /* a little each time */
        map_insert(&m, &things[1].node, hash_u64(things[1].key));
        map_remove(&m, &things[1].node);
    }
    map_insert(&m, &things[1].node, hash_u64(things[1].key));
    assert_true(m.mask < large / 100);
    assert_ptr_equal(find(&m, 0), &things[0]);
    assert_ptr_equal(find(&m, 7), &things[1]);
    map_done(&m);
}

/* What fills and empties in each turn of a loop is not resized each time. */
static void stays_as_it_is_while_it_is_small(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    struct map_node **slots = NULL;
    for (unsigned turn = 0; turn < 10; turn++) {
        for (size_t i = 0; i < 30; i++)
            map_insert(&m, &things[i].node, hash_u64(i));
        if (turn == 1) slots = m.slots;
        if (turn > 1) assert_ptr_equal(m.slots, slots);
        for (size_t i = 0; i < 30; i++)
            map_remove(&m, &things[i].node);
    }
    map_done(&m);
}

/* A hint changes nothing, whatever is in the map. */
static void may_be_fetched_ahead(void **state)
{
    (void)state;
    struct map m;
    uint64_t hashes[120];
    for (uint64_t i = 0; i < 120; i++)
        hashes[i] = i;
    map_init(&m);
    for (uint64_t i = 0; i < 100; i++) {
        map_fetch(&m, hashes, 120);
        map_insert(&m, &things[i].node, i % 7 << 20 | i); /* long chains too */
    }
    assert_int_equal(m.count, 100);
    for (uint64_t i = 0; i < 100; i++)
        assert_ptr_equal(map_find(&m, i % 7 << 20 | i), &things[i].node);
    map_done(&m);
}

static void walk_meets(struct map *m, size_t inside)
{
    struct map_walk w = {0};
    size_t count = 0;
    while (map_next(m, &w))
        count++;
    assert_int_equal(count, inside);
    assert_int_equal(m->count, inside);
}

/* Between two sizes too: `old` is looked at as often as not. */
static void is_right_while_it_changes_its_size(void **state)
{
    (void)state;
    static bool in[THINGS];
    struct map m;
    size_t inside = 0, between = 0;
    uint64_t chance = 1;
    map_init(&m);
    for (size_t i = 0; i < THINGS; i++)
        things[i].key = i;
    for (unsigned turn = 0; turn < 400000; turn++) {
        chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t i = (size_t)(chance >> 40) % THINGS;
        /* It fills, is emptied nearly, and fills again. */
        bool fills = turn / 50000 % 2 == 0 || (chance >> 33) % 8 == 0;
        between += m.old != NULL;
        assert_ptr_equal(find(&m, i), in[i] ? &things[i] : NULL);
        if (in[i] == fills) continue;
        if (fills)
            map_insert(&m, &things[i].node, hash_u64(i));
        else
            map_remove(&m, &things[i].node);
        in[i] = fills;
        inside += fills ? 1 : (size_t)-1;
        if (turn % 997 == 0) walk_meets(&m, inside);
    }
    assert_true(between > 10000);
    walk_meets(&m, inside);
    map_done(&m);
}

static void equal_hashes_are_told_apart_by_the_caller(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    for (size_t i = 0; i < 100; i++) {
        things[i] = (struct thing){.key = i};
        map_insert(&m, &things[i].node, i % 2);
    }
    size_t count = 0;
    for (struct map_node *n = map_find(&m, 1); n; n = map_again(n))
        count++;
    assert_int_equal(count, 50);
    map_done(&m);
}

static void hash_depends_on_every_byte_and_the_length(void **state)
{
    (void)state;
    char text[33] = {0};
    uint64_t before = hash_span(span_of(text, 0));
    for (size_t n = 1; n <= 33; n++) {
        uint64_t h = hash_span(span_of(text, n));
        assert_int_not_equal(h, before);
        before = h;
        text[n - 1] = 1;
        assert_int_not_equal(hash_span(span_of(text, n)), h);
        text[n - 1] = 0;
        assert_int_equal(hash_span(span_of(text, n)), h);
    }
    assert_int_equal(hash_span(span_of(NULL, 0)), hash_span(span_of(text, 0)));
    assert_int_not_equal(hash_u64(1), hash_u64(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_in_an_empty_map),
        cmocka_unit_test(finds_what_was_inserted_while_it_grows),
        cmocka_unit_test(walk_sees_each_once_and_may_remove_it),
        cmocka_unit_test(shrinks_when_little_is_left),
        cmocka_unit_test(stays_as_it_is_while_it_is_small),
        cmocka_unit_test(may_be_fetched_ahead),
        cmocka_unit_test(is_right_while_it_changes_its_size),
        cmocka_unit_test(equal_hashes_are_told_apart_by_the_caller),
        cmocka_unit_test(hash_depends_on_every_byte_and_the_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
