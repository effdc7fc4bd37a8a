/* Workers.
 *
 * Everything that a turn of the loop brought about (frames that wait, sessions that ended, timers
 * that were set) is dealt with in one place, just before the loop looks at its sockets again: the
 * prepare callback. Whatever woke the loop, nothing is left behind when it blocks. */
#include "edge/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/inbox.h"
#include "base/inflater.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/accept.h"
#include "edge/conn.h"
#include "edge/edge.h"
#include "edge/scrape.h"
#include "edge/guard.h"
#include "edge/tap.h"
#include "edge/wire.h"

#define SLICE 256 /* sockets written to before the loop looks at its sockets again */

struct worker {
    struct edge edge;
    struct wire wire;
    struct acceptor acceptor, admin;
    struct scraper scraper;
    struct metrics_worker *all; /* for the scraper */
    struct inbox inbox;
    unsigned index;

    uv_loop_t loop;
    struct bell bell;  /* inbox, drain, stop */
    uv_poll_t ringing; /* watches it */
    uv_prepare_t turn; /* the end of each turn */
    uv_idle_t busy;    /* active: the loop does not block */
    uv_timer_t clock;  /* the wheel's next due time */
    uint64_t armed;    /* that time; 0: none */
    uint64_t looked;   /* all that was on the sockets then has been read; see on_turn() */
    struct timer last; /* deadline of the stop */

    atomic_bool drain_asked, stop_asked;
    atomic_uint_fast64_t drain_ms, stop_ms;
    bool finishing; /* accepts no more, ends when the last connection has gone */
    bool closed;    /* the loop's handles are closed */

    uv_thread_t thread;
    bool started;
};

static void wake_up(void *arg)
{
    struct worker *w = arg;
    bell_ring(&w->bell);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void on_clock(uv_timer_t *t)
{
    struct worker *w = t->data;
    w->armed = 0; /* the turn runs the wheel */
}

static void on_busy(uv_idle_t *i)
{
    (void)i;
}

/* Sets the loop's one timer to when the wheel has something to do. */
static void arm_clock(struct worker *w)
{
    uint64_t wait = timers_wait(&w->edge.wheel);
    uint64_t due = wait == UINT64_MAX ? 0 : w->edge.wheel.now + wait;
    if (due == w->armed) return;
    w->armed = due;
    if (due == 0) {
        uv_timer_stop(&w->clock);
        return;
    }
    uint64_t now = clock_ticks();
    uv_update_time(&w->loop);
    uv_timer_start(&w->clock, on_clock, due > now ? due - now : 0, 0);
}

/* Nothing more of this worker runs but the closing callbacks; uv_run() returns after them. */
static void close_down(struct worker *w)
{
    if (w->closed) return;
    w->closed = true;
    bells_free(); /* on_turn() is over */
    timer_stop(&w->edge.wheel, &w->last);
    acceptor_close(&w->acceptor);
    acceptor_close(&w->admin);
    if (w->edge.scraper) scraper_close(&w->scraper);
    uv_close((uv_handle_t *)&w->ringing, NULL);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->busy, NULL);
    uv_close((uv_handle_t *)&w->clock, NULL);
    wire_close(&w->wire); /* kills connections that are left */
}

/* What is due is judged by the time before the loop looked at its sockets last: where the process
 * stood still, what had come in time is read before somebody is given up for not having sent it. (A
 * poll that a signal ended, and a stop is one, has looked at nothing.) */
static void on_turn(uv_prepare_t *p)
{
    struct worker *w = p->data;
    uint64_t now = clock_ticks();
    guard_turn(&w->edge);
    if (bells_visit(&w->bell)) /* first: writing takes long */
        session_worker_inbox(w->edge.sessions);
    timers_run(&w->edge.wheel, w->looked);
    w->looked = now;
    if (session_worker_turn(w->edge.sessions, SLICE))
        uv_idle_start(&w->busy, on_busy);
    else
        uv_idle_stop(&w->busy);
    if (w->finishing && list_empty(&w->edge.conns)) close_down(w);
    if (!w->closed) arm_clock(w);
    bells_ring();
}

static void on_last(struct timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, last);
    if (!list_empty(&w->edge.conns))
        log_warn(log_event("stop_deadline"), log_i("worker", w->index),
                 log_i("connections", atomic_load(&w->edge.count)));
    close_down(w);
}

/* Sessions say goodbye; who is in the middle of HTTP has had the time of the drain. */
static void kill_http(struct worker *w)
{
    for (struct list *n = w->edge.conns.next; n != &w->edge.conns; n = n->next) {
        struct conn *c = LIST_ITEM(n, struct conn, node);
        if (c->state == CONN_HTTP || c->state == CONN_SENDING) conn_kill(c);
    }
}

static void finish(struct worker *w)
{
    if (w->finishing) return;
    w->finishing = true;
    acceptor_close(&w->acceptor);
    acceptor_close(&w->admin);
    kill_http(w);
    timer_set(&w->edge.wheel, &w->last, clock_ticks() + atomic_load(&w->stop_ms));
    session_worker_finish(w->edge.sessions);
}

static void on_ring(uv_poll_t *ringing, int status, int events)
{
    struct worker *w = ringing->data;
    (void)status;
    (void)events;
    bell_answer(&w->bell);
    session_worker_inbox(w->edge.sessions);
    if (atomic_exchange(&w->drain_asked, false)) {
        session_worker_drain(w->edge.sessions, atomic_load(&w->drain_ms));
        for (struct list *n = w->edge.conns.next; n != &w->edge.conns; n = n->next)
            conn_hurry(LIST_ITEM(n, struct conn, node));
    }
    if (atomic_load(&w->stop_asked)) finish(w);
}

/* Runs the loop until all its handles are closed. libwebsockets needs to be called again after
 * each stage of its own closing. */
static void run_out(struct worker *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 4 && !wire_close(&w->wire); i++)
        uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void thread_main(void *arg)
{
    struct worker *w = arg;
    char name[16];
    snprintf(name, sizeof(name), "wsbus-%u", w->index);
    pthread_setname_np(pthread_self(), name);
    bells_hold();
    run_out(w);
    tap_done();
}

/* ---- life ----------------------------------------------------------------------------------- */

static int open_loop(struct worker *w, char *err, size_t err_size)
{
    int rc = bell_open(&w->bell);
    if (rc == 0) rc = uv_loop_init(&w->loop);
    if (rc == 0) rc = uv_poll_init(&w->loop, &w->ringing, w->bell.fd);
    if (rc != 0) {
        snprintf(err, err_size, "cannot make an event loop: %s", uv_strerror(rc));
        bell_close(&w->bell);
        return -1;
    }
    uv_prepare_init(&w->loop, &w->turn);
    uv_idle_init(&w->loop, &w->busy);
    uv_timer_init(&w->loop, &w->clock);
    w->ringing.data = w->turn.data = w->clock.data = w;
    uv_prepare_start(&w->turn, on_turn);
    uv_poll_start(&w->ringing, UV_READABLE, on_ring);
    return 0;
}

static void open_edge(struct worker *w, const struct worker_spec *spec)
{
    w->edge.loop = &w->loop;
    w->edge.config = spec->config;
    w->edge.access = spec->access;
    w->edge.admission = spec->admission;
    w->edge.addresses = spec->addresses;
    w->edge.trust = spec->trust;
    w->edge.root = spec->root;
    w->edge.tls = spec->tls;
    list_init(&w->edge.conns);
    list_init(&w->edge.half_open);
    list_init(&w->edge.found);
    if (spec->config->compression.enabled) w->edge.inflater = inflater_new();
    timers_init(&w->edge.wheel, clock_ticks());
    timer_init(&w->last, on_last);
    inbox_init(&w->inbox, spec->config->limits.inbox_bytes, wake_up, w);
    w->edge.sessions = session_worker_new(&(struct session_worker_spec){
        .index = spec->index,
        .config = spec->config,
        .routes = spec->routes,
        .access = spec->access,
        .timers = &w->edge.wheel,
        .inbox = &w->inbox,
    });
}

static int open_admin(struct worker *w, const struct listener *listener)
{
    int rc = scraper_open(&w->scraper, &w->loop, &w->edge);
    if (rc != 0) return rc;
    w->edge.scraper = &w->scraper;
    return acceptor_open(&w->admin, &w->wire, &w->loop, listener, 1);
}

struct worker *worker_new(const struct worker_spec *spec, char *err, size_t err_size)
{
    struct worker *w = mem_zero(sizeof(*w));
    w->index = spec->index;
    if (open_loop(w, err, err_size) < 0) {
        free(w); /* without a loop there is nothing that could close what there is of it */
        return NULL;
    }
    open_edge(w, spec);
    if (wire_open(&w->wire, &w->loop, &w->edge, err, err_size) < 0) goto out;
    int rc = acceptor_open(&w->acceptor, &w->wire, &w->loop, spec->listeners, spec->listener_count);
    if (rc == 0 && spec->admin) rc = open_admin(w, spec->admin);
    if (rc == 0) return w;
    snprintf(err, err_size, "cannot watch the listening sockets: %s", uv_strerror(rc));
out:
    worker_free(w);
    return NULL;
}

struct inbox *worker_inbox(struct worker *w)
{
    return &w->inbox;
}

void worker_others(struct worker *w, struct worker *const *all, unsigned count)
{
    w->all = mem_zero(count * sizeof(*w->all));
    for (unsigned i = 0; i < count; i++)
        w->all[i] = (struct metrics_worker){&all[i]->edge, &all[i]->inbox};
    w->scraper.view = (struct metrics_view){w->all, count};
}

int worker_start(struct worker *w, struct hub *hub, char *err, size_t err_size)
{
    unsigned count = hub_bus_count(hub);
    struct inbox **buses = mem_alloc((count + 1) * sizeof(*buses));
    for (unsigned i = 0; i < count; i++)
        buses[i] = hub_inbox(hub, i);
    session_worker_buses(w->edge.sessions, buses, count);
    free(buses);
    w->edge.hub = hub;
    int rc = uv_thread_create(&w->thread, thread_main, w);
    if (rc != 0) {
        snprintf(err, err_size, "cannot start a thread: %s", uv_strerror(rc));
        return -1;
    }
    w->started = true;
    return 0;
}

void worker_drain(struct worker *w, uint64_t window_ms)
{
    atomic_store(&w->drain_ms, window_ms);
    atomic_store(&w->drain_asked, true);
    wake_up(w);
}

void worker_stop(struct worker *w, uint64_t deadline_ms)
{
    if (!w->started) return;
    atomic_store(&w->stop_ms, deadline_ms);
    atomic_store(&w->stop_asked, true);
    wake_up(w);
}

uint64_t worker_connections(const struct worker *w)
{
    return atomic_load(&w->edge.count);
}

void worker_join(struct worker *w)
{
    if (!w->started) return;
    uv_thread_join(&w->thread);
    w->started = false;
}

void worker_free(struct worker *w)
{
    close_down(w);
    run_out(w); /* a worker that ran has nothing left to close */
    session_worker_inbox(w->edge.sessions);
    while (session_worker_turn(w->edge.sessions, SLICE)) {
    }
    session_worker_free(w->edge.sessions);
    inflater_free(w->edge.inflater);
    if (w->edge.scraper) scraper_free(&w->scraper);
    free(w->all);
    acceptor_free(&w->acceptor);
    acceptor_free(&w->admin);
    if (uv_loop_close(&w->loop) != 0)
        log_warn(log_event("loop_left_open"), log_i("worker", w->index));
    bell_close(&w->bell);
    free(w);
}
