/* The helper threads of a Kafka bus: who waits for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>
#include <semaphore.h>

#include "bus/kafka_crew.h"
#include "redis_stage.h"

#define PATIENCE_S 10

struct work {
    struct crew_job job;
    sem_t *waits, *tells;
    bool waited, done; /* `waited`: what it waits for came */
};

static struct stage stage;

static void do_work(struct crew_job *j)
{
    struct work *w = CONTAINER_OF(j, struct work, job);
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S / 2;
    w->waited = !w->waits || sem_timedwait(w->waits, &until) == 0;
    if (w->tells) sem_post(w->tells);
}

static void is_done(struct crew_job *j)
{
    CONTAINER_OF(j, struct work, job)->done = true;
}

static struct work work(sem_t *waits, sem_t *tells)
{
    return (struct work){
        .job = {.work = do_work, .done = is_done, .left = is_done}, .waits = waits, .tells = tells};
}

static bool met(void *arg)
{
    return ((struct work *)arg)->done;
}

static void give(struct kafka_crew *c, struct work *w)
{
    kafka_crew_run(c, &w->job);
}

static void await(struct work *w)
{
    assert_true(stage_wait(&stage, met, w));
}

/* A thread without work can take one job: the next one gets another thread, or it would wait for a
 * broker that does not answer the first. */
static void one_that_waits_holds_up_nobody(void **state)
{
    (void)state;
    struct kafka_crew *c = kafka_crew_new(&stage.host, 2);
    sem_t second;
    sem_init(&second, 0, 0);
    for (int i = 0; i < 20; i++) {
        struct work quick = work(NULL, NULL), first = work(&second, NULL),
                    next = work(NULL, &second);
        if (i % 2) { /* or with threads that are there already */
            kafka_crew_stop(c);
            kafka_crew_free(c);
            c = kafka_crew_new(&stage.host, 2);
        }
        give(c, &quick);
        await(&quick);
        give(c, &first);
        give(c, &next);
        await(&first);
        await(&next);
        assert_true(first.waited);
    }
    assert_int_equal(kafka_crew_busy(c), 0);
    kafka_crew_stop(c);
    kafka_crew_free(c);
    sem_destroy(&second);
}

static int setup(void **state)
{
    (void)state;
    stage_init(&stage);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stage_done(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_waits_holds_up_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
