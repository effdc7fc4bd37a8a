#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "base/inbox.h"
#include "base/list.h"

#define POSTERS 4
#define ITEMS 50000

struct parcel {
    struct inbox_item item;
    unsigned poster;
    unsigned number;
};

static struct inbox inbox;
static sem_t woken;
static atomic_uint wakes;

static void wake(void *arg)
{
    (void)arg;
    atomic_fetch_add(&wakes, 1);
    sem_post(&woken);
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&wakes, 0);
    sem_init(&woken, 0, 0);
    inbox_init(&inbox, 100, wake, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sem_destroy(&woken);
    return 0;
}

static void oldest_comes_first_and_one_wake_is_enough(void **state)
{
    (void)state;
    struct parcel p[3] = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_true(inbox_post(&inbox, &p[i].item));
    assert_int_equal(atomic_load(&wakes), 1);
    struct inbox_item *item = inbox_take(&inbox);
    for (unsigned i = 0; i < 3; i++, item = item->next)
        assert_ptr_equal(item, &p[i].item);
    assert_null(item);
    assert_null(inbox_take(&inbox));
    assert_true(inbox_post(&inbox, &p[0].item));
    assert_int_equal(atomic_load(&wakes), 2);
}

static void refuses_beyond_the_cap_and_says_when_there_is_room(void **state)
{
    (void)state;
    struct parcel p[5] = {0};
    p[0].item.bytes = 500; /* an empty inbox takes any one item */
    p[1].item.bytes = 1;
    p[2].item.bytes = 1;
    assert_true(inbox_post(&inbox, &p[0].item));
    assert_false(inbox_post(&inbox, &p[1].item));
    inbox_force(&inbox, &p[2].item);
    assert_non_null(inbox_take(&inbox));
    /* Taken is not settled. */
    assert_false(inbox_post(&inbox, &p[1].item));
    assert_false(inbox_settle(&inbox, 1));
    assert_true(inbox_settle(&inbox, 500));
    assert_true(inbox_post(&inbox, &p[1].item));
    assert_false(inbox_settle(&inbox, 1));
}

static void fits_exactly(void **state)
{
    (void)state;
    struct parcel p[3] = {0};
    p[0].item.bytes = 60;
    p[1].item.bytes = 40;
    p[2].item.bytes = 1;
    assert_true(inbox_post(&inbox, &p[0].item));
    assert_true(inbox_post(&inbox, &p[1].item));
    assert_false(inbox_post(&inbox, &p[2].item));
    assert_false(inbox_settle(&inbox, 40));
    assert_true(inbox_settle(&inbox, 60));
    assert_false(inbox_settle(&inbox, 0));
}

/* Retries as a poster that has been told of room would. */
static void *post_many(void *arg)
{
    unsigned poster = *(unsigned *)arg;
    for (unsigned i = 0; i < ITEMS; i++) {
        struct parcel *p = calloc(1, sizeof(*p));
        if (!p) abort();
        p->poster = poster;
        p->number = i;
        p->item.bytes = 1;
        if (i % 8 == 0) {
            inbox_force(&inbox, &p->item);
            continue;
        }
        while (!inbox_post(&inbox, &p->item))
            sched_yield();
    }
    return NULL;
}

static void several_threads_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    pthread_t thread[POSTERS];
    unsigned number[POSTERS], next[POSTERS] = {0};
    for (unsigned i = 0; i < POSTERS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&thread[i], NULL, post_many, &number[i]), 0);
    }
    unsigned left = POSTERS * ITEMS;
    while (left > 0) {
        sem_wait(&woken);
        struct inbox_item *item = inbox_take(&inbox);
        size_t bytes = 0;
        while (item) {
            struct parcel *p = CONTAINER_OF(item, struct parcel, item);
            item = item->next;
            assert_int_equal(p->number, next[p->poster]);
            next[p->poster]++;
            bytes += p->item.bytes;
            left--;
            free(p);
        }
        inbox_settle(&inbox, bytes);
    }
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(thread[i], NULL);
    assert_null(inbox_take(&inbox));
    assert_int_equal(atomic_load(&inbox.bytes), 0);
    assert_true(atomic_load(&wakes) <= POSTERS * ITEMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(oldest_comes_first_and_one_wake_is_enough, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_beyond_the_cap_and_says_when_there_is_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(fits_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(several_threads_lose_nothing_and_keep_their_order, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
