/* wsbus: wire the parts together, run, stop.
 *
 * The main thread reads the configuration, starts the threads and then waits for signals:
 * SIGTERM and SIGINT drain and stop (a second one at once), SIGHUP reads the configuration again.
 * Exit codes: 0 stopped in order, 1 could not run, 2 wrong use or configuration. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "access/access.h"
#include "base/ceiling.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/notify.h"
#include "bus/registry.h"
#include "config/config.h"
#include "edge/addresses.h"
#include "edge/admission.h"
#include "edge/folder.h"
#include "edge/listen.h"
#include "edge/tls.h"
#include "edge/tls_watch.h"
#include "edge/trust.h"
#include "edge/worker.h"
#include "hub/hub.h"
#include "hub/route.h"

#ifndef WSBUS_VERSION
#define WSBUS_VERSION "dev"
#endif

#define STOP_MS 3000     /* for the buses, and again for the last connections */
#define DRAIN_LOOK_MS 50 /* how often a drain looks whether everybody has gone */

enum { EXIT_OK = 0, EXIT_CANNOT_RUN = 1, EXIT_WRONG_USE = 2 };

struct program {
    int argc;
    char **argv;
    struct config config;
    struct route_table *routes;
    struct access *access;
    struct admission admission;
    struct addresses *addresses;
    struct trust *trust;
    int root;        /* the folder web.root; -1: none */
    struct tls *tls; /* NULL: no listener has certificates */
    struct tls_watch *tls_watch;
    struct listener *listeners; /* those of the first worker, of the second, ... */
    size_t listener_count;
    struct listener *admin; /* of the first worker; NULL: none */
    struct worker **workers;
    struct inbox **inboxes;
    unsigned worker_count; /* that exist */
    struct hub *hub;
};

/* ---- what needs no threads ------------------------------------------------------------------ */

static int print_buf(struct buf *b, FILE *to)
{
    fwrite(b->p, 1, b->n, to);
    if (b->n > 0 && b->p[b->n - 1] != '\n') fputc('\n', to);
    buf_free(b);
    return fflush(to) == 0 ? EXIT_OK : EXIT_CANNOT_RUN;
}

static int answer(enum config_action action, const struct config *config)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    switch (action) {
    case CONFIG_CHECK: buf_str(&out, "ok"); break;
    case CONFIG_PRINT: config_print(config, &out); break;
    case CONFIG_SCHEMA: config_schema(bus_registry, &out); break;
    case CONFIG_HELP: config_help(bus_registry, &out); break;
    case CONFIG_REFERENCE: config_reference(bus_registry, &out); break;
    case CONFIG_VERSION: buf_str(&out, "wsbus " WSBUS_VERSION); break;
    case CONFIG_RUN: break;
    }
    return print_buf(&out, stdout);
}

/* ---- start ---------------------------------------------------------------------------------- */

static int cannot(const char *why)
{
    log_error(log_event("cannot_run"), log_s("reason", why));
    return -1;
}

static unsigned core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) < 0) return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

static void count_connections(struct program *p)
{
    uint64_t wanted = p->config.limits.connections;
    uint64_t limit = admission_init(&p->admission, wanted, p->config.limits.handshakes_per_second);
    if (limit < wanted)
        log_warn(log_event("connections_limited"), log_i("limit", limit),
                 log_i("configured", wanted),
                 log_s("reason", "the process may not open more files (ulimit -n)"));
    else
        log_info(log_event("connections"), log_i("limit", limit));
}

static int make_workers(struct program *p, unsigned count, char *err, size_t err_size)
{
    p->workers = mem_zero(count * sizeof(struct worker *));
    p->inboxes = mem_zero(count * sizeof(struct inbox *));
    for (unsigned i = 0; i < count; i++) {
        struct worker_spec spec = {
            .index = i,
            .config = &p->config,
            .routes = p->routes,
            .access = p->access,
            .admission = &p->admission,
            .addresses = p->addresses,
            .trust = p->trust,
            .tls = p->tls,
            .root = p->root,
            .listeners = p->listeners + i * p->config.listen_count,
            .listener_count = p->config.listen_count,
            .admin = i == 0 ? p->admin : NULL,
        };
        p->workers[i] = worker_new(&spec, err, err_size);
        if (!p->workers[i]) return -1;
        p->inboxes[i] = worker_inbox(p->workers[i]);
        p->worker_count = i + 1;
    }
    worker_others(p->workers[0], p->workers, count);
    return 0;
}

static int start(struct program *p, unsigned workers)
{
    char err[512] = "";
    p->routes = route_new(&p->config, err, sizeof(err));
    if (!p->routes) return cannot(err);
    p->access = access_new(&p->config, err, sizeof(err));
    if (!p->access) return cannot(err);
    if (p->config.web.root) {
        p->root = folder_open(p->config.web.root, err, sizeof(err));
        if (p->root < 0) return cannot(err);
    }
    if (tls_open(&p->config, &p->tls, err, sizeof(err)) < 0) return cannot(err);
    if (listen_open(&p->config, workers, &p->listeners, err, sizeof(err)) < 0) return cannot(err);
    p->listener_count = workers * p->config.listen_count;
    for (size_t i = 0; i < p->listener_count; i++)
        p->listeners[i].tls = tls_site(p->tls, i % p->config.listen_count);
    ceiling_set(p->config.limits.memory_bytes);
    if (listen_open_admin(&p->config, &p->admin, err, sizeof(err)) < 0) return cannot(err);
    p->trust = trust_new(&p->config);
    p->addresses = addresses_new((struct addresses_limits){
        p->config.limits.address_connections, p->config.limits.address_handshakes_per_second});
    count_connections(p); /* before libwebsockets sizes its tables */
    if (make_workers(p, workers, err, sizeof(err)) < 0) return cannot(err);
    p->hub = hub_start(&p->config, p->inboxes, p->worker_count, err, sizeof(err));
    if (!p->hub) return cannot(err);
    for (unsigned i = 0; i < p->worker_count; i++)
        if (worker_start(p->workers[i], p->hub, err, sizeof(err)) < 0) return cannot(err);
    if (p->tls) p->tls_watch = tls_watch_start(p->tls, &p->config, err, sizeof(err));
    if (p->tls && !p->tls_watch) return cannot(err);
    return 0;
}

/* What a human at a terminal wants to know. */
static void print_hint(const struct program *p)
{
    const struct listener *l = &p->listeners[0];
    if (p->config.listen_count == 0 || l->shared) return;
    if (p->argc > 1 && !isatty(STDOUT_FILENO)) return;
    const char *pages = p->config.web.demo ? "prices move at /, people talk at /chat"
                                           : "it has lines for the console";
    printf("wsbus " WSBUS_VERSION " is listening on %s://%s/\n", l->tls ? "https" : "http",
           l->address);
    printf("Open it in a browser: %s. Or try\n"
           "  echo '{\"type\":\"subscribe\",\"channel\":\"quotes.EURUSD\",\"from\":{\"last\":1}}' |"
           " websocat -n%s://%s/ws\n",
           pages, l->tls ? "k wss" : " ws", l->address);
    fflush(stdout);
}

/* To systemd, or whoever has started us and wants to hear it. */
static void told(int rc)
{
    if (rc < 0) log_warn(log_event("notify_failed"), log_s("reason", strerror(errno)));
}

static void announce(const struct program *p)
{
    told(notify_ready());
    for (size_t i = 0; i < p->config.listen_count; i++)
        log_info(log_event("listening"), log_s("address", p->listeners[i].address),
                 log_s("speaks", p->listeners[i].tls ? "https" : "http"),
                 log_i("workers", p->worker_count), log_s("version", WSBUS_VERSION));
    if (p->admin) log_info(log_event("admin_listening"), log_s("address", p->admin->address));
    print_hint(p);
}

/* ---- reload --------------------------------------------------------------------------------- */

/* Only the log and the certificates (not where they are) can change while the process runs;
 * anything else that is different is told. */
static void reload(struct program *p)
{
    struct config fresh;
    enum config_action action;
    struct buf errors, before, after;
    buf_init(&errors, BUF_UNLIMITED);
    buf_init(&before, BUF_UNLIMITED);
    buf_init(&after, BUF_UNLIMITED);
    const struct config_input in = {p->argc, p->argv, environ, bus_registry};
    if (config_load(&in, &fresh, &action, &errors) < 0) {
        log_error(log_event("reload_failed"), log_span("mistakes", buf_view(&errors)));
        buf_free(&errors);
        return;
    }
    log_setup(fresh.log_level, fresh.log_format);
    p->config.log_level = fresh.log_level;
    p->config.log_format = fresh.log_format;
    config_print(&p->config, &before);
    config_print(&fresh, &after);
    if (!span_eq(buf_view(&before), buf_view(&after)))
        log_warn(log_event("reload_incomplete"),
                 log_s("reason", "only the options of `log` and what is in the files of "
                                 "certificates can change without a restart"));
    if (p->tls) tls_reload(p->tls, false);
    log_info(log_event("reloaded"));
    config_free(&fresh);
    buf_free(&errors);
    buf_free(&before);
    buf_free(&after);
}

/* ---- stop ----------------------------------------------------------------------------------- */

static uint64_t connections(const struct program *p)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < p->worker_count; i++)
        n += worker_connections(p->workers[i]);
    return n;
}

/* Tells the clients to go and waits until they have gone. False: a second signal came. */
static bool drain(struct program *p, const sigset_t *signals)
{
    uint64_t end = clock_ticks() + p->config.drain;
    log_info(log_event("draining"), log_i("connections", connections(p)),
             log_i("window", p->config.drain));
    atomic_store(&p->admission.draining, true);
    for (unsigned i = 0; i < p->worker_count; i++)
        worker_drain(p->workers[i], p->config.drain);
    while (connections(p) > 0 && clock_ticks() < end) {
        const struct timespec look = {.tv_nsec = DRAIN_LOOK_MS * 1000000L};
        int sig = sigtimedwait(signals, NULL, &look);
        if (sig == SIGTERM || sig == SIGINT) return false;
    }
    return true;
}

/* Takes down whatever start() has set up, in the reverse order but for one thing: the hub stops
 * before the workers do, so that every request that it accepted is answered. */
static void stop(struct program *p, uint64_t deadline_ms)
{
    tls_watch_stop(p->tls_watch);
    if (p->hub) hub_stop(p->hub, deadline_ms);
    for (unsigned i = 0; i < p->worker_count; i++)
        worker_stop(p->workers[i], deadline_ms);
    for (unsigned i = 0; i < p->worker_count; i++)
        worker_join(p->workers[i]);
    for (unsigned i = 0; i < p->worker_count; i++)
        worker_free(p->workers[i]);
    if (p->hub) hub_free(p->hub);
    if (p->listeners) listen_close(p->listeners, p->listener_count);
    if (p->admin) listen_close(p->admin, 1);
    tls_close(p->tls);
    if (p->root >= 0) close(p->root);
    addresses_free(p->addresses);
    trust_free(p->trust);
    if (p->access) access_free(p->access);
    if (p->routes) route_free(p->routes);
    free(p->workers);
    free(p->inboxes);
}

/* ---- run ------------------------------------------------------------------------------------ */

/* Blocked here before there is any other thread, so that all inherit it: only main gets them. */
static void take_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Returns the milliseconds that stopping may take. */
static uint64_t serve(struct program *p, const sigset_t *signals)
{
    for (;;) {
        int sig = sigwaitinfo(signals, NULL);
        if (sig == SIGTERM || sig == SIGINT) break;
        if (sig != SIGHUP) continue;
        told(notify_reloading());
        reload(p);
        told(notify_ready());
    }
    told(notify_stopping(p->config.drain + 3 * STOP_MS));
    bool patient = drain(p, signals);
    log_info(log_event("stopping"), log_i("connections", connections(p)));
    return patient ? STOP_MS : 0;
}

static int run(struct program *p)
{
    sigset_t signals;
    uint64_t stop_ms = 0;
    int code = EXIT_CANNOT_RUN;
    take_signals(&signals);
    unsigned workers = p->config.workers ? p->config.workers : core_count();
    if (start(p, workers) == 0) {
        announce(p);
        stop_ms = serve(p, &signals);
        code = EXIT_OK;
        /* Whoever is still in a hurry gets what the system does by default. */
        sigdelset(&signals, SIGHUP);
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    }
    stop(p, stop_ms);
    if (code == EXIT_OK) log_info(log_event("stopped"));
    return code;
}

int main(int argc, char **argv)
{
    struct program p = {.argc = argc, .argv = argv, .root = -1};
    enum config_action action;
    struct buf errors;
    buf_init(&errors, BUF_UNLIMITED);
    const struct config_input in = {argc, argv, environ, bus_registry};
    if (config_load(&in, &p.config, &action, &errors) < 0) {
        print_buf(&errors, stderr);
        return EXIT_WRONG_USE;
    }
    buf_free(&errors);
    log_setup(p.config.log_level, p.config.log_format);
    int code = action == CONFIG_RUN ? run(&p) : answer(action, &p.config);
    config_free(&p.config);
    return code;
}
