/* base/heap.h against an array that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/heap.h"

#define NODES 300

static struct heap_node nodes[NODES];

static const struct heap_node *least(void)
{
    const struct heap_node *found = NULL;

    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].at > 0 && (!found || nodes[i].key < found->key)) found = &nodes[i];
    return found;
}

static void test_set_and_remove(void **state)
{
    struct heap heap;
    uint64_t x = 88172645463325252U;
    (void)state;

    heap_init(&heap);
    assert_null(heap_first(&heap));
    for (int i = 0; i < 20000; i++) {
        struct heap_node *n;
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        n = &nodes[x % NODES];
        /* It fills and empties in turns. */
        if ((x >> 20) % 8 < (i / 2000 % 2 ? 6U : 2U))
            heap_remove(&heap, n);
        else
            heap_set(&heap, n, (x >> 32) % 1000);
        n = heap_first(&heap);
        if (n)
            assert_int_equal(n->key, least()->key);
        else
            assert_null(least());
    }
    heap_done(&heap);
    assert_null(least());
}

static void test_in_order(void **state)
{
    struct heap heap;
    struct heap_node *n;
    uint64_t last = 0;
    (void)state;

    heap_init(&heap);
    for (unsigned i = 0; i < NODES; i++)
        heap_set(&heap, &nodes[i], i * 7919U % NODES);
    for (unsigned i = 0; i < NODES; i++) {
        n = heap_first(&heap);
        assert_int_equal(n->key, last++);
        heap_remove(&heap, n);
        heap_remove(&heap, n); /* nothing happens */
    }
    assert_null(heap_first(&heap));
    heap_done(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_remove),
        cmocka_unit_test(test_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
