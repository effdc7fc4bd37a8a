#include "redis_stage.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#define PATIENCE_MS 10000
#define WATCHES 16

struct wsbus_watch {
    struct wsbus_watch *next;
    struct stage *stage;
    int fd;
    unsigned events;
    void (*fn)(void *arg, unsigned events);
    void *arg;
};

struct wsbus_timer {
    struct timer timer;
    struct stage *stage;
    void (*fn)(void *arg);
    void *arg;
};

struct stage_job {
    struct stage_job *next;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static struct stage *stage_of(const struct wsbus_host *h)
{
    return CONTAINER_OF(h, struct stage, host);
}

static uint64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
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

static struct wsbus_watch *host_watch(const struct wsbus_host *h, int fd, unsigned events,
                                      void (*fn)(void *arg, unsigned events), void *arg)
{
    struct wsbus_watch *w = mem_zero(sizeof(*w));
    *w = (struct wsbus_watch){
        .stage = stage_of(h), .fd = fd, .events = events, .fn = fn, .arg = arg};
    w->next = w->stage->watches;
    w->stage->watches = w;
    return w;
}

static void host_rewatch(struct wsbus_watch *w, unsigned events)
{
    w->events = events;
}

static void host_unwatch(struct wsbus_watch *w)
{
    struct wsbus_watch **at = &w->stage->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    free(w);
}

static void on_timer(struct timer *timer)
{
    struct wsbus_timer *t = CONTAINER_OF(timer, struct wsbus_timer, timer);
    t->fn(t->arg);
}

static struct wsbus_timer *host_timer(const struct wsbus_host *h, void (*fn)(void *arg), void *arg)
{
    struct wsbus_timer *t = mem_zero(sizeof(*t));
    timer_init(&t->timer, on_timer);
    t->stage = stage_of(h);
    t->fn = fn;
    t->arg = arg;
    return t;
}

static void host_timer_set(struct wsbus_timer *t, uint64_t after_ms)
{
    timer_set(&t->stage->wheel, &t->timer, clock_ticks() + after_ms);
}

static void host_timer_stop(struct wsbus_timer *t)
{
    timer_stop(&t->stage->wheel, &t->timer);
}

static void host_timer_free(struct wsbus_timer *t)
{
    host_timer_stop(t);
    free(t);
}

static void host_offload(const struct wsbus_host *h, void (*work)(void *arg),
                         void (*done)(void *arg), void *arg)
{
    struct stage_job *job = mem_zero(sizeof(*job));
    *job = (struct stage_job){.next = stage_of(h)->jobs, .work = work, .done = done, .arg = arg};
    stage_of(h)->jobs = job;
}

__attribute__((format(printf, 3, 4))) static void host_log(const struct wsbus_host *h,
                                                           enum wsbus_log_level level,
                                                           const char *fmt, ...)
{
    (void)level;
    struct stage *r = stage_of(h);
    size_t n = strlen(r->said);
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->said + n, sizeof(r->said) - n, fmt, args);
    va_end(args);
    n = strlen(r->said);
    snprintf(r->said + n, sizeof(r->said) - n, "\n");
}

static void fill_host(struct wsbus_host *h)
{
    *h = (struct wsbus_host){
        .bus = "stage",
        .now = host_now,
        .ticks = host_ticks,
        .watch = host_watch,
        .rewatch = host_rewatch,
        .unwatch = host_unwatch,
        .timer = host_timer,
        .timer_set = host_timer_set,
        .timer_stop = host_timer_stop,
        .timer_free = host_timer_free,
        .offload = host_offload,
        .log = host_log,
    };
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void run_jobs(struct stage *r)
{
    while (r->jobs) {
        struct stage_job *job = r->jobs;
        r->jobs = job->next;
        job->work(job->arg);
        job->done(job->arg);
        free(job);
    }
}

static struct wsbus_watch *find_watch(const struct stage *r, int fd)
{
    struct wsbus_watch *w = r->watches;
    while (w && w->fd != fd)
        w = w->next;
    return w;
}

static void turn(struct stage *r, int wait_ms)
{
    run_jobs(r);
    timers_run(&r->wheel, clock_ticks());
    struct pollfd fds[WATCHES];
    nfds_t n = 0;
    for (const struct wsbus_watch *w = r->watches; w && n < WATCHES; w = w->next) {
        short events = 0;
        if (w->events & WSBUS_READABLE) events |= POLLIN;
        if (w->events & WSBUS_WRITABLE) events |= POLLOUT;
        fds[n++] = (struct pollfd){.fd = w->fd, .events = events};
    }
    if (poll(fds, n, wait_ms) <= 0) return;
    for (nfds_t i = 0; i < n; i++) {
        struct wsbus_watch *w = fds[i].revents ? find_watch(r, fds[i].fd) : NULL;
        bool broken = fds[i].revents & (POLLERR | POLLHUP);
        unsigned ready = 0;
        if (broken || fds[i].revents & POLLIN) ready |= WSBUS_READABLE;
        if (broken || fds[i].revents & POLLOUT) ready |= WSBUS_WRITABLE;
        if (w) w->fn(w->arg, ready & w->events);
    }
}

void stage_turn(struct stage *r)
{
    turn(r, 0);
}

void stage_pass(struct stage *r, uint64_t ms)
{
    clock_advance(ms);
    turn(r, 0);
}

bool stage_wait(struct stage *r, bool (*met)(void *arg), void *arg)
{
    uint64_t end = real_ms() + PATIENCE_MS;
    while (!met(arg)) {
        if (real_ms() > end) return false;
        turn(r, 1);
    }
    return true;
}

/* ---- the server --------------------------------------------------------------------------- */

void stage_server_up(struct stage *r)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->path);
    r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(r->listener >= 0);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(r->listener, 8), 0);
}

void stage_server_down(struct stage *r)
{
    if (r->listener >= 0) close(r->listener);
    unlink(r->path);
    r->listener = -1;
}

struct stage_client stage_accept(struct stage *r)
{
    struct stage_client c;
    buf_init(&c.in, BUF_UNLIMITED);
    uint64_t end = real_ms() + PATIENCE_MS;
    while ((c.fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        if (real_ms() > end) fail_msg("nobody connects");
        clock_advance(1);
        turn(r, 0);
    }
    return c;
}

static long number_after(const struct buf *b, size_t *at, char mark)
{
    if (*at >= b->n) return -1;
    assert_int_equal(b->p[*at], mark);
    const char *end = memchr(b->p + *at, '\n', b->n - *at);
    if (!end) return -1;
    long n = 0;
    for (const char *p = b->p + *at + 1; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (*p - '0');
    *at = (size_t)(end - b->p) + 1;
    return n;
}

/* The first whole command as text on the heap, and its length; NULL: there is none yet. */
static char *find_command(const struct buf *in, size_t *ret_length, unsigned *ret_words)
{
    size_t at = 0;
    long words = number_after(in, &at, '*');
    if (words < 0) return NULL;
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    for (long i = 0; i < words; i++) {
        long n = number_after(in, &at, '$');
        if (n < 0 || at + (size_t)n + 2 > in->n) {
            buf_free(&text);
            return NULL;
        }
        if (i > 0) buf_byte(&text, ' ');
        buf_append(&text, in->p + at, (size_t)n);
        at += (size_t)n + 2;
    }
    *ret_length = at;
    *ret_words = (unsigned)words;
    return buf_steal(&text);
}

static void take_bytes(struct stage_client *c)
{
    char piece[4096];
    ssize_t n;
    while ((n = recv(c->fd, piece, sizeof(piece), 0)) > 0)
        buf_append(&c->in, piece, (size_t)n);
}

/* Turns until there is one. */
static char *wait_command(struct stage *r, struct stage_client *c, const char *wanted,
                          size_t *ret_length, unsigned *ret_words)
{
    uint64_t end = real_ms() + PATIENCE_MS;
    char *got;
    while (!(got = find_command(&c->in, ret_length, ret_words))) {
        if (real_ms() > end) fail_msg("no command comes where \"%s\" should", wanted);
        turn(r, 1);
        take_bytes(c);
    }
    return got;
}

static void remove_command(struct stage_client *c, size_t length)
{
    memmove(c->in.p, c->in.p + length, c->in.n - length);
    c->in.n -= length;
}

void stage_expect(struct stage *r, struct stage_client *c, const char *command)
{
    size_t length;
    unsigned words;
    char *got = wait_command(r, c, command, &length, &words);
    assert_string_equal(got, command);
    free(got);
    remove_command(c, length);
}

unsigned stage_expect_words(struct stage *r, struct stage_client *c, const char *first)
{
    size_t length;
    unsigned words;
    char *got = wait_command(r, c, first, &length, &words);
    assert_memory_equal(got, first, strlen(first));
    free(got);
    remove_command(c, length);
    return words;
}

bool stage_peek(struct stage *r, struct stage_client *c, const char *command)
{
    size_t length;
    unsigned words;
    char *got = wait_command(r, c, command, &length, &words);
    bool same = strcmp(got, command) == 0;
    free(got);
    return same;
}

void stage_expect_nothing(struct stage *r, struct stage_client *c)
{
    for (int i = 0; i < 10; i++) {
        turn(r, 0);
        take_bytes(c);
    }
    assert_int_equal(c->in.n, 0);
}

void stage_say(struct stage *r, struct stage_client *c, const char *raw)
{
    size_t n = strlen(raw);
    assert_int_equal(send(c->fd, raw, n, MSG_NOSIGNAL), (ssize_t)n);
    for (int i = 0; i < 3; i++)
        turn(r, 0);
}

void stage_hang_up(struct stage *r, struct stage_client *c)
{
    close(c->fd);
    buf_free(&c->in);
    for (int i = 0; i < 3; i++)
        turn(r, 0);
}

struct stage_client stage_greet(struct stage *r)
{
    struct stage_client c = stage_accept(r);
    stage_expect_words(r, &c, "CLIENT SETNAME");
    stage_say(r, &c, "+OK\r\n");
    stage_expect(r, &c, "PING");
    stage_say(r, &c, "+PONG\r\n");
    return c;
}

/* ---- life cycle --------------------------------------------------------------------------- */

/* The values of the defaults. */
static struct wsbus_value *default_values(void)
{
    size_t n = 0;
    while (redis_options[n].name)
        n++;
    struct wsbus_value *values = mem_zero(n * sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const char *text = redis_options[i].fallback;
        values[i].string = text;
        if (text) values[i].number = strtoll(text, NULL, 10);
        if (text) values[i].boolean = strcmp(text, "true") == 0;
    }
    return values;
}

void stage_set(struct stage *r, const char *option, const char *text)
{
    size_t i = 0;
    while (strcmp(redis_options[i].name, option) != 0)
        i++;
    r->values[i].set = true;
    r->values[i].string = text;
    r->values[i].number = strtoll(text, NULL, 10);
    r->values[i].boolean = strcmp(text, "true") == 0;
}

struct redis_config *stage_config(struct stage *r)
{
    char err[256] = "";
    struct redis_config *c = redis_config_new(r->values, err, sizeof(err));
    if (!c) fail_msg("%s", err);
    return c;
}

void stage_init(struct stage *r)
{
    *r = (struct stage){.listener = -1};
    clock_freeze(1000, 1700000000000);
    fill_host(&r->host);
    timers_init(&r->wheel, clock_ticks());
    snprintf(r->folder, sizeof(r->folder), "/tmp/wsbus-stage-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->path, sizeof(r->path), "%s/socket", r->folder);
    snprintf(r->url, sizeof(r->url), "redis+unix://%s", r->path);
    r->values = default_values();
    stage_set(r, "url", r->url);
}

void stage_done(struct stage *r)
{
    run_jobs(r);
    stage_server_down(r);
    rmdir(r->folder);
    free(r->values);
    clock_thaw();
    assert_null(r->watches);
    assert_int_equal(r->wheel.count, 0);
}
