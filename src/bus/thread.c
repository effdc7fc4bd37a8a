#include "bus/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define VISIT_BYTES 32768u /* of its inbox: with more of it the thread is worth its wake-up */

struct bus_thread {
    struct wsbus_host host;
    struct bus_thread_spec spec;
    char *name;
    void *instance; /* NULL before open() and from close() on */
    pthread_t thread;
    pthread_mutex_t in; /* with a light backend: whoever holds it is the bus thread */
    uv_loop_t loop;
    struct bell bell;     /* something is in `inbox` or `posts`, or the thread is to stop */
    uv_poll_t ringing;    /* watches it */
    uv_timer_t alarm;     /* stands for the whole wheel */
    uv_prepare_t prepare; /* sets the alarm before each wait */
    uint64_t alarm_due;   /* on the wheel's clock; UINT64_MAX: not set */
    uint64_t looked;      /* what had come by then has been read; see on_alarm() */
    struct inbox inbox;
    struct inbox posts;
    struct timers wheel;
    atomic_bool stopping;
    uint64_t deadline_ms;
    bool closing, closed;
    bool again; /* the handler has more to do */
    uv_sem_t opened;
    char *err; /* the starter's, while it waits for `opened` */
    size_t err_size;
};

struct wsbus_watch {
    uv_poll_t poll;
    void (*fn)(void *arg, unsigned events);
    void *arg;
};

struct wsbus_timer {
    struct timer timer;
    struct bus_thread *thread;
    void (*fn)(void *arg);
    void *arg;
};

struct job {
    uv_work_t work;
    void (*run)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

struct post {
    struct inbox_item item;
    void (*fn)(void *arg);
    void *arg;
};

static struct bus_thread *thread_of(const struct wsbus_host *h)
{
    return CONTAINER_OF(h, struct bus_thread, host);
}

/* ---- services ----------------------------------------------------------------------------- */

static int64_t host_now(const struct wsbus_host *h)
{
    (void)h;
    return clock_wall();
}

static uint64_t host_ticks(const struct wsbus_host *h)
{
    (void)h;
    return clock_ticks();
}

/* A descriptor in error is reported as ready for everything: the backend's next call finds out. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct wsbus_watch *w = poll->data;
    unsigned ready = 0;
    if (status < 0 || events & UV_READABLE) ready |= WSBUS_READABLE;
    if (status < 0 || events & UV_WRITABLE) ready |= WSBUS_WRITABLE;
    w->fn(w->arg, ready);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void host_rewatch(struct wsbus_watch *w, unsigned events)
{
    int wanted =
        (events & WSBUS_READABLE ? UV_READABLE : 0) | (events & WSBUS_WRITABLE ? UV_WRITABLE : 0);
    if (wanted)
        uv_poll_start(&w->poll, wanted, on_poll);
    else
        uv_poll_stop(&w->poll);
}

static struct wsbus_watch *host_watch(const struct wsbus_host *h, int fd, unsigned events,
                                      void (*fn)(void *arg, unsigned events), void *arg)
{
    struct wsbus_watch *w = mem_zero(sizeof(*w));
    if (uv_poll_init(&thread_of(h)->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->fn = fn;
    w->arg = arg;
    w->poll.data = w;
    host_rewatch(w, events);
    return w;
}

static void host_unwatch(struct wsbus_watch *w)
{
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_host_timer(struct timer *timer)
{
    struct wsbus_timer *t = CONTAINER_OF(timer, struct wsbus_timer, timer);
    t->fn(t->arg);
}

static struct wsbus_timer *host_timer(const struct wsbus_host *h, void (*fn)(void *arg), void *arg)
{
    struct wsbus_timer *t = mem_zero(sizeof(*t));
    timer_init(&t->timer, on_host_timer);
    t->thread = thread_of(h);
    t->fn = fn;
    t->arg = arg;
    return t;
}

static void host_timer_set(struct wsbus_timer *t, uint64_t after_ms)
{
    uint64_t now = clock_ticks();
    uint64_t due = after_ms > UINT64_MAX - now ? UINT64_MAX : now + after_ms;
    timer_set(&t->thread->wheel, &t->timer, due);
}

static void host_timer_stop(struct wsbus_timer *t)
{
    timer_stop(&t->thread->wheel, &t->timer);
}

static void host_timer_free(struct wsbus_timer *t)
{
    host_timer_stop(t);
    free(t);
}

static void on_work(uv_work_t *work)
{
    struct job *job = work->data;
    job->run(job->arg);
}

static void on_work_done(uv_work_t *work, int status)
{
    (void)status;
    struct job *job = work->data;
    job->done(job->arg);
    free(job);
}

static void host_offload(const struct wsbus_host *h, void (*work)(void *arg),
                         void (*done)(void *arg), void *arg)
{
    struct job *job = mem_zero(sizeof(*job));
    *job = (struct job){.run = work, .done = done, .arg = arg};
    job->work.data = job;
    uv_queue_work(&thread_of(h)->loop, &job->work, on_work, on_work_done);
}

static void host_post(const struct wsbus_host *h, void (*fn)(void *arg), void *arg)
{
    struct post *p = mem_zero(sizeof(*p));
    p->fn = fn;
    p->arg = arg;
    inbox_force(&thread_of(h)->posts, &p->item);
}

__attribute__((format(printf, 3, 4))) static void host_log(const struct wsbus_host *h,
                                                           enum wsbus_log_level level,
                                                           const char *fmt, ...)
{
    static const enum log_level levels[] = {
        [WSBUS_LOG_ERROR] = LOG_ERROR,
        [WSBUS_LOG_WARN] = LOG_WARN,
        [WSBUS_LOG_INFO] = LOG_INFO,
        [WSBUS_LOG_DEBUG] = LOG_DEBUG,
    };
    if (!log_wanted(levels[level])) return;
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    LOG_AT(levels[level], log_event("bus"), log_s("bus", h->bus), log_s("message", text));
}

/* ---- the end ------------------------------------------------------------------------------ */

static void close_handle(uv_handle_t *handle, void *arg)
{
    struct bus_thread *t = arg;
    if (uv_is_closing(handle) || handle == (uv_handle_t *)&t->ringing) return;
    uv_close(handle, handle->type == UV_POLL ? on_watch_closed : NULL);
}

static void on_closed(const struct wsbus_host *h)
{
    struct bus_thread *t = thread_of(h);
    t->closed = true;
    t->instance = NULL;
    bells_free(); /* on_prepare() is over */
    if (t->spec.sink.closed) t->spec.sink.closed(h);
    uv_walk(&t->loop, close_handle, t);
    uv_unref((uv_handle_t *)&t->ringing);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void come_in(struct bus_thread *t)
{
    if (t->spec.backend->light) pthread_mutex_lock(&t->in);
}

static void go_out(struct bus_thread *t)
{
    if (t->spec.backend->light) pthread_mutex_unlock(&t->in);
}

static void hand_items(struct bus_thread *t, struct inbox_item *item)
{
    for (unsigned n = 1; item; n++) {
        struct inbox_item *next = item->next;
        t->spec.item(t->spec.handler, item);
        if (n % BELL_POSTS == 0) bells_ring();
        item = next;
    }
}

static void hand_over(struct bus_thread *t)
{
    struct inbox_item *item = inbox_take(&t->inbox);
    if (!item && !t->again) return;
    hand_items(t, item);
    t->again = t->spec.turn && t->spec.turn(t->spec.handler) && !t->closed;
    if (t->again) bell_ring(&t->bell);
}

/* What was posted before the instance was gone, but comes after, refers to nothing any more. */
static void run_posts(struct bus_thread *t)
{
    struct inbox_item *item = inbox_take(&t->posts);
    while (item) {
        struct post *p = CONTAINER_OF(item, struct post, item);
        item = item->next;
        if (!t->closed) p->fn(p->arg);
        free(p);
    }
}

static void begin_close(struct bus_thread *t)
{
    void *instance = t->instance;
    t->closing = true;
    t->instance = NULL;
    t->spec.backend->close(instance, t->deadline_ms);
}

static void on_ring(uv_poll_t *ringing, int status, int events)
{
    struct bus_thread *t = ringing->data;
    (void)status;
    (void)events;
    bell_answer(&t->bell);
    come_in(t);
    run_posts(t);
    bool stopping = atomic_load(&t->stopping);
    hand_over(t);
    if (stopping && !t->closing) begin_close(t);
    go_out(t);
}

/* When the wheel has something to do, on its clock. */
static uint64_t next_due(const struct bus_thread *t)
{
    uint64_t wait = timers_wait(&t->wheel);
    return wait == UINT64_MAX ? UINT64_MAX : t->wheel.now + wait;
}

/* On a worker. What cannot be done here is left for the thread, which is woken then. */
static bool on_visit(void *arg)
{
    struct bus_thread *t = arg;
    if (atomic_load_explicit(&t->inbox.bytes, memory_order_relaxed) > VISIT_BYTES) return false;
    if (pthread_mutex_trylock(&t->in) != 0) return false;
    bool done = t->instance && !t->again;
    if (done) {
        hand_items(t, inbox_take(&t->inbox));
        t->again = t->spec.waits(t->spec.handler);
        done = !t->again && next_due(t) >= t->alarm_due;
    }
    pthread_mutex_unlock(&t->in);
    return done;
}

/* What is due is judged by the time before the loop looked at its sockets last: where the process
 * stood still, what a server sent in time is read before the server is given up. */
static void on_alarm(uv_timer_t *alarm)
{
    struct bus_thread *t = alarm->data;
    come_in(t);
    t->alarm_due = UINT64_MAX;
    timers_run(&t->wheel, t->looked);
    go_out(t);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct bus_thread *t = prepare->data;
    t->looked = clock_ticks();
    bells_ring();
    come_in(t);
    uint64_t due = next_due(t);
    bool same = due == t->alarm_due;
    t->alarm_due = due;
    go_out(t);
    if (same) return;
    if (due == UINT64_MAX) {
        uv_timer_stop(&t->alarm);
        return;
    }
    uint64_t now = t->looked;
    uv_update_time(&t->loop);
    uv_timer_start(&t->alarm, on_alarm, due > now ? due - now : 0, 0);
}

static void wake(void *arg)
{
    struct bus_thread *t = arg;
    bell_ring(&t->bell);
}

static void *run(void *arg)
{
    struct bus_thread *t = arg;
    t->err[0] = '\0';
    bells_hold();
    t->instance = t->spec.backend->open(&t->host, t->spec.values, t->err, t->err_size);
    bool up = t->instance != NULL;
    if (!up) {
        bells_free();
        uv_walk(&t->loop, close_handle, t);
        uv_unref((uv_handle_t *)&t->ringing);
    }
    t->closed = !up;
    uv_sem_post(&t->opened);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    run_posts(t);
    hand_over(t);
    return NULL;
}

/* ---- life cycle --------------------------------------------------------------------------- */

static void fill_host(struct bus_thread *t)
{
    t->host = t->spec.sink;
    t->host.bus = t->name;
    t->host.readers = t->spec.readers;
    t->host.closed = on_closed;
    t->host.now = host_now;
    t->host.ticks = host_ticks;
    t->host.watch = host_watch;
    t->host.rewatch = host_rewatch;
    t->host.unwatch = host_unwatch;
    t->host.timer = host_timer;
    t->host.timer_set = host_timer_set;
    t->host.timer_stop = host_timer_stop;
    t->host.timer_free = host_timer_free;
    t->host.offload = host_offload;
    t->host.post = host_post;
    t->host.log = host_log;
}

static int open_loop(struct bus_thread *t)
{
    int rc = bell_open(&t->bell);
    if (rc != 0) return rc;
    rc = uv_loop_init(&t->loop);
    if (rc == 0) {
        rc = uv_poll_init(&t->loop, &t->ringing, t->bell.fd);
        if (rc != 0) uv_loop_close(&t->loop);
    }
    if (rc != 0) {
        bell_close(&t->bell);
        return rc;
    }
    uv_timer_init(&t->loop, &t->alarm);
    uv_prepare_init(&t->loop, &t->prepare);
    if (t->spec.backend->light) {
        t->bell.visit = on_visit;
        t->bell.arg = t;
    }
    t->ringing.data = t->alarm.data = t->prepare.data = t;
    t->alarm_due = UINT64_MAX;
    uv_prepare_start(&t->prepare, on_prepare);
    uv_poll_start(&t->ringing, UV_READABLE, on_ring);
    return 0;
}

static void close_loop(struct bus_thread *t)
{
    uv_walk(&t->loop, close_handle, t);
    uv_close((uv_handle_t *)&t->ringing, NULL);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&t->loop);
    if (rc != 0) log_error(log_event("bus loop left open"), log_s("bus", t->name));
}

/* Signals are the main thread's. */
static int create_thread(struct bus_thread *t)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) return rc;
    char name[16];
    snprintf(name, sizeof(name), "bus %.11s", t->name);
    pthread_setname_np(t->thread, name);
    return 0;
}

static void release(struct bus_thread *t)
{
    close_loop(t);
    bell_close(&t->bell); /* not earlier: posters may ring as long as there is an inbox */
    uv_sem_destroy(&t->opened);
    pthread_mutex_destroy(&t->in);
    free(t->name);
    free(t);
}

struct bus_thread *bus_thread_start(const struct bus_thread_spec *spec, char *err, size_t err_size)
{
    struct bus_thread *t = mem_zero(sizeof(*t));
    t->spec = *spec;
    t->name = mem_dup(spec->name, strlen(spec->name));
    t->err = err;
    t->err_size = err_size;
    fill_host(t);
    int rc = open_loop(t);
    if (rc != 0) {
        snprintf(err, err_size, "bus %s: no event loop: %s", t->name, uv_strerror(rc));
        free(t->name);
        free(t);
        return NULL;
    }
    uv_sem_init(&t->opened, 0);
    pthread_mutex_init(&t->in, NULL);
    inbox_init(&t->inbox, spec->inbox_bytes, wake, t);
    inbox_init(&t->posts, SIZE_MAX, wake, t);
    timers_init(&t->wheel, clock_ticks());
    rc = create_thread(t);
    if (rc != 0) {
        snprintf(err, err_size, "bus %s: no thread: %s", t->name, strerror(rc));
        release(t);
        return NULL;
    }
    uv_sem_wait(&t->opened);
    if (t->instance) return t;
    pthread_join(t->thread, NULL);
    release(t);
    return NULL;
}

void bus_thread_stop(struct bus_thread *t, uint64_t deadline_ms)
{
    t->deadline_ms = deadline_ms;
    atomic_store(&t->stopping, true);
    bell_ring(&t->bell);
    pthread_join(t->thread, NULL);
}

void bus_thread_free(struct bus_thread *t)
{
    if (!t) return;
    run_posts(t);
    hand_over(t);
    release(t);
}

void *bus_thread_handler(const struct wsbus_host *host)
{
    return thread_of(host)->spec.handler;
}

struct inbox *bus_thread_inbox(struct bus_thread *t)
{
    return &t->inbox;
}

void *bus_thread_instance(struct bus_thread *t)
{
    return t->instance;
}

struct timers *bus_thread_timers(struct bus_thread *t)
{
    return &t->wheel;
}
