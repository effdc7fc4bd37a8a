/* C11 threads on top of POSIX threads, for SAN=thread only.
 *
 * librdkafka uses thrd_create() and mtx_lock() of the C library, which ThreadSanitizer (of GCC 12 and
 * clang 14) does not know: a thread that is made so crashes in the first function that it watches.
 * Defined in the program, these take the place of the C library's for librdkafka too, and what happens
 * in it before what is seen as well. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "mtx_t holds a mutex");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "cnd_t holds a condition");

struct start {
    thrd_start_t fn;
    void *arg;
};

static pthread_mutex_t *mutex(mtx_t *m)
{
    return (pthread_mutex_t *)(void *)m;
}

static pthread_cond_t *condition(cnd_t *c)
{
    return (pthread_cond_t *)(void *)c;
}

static int result(int rc)
{
    if (rc == 0) return thrd_success;
    if (rc == EBUSY) return thrd_busy;
    return rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}

static void *run(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    return (void *)(intptr_t)start.fn(start.arg);
}

int thrd_create(thrd_t *ret, thrd_start_t fn, void *arg)
{
    struct start *start = malloc(sizeof(*start));
    if (!start) return thrd_nomem;
    *start = (struct start){fn, arg};
    return result(pthread_create(ret, NULL, run, start));
}

int thrd_join(thrd_t thread, int *ret)
{
    void *value = NULL;
    int rc = pthread_join(thread, &value);
    if (ret) *ret = (int)(intptr_t)value;
    return result(rc);
}

int thrd_detach(thrd_t thread)
{
    return result(pthread_detach(thread));
}

thrd_t thrd_current(void)
{
    return pthread_self();
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    if (type & mtx_recursive) pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    int rc = pthread_mutex_init(mutex(m), &attr);
    pthread_mutexattr_destroy(&attr);
    return result(rc);
}

void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy(mutex(m));
}

int mtx_lock(mtx_t *m)
{
    return result(pthread_mutex_lock(mutex(m)));
}

int mtx_trylock(mtx_t *m)
{
    return result(pthread_mutex_trylock(mutex(m)));
}

int mtx_unlock(mtx_t *m)
{
    return result(pthread_mutex_unlock(mutex(m)));
}

int cnd_init(cnd_t *c)
{
    return result(pthread_cond_init(condition(c), NULL));
}

void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy(condition(c));
}

int cnd_signal(cnd_t *c)
{
    return result(pthread_cond_signal(condition(c)));
}

int cnd_broadcast(cnd_t *c)
{
    return result(pthread_cond_broadcast(condition(c)));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return result(pthread_cond_wait(condition(c), mutex(m)));
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    return result(pthread_cond_timedwait(condition(c), mutex(m), until));
}
