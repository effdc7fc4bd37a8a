/* The thread of a bus: its services, seen by a backend that only tries them, and its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/list.h"
#include "bus/thread.h"

/* Written on the bus thread; read by the test behind `done` or after the stop. */
static struct {
    const struct wsbus_host *host;
    pthread_t thread;
    struct wsbus_timer *timer, *other;
    struct wsbus_watch *watch;
    int pipe[2];
    int ticks, readable, worked, posted, items, turns, items_at_close, late_items;
    int more;                  /* turns that are to be asked for again */
    int visited;               /* items on other threads */
    bool waits;                /* something is left for a turn */
    struct wsbus_timer *later; /* to be set with the next item */
    bool worked_elsewhere, closed, leave_watch;
    bool stood, read_first;
    uint64_t deadline, due;
    struct wsbus_timer *linger;
} seen;

static sem_t done;
static struct bus_thread *thread;

static bool on_bus_thread(void)
{
    return pthread_equal(pthread_self(), seen.thread);
}

/* ---- the probe ---------------------------------------------------------------------------- */

static void *probe_open(const struct wsbus_host *host, const struct wsbus_value *values, char *err,
                        size_t err_size)
{
    if (!values) {
        snprintf(err, err_size, "no values");
        return NULL;
    }
    seen.host = host;
    seen.thread = pthread_self();
    return &seen;
}

static void finish(void *arg)
{
    (void)arg;
    seen.host->timer_free(seen.linger);
    seen.host->closed(seen.host);
}

/* Takes its time, as a bus that has to say goodbye does. */
static void probe_close(void *bus, uint64_t deadline_ms)
{
    (void)bus;
    seen.deadline = deadline_ms;
    seen.items_at_close = seen.items;
    seen.linger = seen.host->timer(seen.host, finish, NULL);
    seen.host->timer_set(seen.linger, 20);
}

static const struct wsbus_backend probe = {
    .name = "probe",
    .open = probe_open,
    .close = probe_close,
};

static const struct wsbus_backend light_probe = {
    .name = "probe",
    .light = true,
    .open = probe_open,
    .close = probe_close,
};

static void on_item(void *handler, struct inbox_item *item)
{
    assert_ptr_equal(handler, &done);
    seen.items++;
    if (!on_bus_thread()) seen.visited++;
    if (seen.later) seen.host->timer_set(seen.later, 1);
    if (!bus_thread_instance(thread)) seen.late_items++;
    inbox_settle(bus_thread_inbox(thread), item->bytes);
    free(item);
}

static bool on_waits(void *handler)
{
    (void)handler;
    return seen.waits;
}

static bool on_turn(void *handler)
{
    (void)handler;
    seen.turns++;
    sem_post(&done);
    return seen.more > 0 && seen.more-- > 0;
}

static void on_closed(const struct wsbus_host *host)
{
    seen.closed = on_bus_thread() && bus_thread_handler(host) == &done;
}

static int start(const struct wsbus_backend *backend)
{
    sem_init(&done, 0, 0);
    memset(&seen, 0, sizeof(seen));
    static const struct wsbus_value values[1];
    struct bus_thread_spec spec = {
        .name = "a long name of a bus",
        .backend = backend,
        .values = values,
        .inbox_bytes = 1000,
        .sink.closed = on_closed,
        .handler = &done,
        .item = on_item,
        .turn = on_turn,
        .waits = on_waits,
    };
    char err[100];
    thread = bus_thread_start(&spec, err, sizeof(err));
    return thread ? 0 : -1;
}

static int setup(void **state)
{
    (void)state;
    return start(&probe);
}

static int setup_light(void **state)
{
    (void)state;
    return start(&light_probe);
}

static int teardown(void **state)
{
    (void)state;
    sem_destroy(&done);
    return 0;
}

static void stop(void)
{
    bus_thread_stop(thread, 1234);
    assert_true(seen.closed);
    assert_int_equal(seen.deadline, 1234);
    bus_thread_free(thread);
}

static void post_item(void)
{
    struct inbox_item *item = calloc(1, sizeof(*item));
    assert_non_null(item);
    item->bytes = 10;
    inbox_force(bus_thread_inbox(thread), item);
}

/* ---- cases -------------------------------------------------------------------------------- */

static void an_instance_that_cannot_open_says_why(void **state)
{
    (void)state;
    struct bus_thread_spec spec = {.name = "x", .backend = &probe, .item = on_item};
    char err[100] = "";
    assert_null(bus_thread_start(&spec, err, sizeof(err)));
    assert_string_equal(err, "no values");
}

static void items_are_handed_over_before_close_and_after(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        post_item();
    bus_thread_stop(thread, 1234);
    assert_int_equal(seen.items_at_close, 100);
    assert_true(seen.turns >= 1);
    post_item();
    post_item();
    assert_int_equal(seen.items, 100);
    bus_thread_free(thread);
    assert_int_equal(seen.items, 102);
    assert_int_equal(seen.late_items, 2);
}

static void a_turn_comes_again_while_there_is_more(void **state)
{
    (void)state;
    seen.more = 3;
    post_item();
    for (int i = 0; i < 4; i++)
        sem_wait(&done);
    bus_thread_stop(thread, 1234);
    assert_int_equal(seen.turns, 4);
    bus_thread_free(thread);
}

/* What a worker does at the end of a turn. */
static void post_and_visit(int items)
{
    struct bell own;
    assert_int_equal(bell_open(&own), 0);
    bells_hold();
    while (items-- > 0)
        post_item();
    assert_false(bells_visit(&own));
    bells_free();
    bell_close(&own);
}

static void a_visitor_does_what_little_there_is(void **state)
{
    (void)state;
    post_and_visit(3);
    assert_int_equal(seen.items, 3);
    assert_int_equal(seen.visited, 3);
    stop();
    assert_int_equal(seen.turns, 0); /* it was not woken */
}

static void much_is_for_the_thread(void **state)
{
    (void)state;
    post_and_visit(4000); /* of 10 bytes */
    sem_wait(&done);
    stop();
    assert_int_equal(seen.items, 4000);
    assert_int_equal(seen.visited, 0);
}

static void what_a_visitor_leaves_is_done_by_the_thread(void **state)
{
    (void)state;
    seen.waits = true;
    post_and_visit(1);
    sem_wait(&done); /* the turn */
    stop();
    assert_int_equal(seen.visited, 1);
    assert_true(seen.turns >= 1);
}

static void on_later(void *arg)
{
    (void)arg;
    assert_true(on_bus_thread());
    seen.host->timer_free(seen.later);
    seen.later = NULL;
    sem_post(&done);
}

static void make_later(void *arg)
{
    (void)arg;
    seen.later = seen.host->timer(seen.host, on_later, NULL);
    sem_post(&done);
}

static void a_timer_that_a_visitor_sets_fires(void **state)
{
    (void)state;
    seen.host->post(seen.host, make_later, NULL);
    sem_wait(&done);
    post_and_visit(1);
    sem_wait(&done);
    stop();
    assert_int_equal(seen.items, 1);
}

static void *visit_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        post_and_visit(3);
    return NULL;
}

static void visitors_are_one_at_a_time(void **state)
{
    (void)state;
    pthread_t visitor[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&visitor[i], NULL, visit_often, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(visitor[i], NULL);
    stop();
    assert_int_equal(seen.items, 12000);
    assert_true(seen.visited > 0);
}

static void on_tick(void *arg)
{
    assert_ptr_equal(arg, &seen.ticks);
    assert_true(on_bus_thread());
    seen.host->timer_stop(seen.other);
    if (++seen.ticks < 3) {
        seen.host->timer_set(seen.timer, 2);
        return;
    }
    seen.host->timer_free(seen.timer);
    seen.host->timer_free(seen.other);
    sem_post(&done);
}

static void begin_ticks(void *arg)
{
    (void)arg;
    seen.timer = seen.host->timer(seen.host, on_tick, &seen.ticks);
    seen.other = seen.host->timer(seen.host, on_tick, NULL);
    seen.host->timer_set(seen.other, 3600 * 1000);
    seen.host->timer_set(seen.timer, 1);
}

static void timers_fire_on_the_bus_thread(void **state)
{
    (void)state;
    seen.host->post(seen.host, begin_ticks, NULL);
    sem_wait(&done);
    stop();
    assert_int_equal(seen.ticks, 3);
}

static void on_ready(void *arg, unsigned events)
{
    (void)arg;
    char c;
    if (events & WSBUS_READABLE) {
        assert_int_equal(read(seen.pipe[0], &c, 1), 1);
        seen.readable++;
        if (seen.readable == 2) {
            if (!seen.leave_watch) seen.host->unwatch(seen.watch);
            sem_post(&done);
        } else {
            seen.host->rewatch(seen.watch, 0);
            sem_post(&done);
        }
    }
}

static void begin_watch(void *arg)
{
    (void)arg;
    seen.watch = seen.host->watch(seen.host, seen.pipe[0], WSBUS_READABLE, on_ready, NULL);
    assert_non_null(seen.watch);
}

static void resume_watch(void *arg)
{
    (void)arg;
    assert_int_equal(seen.readable, 1);
    seen.host->rewatch(seen.watch, WSBUS_READABLE);
}

static void watch_pipe(bool leave)
{
    seen.leave_watch = leave;
    assert_int_equal(pipe(seen.pipe), 0);
    assert_int_equal(write(seen.pipe[1], "ab", 2), 2);
    seen.host->post(seen.host, begin_watch, NULL);
    sem_wait(&done);
    seen.host->post(seen.host, resume_watch, NULL);
    sem_wait(&done);
    stop();
    assert_int_equal(seen.readable, 2);
    close(seen.pipe[0]);
    close(seen.pipe[1]);
}

static void descriptors_are_watched_paused_and_left(void **state)
{
    (void)state;
    watch_pipe(false);
}

static void a_watch_that_was_forgotten_does_not_keep_the_loop(void **state)
{
    (void)state;
    watch_pipe(true);
}

static void on_byte(void *arg, unsigned events)
{
    char c;
    (void)arg;
    (void)events;
    assert_int_equal(read(seen.pipe[0], &c, 1), 1);
    seen.readable++;
}

static void on_due(void *arg)
{
    (void)arg;
    seen.ticks++;
    if (!seen.stood) return;
    seen.read_first = seen.readable == 1;
    seen.host->timer_free(seen.timer);
    sem_post(&done);
}

static void stand_still(void *arg);

static void set_and_watch(void *arg)
{
    (void)arg;
    seen.ticks = 0;
    seen.due = clock_ticks() + 20;
    seen.host->timer_set(seen.timer, 20);
    seen.host->post(seen.host, stand_still, NULL); /* in the next turn */
}

static void stand_still(void *arg)
{
    if (seen.ticks > 0) { /* the machine was busy: once more */
        set_and_watch(arg);
        return;
    }
    seen.stood = true;
    assert_int_equal(write(seen.pipe[1], "a", 1), 1);
    while (clock_ticks() < seen.due + 2)
        continue;
}

static void begin_stall(void *arg)
{
    seen.timer = seen.host->timer(seen.host, on_due, NULL);
    seen.watch = seen.host->watch(seen.host, seen.pipe[0], WSBUS_READABLE, on_byte, NULL);
    set_and_watch(arg);
}

static void what_came_before_a_timer_is_read_before_it_fires(void **state)
{
    (void)state;
    assert_int_equal(pipe(seen.pipe), 0);
    seen.host->post(seen.host, begin_stall, NULL);
    sem_wait(&done);
    stop();
    assert_true(seen.read_first);
    close(seen.pipe[0]);
    close(seen.pipe[1]);
}

static void work(void *arg)
{
    (void)arg;
    seen.worked_elsewhere = !on_bus_thread();
}

static void work_done(void *arg)
{
    (void)arg;
    if (on_bus_thread()) seen.worked++;
    sem_post(&done);
}

static void begin_work(void *arg)
{
    (void)arg;
    seen.host->offload(seen.host, work, work_done, NULL);
}

static void blocking_work_is_done_elsewhere(void **state)
{
    (void)state;
    seen.host->post(seen.host, begin_work, NULL);
    sem_wait(&done);
    stop();
    assert_true(seen.worked_elsewhere);
    assert_int_equal(seen.worked, 1);
}

static void count_post(void *arg)
{
    (void)arg;
    if (on_bus_thread()) seen.posted++;
    if (seen.posted == 4000) sem_post(&done);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        seen.host->post(seen.host, count_post, arg);
    return NULL;
}

static void posts_come_from_any_thread(void **state)
{
    (void)state;
    pthread_t poster[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&poster[i], NULL, post_many, NULL), 0);
    sem_wait(&done);
    for (int i = 0; i < 4; i++)
        pthread_join(poster[i], NULL);
    stop();
    assert_int_equal(seen.posted, 4000);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define LIGHT(f) cmocka_unit_test_setup_teardown(f, setup_light, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instance_that_cannot_open_says_why),
        CASE(a_turn_comes_again_while_there_is_more),
        CASE(items_are_handed_over_before_close_and_after),
        CASE(timers_fire_on_the_bus_thread),
        CASE(descriptors_are_watched_paused_and_left),
        CASE(a_watch_that_was_forgotten_does_not_keep_the_loop),
        CASE(what_came_before_a_timer_is_read_before_it_fires),
        CASE(blocking_work_is_done_elsewhere),
        CASE(posts_come_from_any_thread),
        LIGHT(items_are_handed_over_before_close_and_after),
        LIGHT(a_visitor_does_what_little_there_is),
        LIGHT(much_is_for_the_thread),
        LIGHT(what_a_visitor_leaves_is_done_by_the_thread),
        LIGHT(a_timer_that_a_visitor_sets_fires),
        LIGHT(visitors_are_one_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
