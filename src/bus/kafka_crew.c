#include "bus/kafka_crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

/* Shared with the threads, which may outlive the crew. */
struct crew_core {
    pthread_mutex_t lock;
    pthread_cond_t work; /* something waits, or the crew was stopped */
    struct list waiting, finished;
    unsigned refs, threads, idle, most;
    unsigned count; /* of `waiting` */
    bool stopped;
    int wake; /* eventfd: something has finished */
};

struct kafka_crew {
    const struct wsbus_host *host;
    struct crew_core *core;
    struct wsbus_watch *watch;
    size_t busy;
};

static void core_unref(struct crew_core *k)
{
    pthread_mutex_lock(&k->lock);
    bool last = --k->refs == 0;
    pthread_mutex_unlock(&k->lock);
    if (!last) return;
    close(k->wake);
    pthread_cond_destroy(&k->work);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static void finish(struct crew_core *k, struct crew_job *j)
{
    static const uint64_t one = 1;
    pthread_mutex_lock(&k->lock);
    bool stopped = k->stopped;
    if (!stopped) {
        list_append(&k->finished, &j->node);
        ssize_t n = write(k->wake, &one, sizeof(one));
        (void)n; /* fails only if it is readable already */
    }
    pthread_mutex_unlock(&k->lock);
    if (stopped) j->left(j);
}

static void *run_pool(void *arg)
{
    struct crew_core *k = arg;
    pthread_mutex_lock(&k->lock);
    while (!k->stopped) {
        struct list *n = list_pop(&k->waiting);
        if (!n) {
            k->idle++;
            pthread_cond_wait(&k->work, &k->lock);
            k->idle--;
            continue;
        }
        k->count--;
        pthread_mutex_unlock(&k->lock);
        struct crew_job *j = LIST_ITEM(n, struct crew_job, node);
        j->work(j);
        finish(k, j);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    core_unref(k);
    return NULL;
}

static void *run_one(void *arg)
{
    struct crew_job *j = arg;
    struct crew_core *k = j->core;
    j->work(j);
    finish(k, j);
    core_unref(k);
    return NULL;
}

/* Takes a reference with it. Signals are the main thread's. */
static int spawn(struct crew_core *k, void *(*fn)(void *arg), void *arg)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&k->lock);
    k->refs++;
    pthread_mutex_unlock(&k->lock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&thread, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) core_unref(k);
    return rc;
}

static void on_finished(void *arg, unsigned events)
{
    struct kafka_crew *c = arg;
    struct crew_core *k = c->core;
    struct list finished;
    uint64_t count;
    (void)events;
    list_init(&finished);
    pthread_mutex_lock(&k->lock);
    ssize_t n = read(k->wake, &count, sizeof(count));
    if (n > 0) list_move(&finished, &k->finished);
    pthread_mutex_unlock(&k->lock);
    for (struct list *l = list_pop(&finished); l; l = list_pop(&finished)) {
        struct crew_job *j = LIST_ITEM(l, struct crew_job, node);
        c->busy--;
        j->done(j);
    }
}

struct kafka_crew *kafka_crew_new(const struct wsbus_host *host, unsigned threads)
{
    int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake < 0) return NULL;
    struct kafka_crew *c = mem_zero(sizeof(*c));
    struct crew_core *k = mem_zero(sizeof(*k));
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->work, NULL);
    list_init(&k->waiting);
    list_init(&k->finished);
    k->refs = 1;
    k->most = threads;
    k->wake = wake;
    c->host = host;
    c->core = k;
    c->watch = host->watch(host, wake, WSBUS_READABLE, on_finished, c);
    if (c->watch) return c;
    core_unref(k);
    free(c);
    return NULL;
}

void kafka_crew_run(struct kafka_crew *c, struct crew_job *j)
{
    struct crew_core *k = c->core;
    c->busy++;
    j->core = k;
    pthread_mutex_lock(&k->lock);
    list_append(&k->waiting, &j->node);
    k->count++;
    /* Those that are idle may have been woken for jobs given just before. */
    bool more = k->count > k->idle && k->threads < k->most;
    if (more) k->threads++;
    pthread_cond_signal(&k->work);
    pthread_mutex_unlock(&k->lock);
    if (!more || spawn(k, run_pool, k) == 0) return;
    pthread_mutex_lock(&k->lock);
    k->threads--;
    pthread_mutex_unlock(&k->lock);
    c->host->log(c->host, WSBUS_LOG_ERROR, "no thread for questions to Kafka can be made");
}

void kafka_crew_run_alone(struct kafka_crew *c, struct crew_job *j)
{
    c->busy++;
    j->core = c->core;
    if (spawn(c->core, run_one, j) == 0) return;
    c->busy--;
    kafka_crew_run(c, j);
}

size_t kafka_crew_busy(const struct kafka_crew *c)
{
    return c->busy;
}

void kafka_crew_stop(struct kafka_crew *c)
{
    struct crew_core *k = c->core;
    struct list jobs;
    list_init(&jobs);
    pthread_mutex_lock(&k->lock);
    k->stopped = true;
    list_move(&jobs, &k->finished);
    list_move(&jobs, &k->waiting);
    k->count = 0;
    pthread_cond_broadcast(&k->work);
    pthread_mutex_unlock(&k->lock);
    for (struct list *n = list_pop(&jobs); n; n = list_pop(&jobs)) {
        struct crew_job *j = LIST_ITEM(n, struct crew_job, node);
        j->left(j);
    }
    c->host->unwatch(c->watch);
}

void kafka_crew_free(struct kafka_crew *c)
{
    if (!c) return;
    core_unref(c->core);
    free(c);
}
