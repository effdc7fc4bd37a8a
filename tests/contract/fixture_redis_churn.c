/* Redis Streams under churn, on a real server: producers at full speed, feeds that come and go,
 * travellers that read the past from every kind of place, and the connections cut again and again.
 *
 * What each of them got is compared with what the server has (or, where it trims, with what it has
 * said it stored): in order, each once, and none missing that no gap speaks of. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bus/redis_config.h"
#include "bus/redis_id.h"
#include "bus/registry.h"
#include "bus/thread.h"
#include "protocol/cursor.h"
#include "redis_load.h"
#include "redis_server.h"
#include "redis_values.h"

#define QUIET 300 /* streams with nothing in them, so that there is more than one connection */
#define WATCHERS_MAX 4000
#define STEP_MS 4
#define PATIENCE_MS 30000

/* ---- the server --------------------------------------------------------------------------------- */

static struct redis_server *server;
static struct wsbus_value *options, *rules[2];

/* Cuts every 50 ms, and then a while in which the connections come back. */
static void kill_all(void)
{
    int rounds = getenv("TEST_FULL") ? 8 : 2;
    redisContext *c = load_dial(server);

    for (int round = 0; round < rounds; round++) {
        load_pause(c, "0.6");
        for (int i = 0; i < 4; i++) {
            freeReplyObject(redisCommand(c, "CLIENT KILL USER default"));
            load_pause(c, "0.05");
        }
    }
    load_pause(c, "0.4");
    redisFree(c);
}

static int group_setup(void **state)
{
    (void)state;
    server = redis_server_start(false);
    if (!server) return -1;
    options = redis_values(redis_options);
    redis_value(redis_options, options, "url")->string = redis_server_url(server);
    for (int i = 0; i < 2; i++) {
        rules[i] = redis_values(redis_rule_options);
        redis_value(redis_rule_options, rules[i], "kind")->string = "stream";
    }
    redis_value(redis_rule_options, rules[1], "payload_field")->string = "other";
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    redis_server_stop(server);
    free(options);
    free(rules[0]);
    free(rules[1]);
    return 0;
}

/* ---- who listens: all on the bus thread ---------------------------------------------------------- */

enum kind { WATCHER, TRAVELLER };
enum stage { ASKED, LIVE, LOCATING, READING, ENDING, OVER };

/* A gap before the entry number `index`. */
struct hole {
    size_t index;
    struct wsbus_pos until;
};

struct listener {
    enum kind kind;
    enum stage stage;
    uint64_t token; /* of the feed, or of the request under way */
    unsigned stream;
    struct wsbus_topic topic;
    char name[16];
    struct wsbus_pos start, at;
    struct wsbus_pos end; /* a traveller's */
    struct ids got;
    struct hole *holes;
    size_t hole_count;
    uint64_t last_token; /* that was for it */
};

static struct bus_thread *thread;
static const struct wsbus_host *_Atomic host;
static struct wsbus_timer *step_timer;
static struct listener *all[WATCHERS_MAX];
static size_t all_count;
static uint64_t tokens;
static unsigned seed = 4711;
static atomic_bool winding_down;
static atomic_uint live, travelling, delivered, refused;

static struct listener *by_token(uint64_t token)
{
    for (size_t i = all_count; i-- > 0;)
        if (all[i]->token == token) return all[i];
    return NULL;
}

static void add_hole(struct listener *l, struct wsbus_pos until)
{
    l->holes = mem_grow(l->holes, (l->hole_count + 1) * sizeof *l->holes);
    l->holes[l->hole_count++] = (struct hole){l->got.count, until};
    l->at = until;
}

static void read_on(struct listener *l)
{
    struct wsbus_cursor *from = cursor_new(1), *until = cursor_new(1);
    struct wsbus_read r = {.topic = l->topic, .max_messages = 50 + (unsigned)rand_r(&seed) % 500};

    from->pos[0] = l->at;
    until->pos[0] = l->end;
    r.from = from;
    r.until = until;
    r.max_bytes = 1 << 16;
    r.max_scan = 2000;
    l->stage = READING;
    l->token = ++tokens;
    backend_redis.read(bus_thread_instance(thread), l->token, &r);
    cursor_free(from);
    cursor_free(until);
}

/* As the hub does it: the feed's place first, then a place in the past, then what lies between. */
static void locate(struct listener *l)
{
    struct wsbus_cursor *c = cursor_new(1);
    struct wsbus_locate w = {.topic = l->topic};

    switch (rand_r(&seed) % 5) {
    case 0: w.place = WSBUS_EARLIEST; break;
    case 1:
        w.place = WSBUS_LAST;
        w.count = 1 + (unsigned)rand_r(&seed) % 3000;
        c->pos[0] = l->end;
        w.until = c;
        break;
    case 2:
        w.place = WSBUS_AT_TIME;
        w.time = clock_wall() - rand_r(&seed) % 2000;
        break;
    case 3:
        w.place = WSBUS_AFTER;
        c->pos[0] = (struct wsbus_pos){.hi = l->end.hi - (unsigned)rand_r(&seed) % 1000};
        w.cursor = c;
        break;
    default: w.place = WSBUS_LATEST;
    }
    l->stage = LOCATING;
    l->token = ++tokens;
    backend_redis.locate(bus_thread_instance(thread), l->token, &w);
    cursor_free(c);
}

static void leave(struct listener *l)
{
    uint64_t token = l->token;

    if (l->stage == LIVE) atomic_fetch_sub(&live, 1);
    l->stage = ENDING;
    backend_redis.unsubscribe(bus_thread_instance(thread), token);
}

static void on_subscribed(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                          const struct wsbus_cursor *cursor)
{
    struct listener *l = by_token(token);

    (void)h;
    if (l->stage != ASKED) abort();
    if (a->status != WSBUS_OK) {
        l->stage = OVER;
        atomic_fetch_add(&refused, 1);
        return;
    }
    l->start = l->at = l->end = cursor->pos[0];
    l->stage = LIVE;
    atomic_fetch_add(&live, 1);
    if (l->kind == TRAVELLER) leave(l);
}

static void on_message(const struct wsbus_host *h, uint64_t token, struct wsbus_message *m)
{
    struct listener *l = by_token(token);

    (void)h;
    if (!l || l->stage != LIVE) abort();
    ids_add(&l->got, m->pos);
    l->at = m->pos;
    wsbus_message_unref(m);
    atomic_fetch_add(&delivered, 1);
    if (rand_r(&seed) % 3000 == 0) leave(l); /* from inside */
}

static void on_gap(const struct wsbus_host *h, uint64_t token, const struct wsbus_cursor *until)
{
    struct listener *l = by_token(token);

    (void)h;
    if (!l || l->stage != LIVE || !until) abort();
    add_hole(l, until->pos[0]);
}

static void on_ended(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a)
{
    (void)h;
    fprintf(stderr, "feed %llu of %s ended: %s\n", (unsigned long long)token, by_token(token)->name,
            a->words);
    abort();
}

static void on_unsubscribed(const struct wsbus_host *h, uint64_t token)
{
    struct listener *l = by_token(token);

    (void)h;
    if (!l || l->stage != ENDING) abort();
    l->stage = OVER;
    if (l->kind == TRAVELLER && !atomic_load(&winding_down))
        locate(l);
    else if (l->kind == TRAVELLER)
        atomic_fetch_sub(&travelling, 1);
}

static void on_located(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                       const struct wsbus_located *w)
{
    struct listener *l = by_token(token);

    (void)h;
    if (!l || l->stage != LOCATING) abort();
    if (a->status != WSBUS_OK) {
        l->stage = OVER;
        atomic_fetch_add(&refused, 1);
        atomic_fetch_sub(&travelling, 1);
        return;
    }
    l->start = l->at = w->cursor->pos[0];
    read_on(l);
}

static void on_chunk(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                     const struct wsbus_chunk *c)
{
    struct listener *l = by_token(token);

    (void)h;
    if (!l || l->stage != READING) abort();
    if (a->status != WSBUS_OK) abort();
    if (c->lost) add_hole(l, c->lost_until->pos[0]);
    for (size_t i = 0; i < c->count; i++)
        ids_add(&l->got, c->messages[i]->pos);
    if (pos_compare(&l->at, &c->cursor->pos[0]) == 0 && !c->end) abort();
    l->at = c->cursor->pos[0];
    if (!c->end) {
        read_on(l);
        return;
    }
    l->stage = OVER;
    atomic_fetch_sub(&travelling, 1);
}

static void on_state(const struct wsbus_host *h, bool up, const char *words)
{
    (void)up, (void)words;
    host = h;
}

static void listener_new(enum kind kind, char letter, unsigned number)
{
    struct listener *l = mem_zero(sizeof *l);

    l->kind = kind;
    l->stream = number;
    l->token = ++tokens;
    snprintf(l->name, sizeof l->name, "%c%u", letter, number);
    l->topic = (struct wsbus_topic){l->name, strlen(l->name), rules[rand_r(&seed) % 2]};
    all[all_count++] = l;
    if (kind == TRAVELLER) atomic_fetch_add(&travelling, 1);
    backend_redis.subscribe(bus_thread_instance(thread), l->token, &l->topic);
}

static void step(void *arg)
{
    (void)arg;
    if (!bus_thread_instance(thread) || atomic_load(&winding_down)) return;
    if (all_count < WATCHERS_MAX - 2) {
        if (atomic_load(&live) < 60)
            listener_new(WATCHER, 's', (unsigned)rand_r(&seed) % LOAD_STREAMS);
        if (atomic_load(&travelling) < 20)
            listener_new(TRAVELLER, 's', (unsigned)rand_r(&seed) % LOAD_STREAMS);
    }
    if (rand_r(&seed) % 3 == 0) {
        struct listener *l = all[(unsigned)rand_r(&seed) % all_count];
        if (l->kind == WATCHER && (l->stage == LIVE || l->stage == ASKED)) leave(l);
    }
    host->timer_set(step_timer, STEP_MS);
}

static void begin(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < LOAD_STREAMS; i++)
        listener_new(WATCHER, 's', i);
    for (unsigned i = 0; i < QUIET; i++)
        listener_new(WATCHER, 'q', i + LOAD_STREAMS);
    step_timer = host->timer(host, step, NULL);
    step(NULL);
}

static const struct wsbus_host sink = {
    .subscribed = on_subscribed,
    .message = on_message,
    .gap = on_gap,
    .ended = on_ended,
    .unsubscribed = on_unsubscribed,
    .located = on_located,
    .chunk = on_chunk,
    .state = on_state,
};

/* ---- the checker --------------------------------------------------------------------------------- */

static void tell_difference(const struct listener *l, size_t i, const struct wsbus_pos *expected)
{
    char before[REDIS_ID_MAX], got[REDIS_ID_MAX], wanted[REDIS_ID_MAX];

    fail_msg("%s of %s: number %zu of %zu is %s, but behind %s follows %s",
             l->kind == TRAVELLER ? "traveller" : "watcher", l->name, i, l->got.count,
             redis_id_text(&l->got.pos[i], got),
             redis_id_text(i ? &l->got.pos[i - 1] : &l->start, before),
             expected ? redis_id_text(expected, wanted) : "nothing");
}

/* Walks what it got along what there was. */
static void check_listener(const struct listener *l, bool finished, size_t *ret_false_gaps)
{
    const struct ids *all_ids = load_stored(l->stream);
    size_t at = ids_after(all_ids, &l->start), hole = 0;

    for (size_t i = 0; i <= l->got.count; i++) {
        for (; hole < l->hole_count && l->holes[hole].index == i; hole++) {
            size_t beyond = ids_after(all_ids, &l->holes[hole].until);
            if (beyond <= at) ++*ret_false_gaps;
            if (beyond > at) at = beyond;
        }
        if (i == l->got.count) break;
        if (at >= all_ids->count || pos_compare(&all_ids->pos[at], &l->got.pos[i]) != 0)
            tell_difference(l, i, at < all_ids->count ? &all_ids->pos[at] : NULL);
        at++;
    }
    if (finished && at != (l->kind == TRAVELLER ? ids_after(all_ids, &l->end) : all_ids->count))
        fail_msg("%s: %zu of %zu", l->name, at, all_ids->count);
}

static bool have_all(void)
{
    bool done = atomic_load(&travelling) == 0;

    for (size_t i = 0; i < all_count && done; i++) {
        const struct listener *l = all[i];
        struct wsbus_pos at;
        if (l->kind == TRAVELLER || l->stage != LIVE || l->stream >= LOAD_STREAMS) continue;
        at = l->at;
        done = ids_after(load_stored(l->stream), &at) == load_stored(l->stream)->count;
    }
    return done;
}

static atomic_bool complete;

static void look(void *arg)
{
    (void)arg;
    if (atomic_load(&complete) || !have_all()) return;
    host->timer_free(step_timer);
    atomic_store(&complete, true);
}

static void wait_for_all(void)
{
    uint64_t end = clock_ticks() + PATIENCE_MS;
    redisContext *c = load_dial(server);

    while (!atomic_load(&complete) && clock_ticks() < end) {
        host->post(host, look, NULL);
        load_pause(c, "0.02");
    }
    redisFree(c);
}

static void start_bus(void)
{
    struct bus_thread_spec spec = {
        .name = "churn",
        .backend = &backend_redis,
        .values = options,
        .inbox_bytes = 1 << 20,
        .readers = 4,
        .sink = sink,
    };
    char err[256] = "";

    all_count = 0;
    host = NULL;
    atomic_store(&winding_down, false);
    atomic_store(&complete, false);
    thread = bus_thread_start(&spec, err, sizeof err);
    if (!thread) fail_msg("%s", err);
}

static void forget(void)
{
    for (size_t i = 0; i < all_count; i++) {
        free(all[i]->got.pos);
        free(all[i]->holes);
        free(all[i]);
    }
    load_forget();
}

static void churn(unsigned maxlen)
{
    size_t false_gaps = 0, holes = 0, entries = 0, travellers = 0;

    load_start(server, maxlen);
    start_bus();
    while (!host)
        sched_yield();
    host->post(host, begin, NULL);
    kill_all();
    load_stop();
    atomic_store(&winding_down, true);
    wait_for_all();
    assert_true(atomic_load(&complete));
    bus_thread_stop(thread, 2000);
    bus_thread_free(thread);
    for (size_t i = 0; i < all_count; i++) {
        const struct listener *l = all[i];
        bool finished = l->kind == TRAVELLER ? l->stage == OVER && l->got.count : l->stage == LIVE;
        holes += l->hole_count;
        entries += l->got.count;
        travellers += l->kind == TRAVELLER && l->got.count;
        if (l->stream < LOAD_STREAMS) check_listener(l, finished, &false_gaps);
    }
    print_message(
        "%zu listeners, %zu travellers, %zu entries, %zu gaps, %zu of them false, %u refused\n",
        all_count, travellers, entries, holes, false_gaps, atomic_load(&refused));
    if (!maxlen) assert_int_equal(holes, 0);
    forget();
}

static void nothing_is_missing_and_nothing_comes_twice(void **state)
{
    (void)state;
    churn(0);
}

static void what_was_trimmed_is_told(void **state)
{
    (void)state;
    churn(200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missing_and_nothing_comes_twice),
        cmocka_unit_test(what_was_trimmed_is_told),
    };
    return cmocka_run_group_tests_name("redis churn", tests, group_setup, group_teardown);
}
