#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "bus/registry.h"
#include "bus/thread.h"

#define SLICE 256 /* as in edge/worker.c */
#define WALL INT64_C(1700000000000)

static void die(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

uint64_t stage_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the thread of a bus, without a thread ------------------------------------------------------ */

struct bus_thread {
    struct wsbus_host host;
    struct bus_thread_spec spec;
    void *instance;
    struct inbox inbox;
    struct timers wheel;
    bool again;
};

static struct bus_thread *the_bus; /* there is one */

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

static void no_wake(void *arg)
{
    (void)arg;
}

struct bus_thread *bus_thread_start(const struct bus_thread_spec *spec, char *err, size_t err_size)
{
    struct bus_thread *t = mem_zero(sizeof *t);
    t->spec = *spec;
    t->host = spec->sink;
    t->host.bus = spec->name;
    t->host.readers = spec->readers;
    t->host.now = host_now;
    t->host.ticks = host_ticks;
    inbox_init(&t->inbox, spec->inbox_bytes, no_wake, NULL);
    timers_init(&t->wheel, clock_ticks());
    the_bus = t;
    t->instance = spec->backend->open(&t->host, spec->values, err, err_size);
    if (!t->instance) die(err);
    return t;
}

static bool bus_turn_once(struct bus_thread *t)
{
    struct inbox_item *item = inbox_take(&t->inbox);
    bool due = timers_wait(&t->wheel) <= clock_ticks() - t->wheel.now;
    bool some = item || t->again || due;
    while (item) {
        struct inbox_item *next = item->next;
        t->spec.item(t->spec.handler, item);
        item = next;
    }
    if (due) timers_run(&t->wheel, clock_ticks());
    t->again = t->spec.turn && t->spec.turn(t->spec.handler);
    return some;
}

void bus_thread_stop(struct bus_thread *t, uint64_t deadline_ms)
{
    void *instance = t->instance;
    (void)bus_turn_once(t);
    t->instance = NULL;
    t->spec.backend->close(instance, deadline_ms);
}

void bus_thread_free(struct bus_thread *t)
{
    free(t);
}

void *bus_thread_handler(const struct wsbus_host *host)
{
    return CONTAINER_OF(host, struct bus_thread, host)->spec.handler;
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

/* ---- far ends -------------------------------------------------------------------------------------- */

unsigned stage_waste;

static enum transport_result far_write(struct transport *t, const unsigned char *p, size_t n)
{
    struct far *f = CONTAINER_OF(t, struct far, transport);
    (void)p;
    f->writes++;
    f->bytes += n;
    for (volatile unsigned i = 0; i < stage_waste; i++) {
    }
    return f->stalled ? TRANSPORT_CHOKED : TRANSPORT_OK;
}

static uint32_t far_waiting(struct transport *t)
{
    (void)t;
    return 0;
}

static void far_close(struct transport *t, enum close_code code, const char *reason)
{
    (void)reason;
    CONTAINER_OF(t, struct far, transport)->code = (int)code;
}

static const struct transport_ops far_ops = {
    .write = far_write, .waiting = far_waiting, .close = far_close};

void far_open(struct stage *s, struct far *f)
{
    *f = (struct far){.transport = {.ops = &far_ops}};
    f->session = session_open(s->worker, &f->transport, "127.0.0.1:50000");
}

void far_say(struct far *f, const char *text)
{
    session_text(f->session, span_str(text));
}

void far_say_of(struct far *f, const char *text, unsigned n)
{
    char out[1024], digits[10];
    const char *at = strchr(text, '#');
    size_t before = (size_t)(at - text), len = strlen(text), count = 0;

    if (len + sizeof digits > sizeof out) die("far_say_of: too long");
    memcpy(out, text, before);
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    len += count - 1;
    for (size_t i = before; count > 0; i++)
        out[i] = digits[--count];
    memcpy(out + len - strlen(at + 1), at + 1, strlen(at + 1));
    session_text(f->session, span_of(out, len));
}

void far_gone(struct far *f)
{
    session_gone(f->session);
    f->session = NULL;
}

/* ---- the stage ------------------------------------------------------------------------------------- */

static void wake_worker(void *arg)
{
    struct stage *s = arg;
    s->woken = true;
}

static void configure(struct config *ret, const char *const *sets)
{
    static const struct wsbus_backend *const backends[] = {&backend_memory, NULL};
    static char *const no_environment[] = {NULL};
    char *argv[64] = {"stage", "-c", "tests/bench/stage.jsonc"};
    int argc = 3;
    enum config_action action;
    struct buf errors;

    for (; sets && *sets && argc + 2 < 64; sets++) {
        argv[argc++] = "--set";
        argv[argc++] = (char *)(uintptr_t)*sets;
    }
    buf_init(&errors, BUF_UNLIMITED);
    struct config_input in = {argc, argv, no_environment, backends};
    if (config_load(&in, ret, &action, &errors) != 0) {
        buf_byte(&errors, '\0');
        die(errors.p);
    }
    buf_free(&errors);
}

void stage_open(struct stage *s, const char *const *sets)
{
    char err[256];
    struct inbox *buses[1];

    memset(s, 0, sizeof *s);
    configure(&s->config, sets);
    clock_freeze(1000000, WALL);
    log_setup(LOG_WARN, LOG_LOGFMT);
    s->routes = route_new(&s->config, err, sizeof err);
    if (s->routes) s->access = access_new(&s->config, err, sizeof err);
    if (!s->routes || !s->access) die(err);
    timers_init(&s->wheel, clock_ticks());
    inbox_init(&s->inbox, (size_t)s->config.limits.inbox_bytes, wake_worker, s);
    struct session_worker_spec spec = {.config = &s->config,
                                       .routes = s->routes,
                                       .access = s->access,
                                       .timers = &s->wheel,
                                       .inbox = &s->inbox};
    s->worker = session_worker_new(&spec);
    s->inboxes[0] = &s->inbox;
    s->hub = hub_start(&s->config, s->inboxes, 1, err, sizeof err);
    if (!s->hub) die(err);
    buses[0] = hub_inbox(s->hub, 0);
    session_worker_buses(s->worker, buses, 1);
}

void stage_close(struct stage *s)
{
    stage_turn(s);
    hub_stop(s->hub, 0);
    session_worker_inbox(s->worker);
    hub_free(s->hub);
    session_worker_free(s->worker);
    access_free(s->access);
    route_free(s->routes);
    config_free(&s->config);
    clock_thaw();
}

static void note(struct stage *s, uint64_t began)
{
    uint64_t took = s->timed ? stage_cpu_ns() - began : 0;
    if (took > s->longest_ns) s->longest_ns = took;
}

void stage_turn(struct stage *s)
{
    bool more = true;

    while (more) {
        uint64_t began = s->timed ? stage_cpu_ns() : 0;
        if (s->woken) {
            s->woken = false;
            session_worker_inbox(s->worker);
        }
        timers_run(&s->wheel, clock_ticks());
        more = session_worker_turn(s->worker, SLICE);
        note(s, began);
        began = s->timed ? stage_cpu_ns() : 0;
        more |= bus_turn_once(the_bus);
        note(s, began);
        more |= s->woken;
    }
}

static uint64_t next_due(const struct timers *w, uint64_t now)
{
    uint64_t wait = timers_wait(w);
    uint64_t due = wait == UINT64_MAX ? UINT64_MAX : w->now + wait;
    return due < now ? now : due;
}

void stage_wait(struct stage *s, uint64_t ms)
{
    uint64_t end = clock_ticks() + ms;

    for (;;) {
        uint64_t now = clock_ticks(), due = next_due(&s->wheel, now);
        uint64_t of_bus = next_due(&the_bus->wheel, now);
        if (of_bus < due) due = of_bus;
        clock_advance((due < end ? due : end) - now);
        stage_turn(s);
        if (clock_ticks() >= end) return;
    }
}

uint64_t stage_delivered(struct stage *s)
{
    return counter_get(session_worker_counters(s->worker), COUNTER_MESSAGES_OUT);
}
