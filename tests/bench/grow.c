/* What the bridge itself costs at sizes that no machine has sockets for: one measurement on the stage
 * (stage.h: one thread, a counter in the place of each socket), one line of JSON. grow.py goes through
 * the sizes.
 *
 *     grow sockets N       N connections on one channel: open, subscribe, deliver, ping, close
 *     grow keys N          N channels, each a key of one topic, over connections with 100 each
 *     grow topics N        the same, each channel a topic of its own
 *     grow payload N       1 000 connections on one channel, messages of N bytes
 *     grow queue N         one connection that takes nothing while N messages come, and then takes them
 *     grow map N           N insertions into one table (base/map.h), look-ups, removals
 *     grow timers N        N timers on one wheel (base/timers.h): set, move, fire
 *
 * Times are nanoseconds of this thread's processor time; "longest" is the longest that the loop of a
 * thread was kept in one go (for map: by 100 insertions). "bytes" is what the process has grown
 * by (resident), for each of what was made. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"
#include "hub/mail.h"

#include "stage.h"

#define BUNCH 100u          /* connections that come in one turn of the loop */
#define DELIVERIES 4000000u /* of a measurement, about */
#define EACH 100u           /* channels of a connection */

static struct stage stage;
static struct far *fars, speaker;

static size_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*u %lu", &pages) != 1) exit(1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- figures -------------------------------------------------------------------------------------- */

static uint64_t began;
static size_t held;

static void begin(void)
{
    stage.longest_ns = 0;
    held = resident();
    began = stage_cpu_ns();
}

static void figure(const char *name, double value)
{
    static bool some;
    printf("%s\"%s\":%.1f", some ? "," : "{", name, value);
    some = true;
}

/* Since begin(), for each of n; what it has kept the loop for. */
static void end(const char *what, uint64_t n)
{
    char name[64];
    uint64_t took = stage_cpu_ns() - began;

    snprintf(name, sizeof name, "%s_ns", what);
    figure(name, (double)took / (double)n);
    snprintf(name, sizeof name, "%s_longest_us", what);
    figure(name, (double)stage.longest_ns / 1000);
}

static void end_with_bytes(const char *what, uint64_t n)
{
    char name[64];
    size_t now = resident();

    end(what, n);
    snprintf(name, sizeof name, "%s_bytes", what);
    figure(name, now > held ? (double)(now - held) / (double)n : 0);
}

static void expect(const char *what, uint64_t is, uint64_t expected)
{
    if (is == expected) return;
    fprintf(stderr, "%s: %" PRIu64 ", not %" PRIu64 "\n", what, is, expected);
    exit(1);
}

static void longest_since(uint64_t from)
{
    uint64_t took = stage_cpu_ns() - from;
    if (took > stage.longest_ns) stage.longest_ns = took;
}

/* ---- preparing ------------------------------------------------------------------------------------- */

static void open_stage(unsigned count, const char *const *sets)
{
    stage_open(&stage, sets);
    stage.timed = true;
    far_open(&stage, &speaker);
    stage_turn(&stage);
    fars = mem_alloc((count + 1) * sizeof *fars);
    memset(fars, 0, (count + 1) * sizeof *fars); /* so that it is not counted as the bridge's */
}

/* What comes in at once and is read in one turn of the loop; then the turn goes on. They come a
 * millisecond apart: what all did at one moment would be due at one moment too. */
static void bunch(unsigned from, unsigned to, void (*one)(unsigned i))
{
    while (from < to) {
        unsigned stop = to - from < BUNCH ? to : from + BUNCH;
        uint64_t start = stage_cpu_ns();
        for (; from < stop; from++)
            one(from);
        longest_since(start);
        stage_wait(&stage, 1);
    }
}

static void open_one(unsigned i)
{
    far_open(&stage, &fars[i]);
}

static void pong_one(unsigned i)
{
    session_ponged(fars[i].session);
}

static void close_one(unsigned i)
{
    far_gone(&fars[i]);
}

static const char *request; /* with a '#', or none */
static unsigned each = 1;   /* of them for each connection */

static void ask_one(unsigned i)
{
    if (strchr(request, '#'))
        far_say_of(&fars[i / each], request, i);
    else
        far_say(&fars[i / each], request);
}

/* What a publish says; `text` has the '#' of far_say_of(), or none. */
static char *publish(const char *channel, size_t payload)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    buf_str(&b, "{\"type\":\"publish\",\"channel\":\"");
    buf_str(&b, channel);
    buf_str(&b, "\",\"data\":\"");
    for (size_t n = 2; n < payload; n++)
        buf_byte(&b, 'x');
    buf_str(&b, "\"}");
    return buf_steal(&b);
}

static void deliver(const char *what, const char *text, unsigned rounds, unsigned in_a_turn,
                    unsigned receivers)
{
    uint64_t before = stage_delivered(&stage);

    begin();
    for (unsigned i = 0; i < rounds; i++) {
        far_say(&speaker, text);
        if (i % in_a_turn == in_a_turn - 1) stage_turn(&stage);
    }
    end(what, receivers ? (uint64_t)rounds * receivers : rounds);
    expect(what, stage_delivered(&stage) - before, (uint64_t)rounds * receivers);
}

static unsigned rounds_of(unsigned receivers, unsigned least)
{
    unsigned n = DELIVERIES / receivers / least * least;
    return n < least ? least : n > 20000 ? 20000 : n;
}

/* ---- sockets --------------------------------------------------------------------------------------- */

static void ping_all(unsigned n)
{
    unsigned done = 0;

    bunch(0, n, pong_one);
    begin();
    /* Each has a ping of its own every 25 s, and answers somewhere in that time. */
    for (unsigned step = 1; step <= 1000; step++) {
        unsigned to = (unsigned)((uint64_t)n * step / 1000);
        stage_wait(&stage, 25);
        for (; done < to; done++)
            pong_one(done);
        session_ponged(speaker.session);
    }
    end("ping", n);
}

static void grow_sockets(unsigned n)
{
    static const char *const sets[] = {"limits.ping_ms=25000", NULL};
    char *text = publish("one.0", 100);

    open_stage(n, sets);
    begin();
    bunch(0, n, open_one);
    end_with_bytes("open", n);
    request = "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.0\"}";
    begin();
    bunch(0, n, ask_one);
    end_with_bytes("subscribe", n);
    deliver("warm", text, 2, 1, n);
    deliver("deliver", text, rounds_of(n, 4), 1, n);
    deliver("burst", text, rounds_of(n, 8), 8, n);
    ping_all(n);
    expect("closed for silence", session_worker_count(stage.worker), n + 1);
    begin();
    bunch(0, n, close_one);
    end("gone", n);
    expect("connections", session_worker_count(stage.worker), 1);
    free(text);
}

/* ---- channels -------------------------------------------------------------------------------------- */

/* In an order that has nothing to do with the one in which they were made: a step that is coprime. */
static void deliver_each(const char *what, const char *text, unsigned n)
{
    unsigned times = 200000, at = 0;
    uint64_t before = stage_delivered(&stage);

    begin();
    for (unsigned i = 0; i < times; i++) {
        at = (unsigned)(((uint64_t)at + 611953) % n);
        far_say_of(&speaker, text, at);
        if (i % 10 == 9) stage_turn(&stage);
    }
    end(what, times);
    expect(what, stage_delivered(&stage) - before, times);
}

static void grow_channels(unsigned n, const char *ask, const char *channel)
{
    unsigned count = (n + EACH - 1) / EACH;
    char *text = publish(channel, 100);
    struct mail_leave *drained;
    uint64_t before;

    open_stage(count, NULL);
    bunch(0, count, open_one);
    request = ask;
    each = EACH;
    begin();
    bunch(0, n, ask_one);
    end_with_bytes("subscribe", n);
    expect("subscriptions",
           counter_get(session_worker_counters(stage.worker), COUNTER_SUBSCRIPTIONS), n);
    deliver_each("warm", text, n);
    deliver_each("deliver", text, n);
    /* `position` to those who have heard nothing for a minute: all but the last one's members. */
    far_say_of(&speaker, text, 0);
    before = counter_get(session_worker_counters(stage.worker), COUNTER_FRAMES_OUT);
    begin();
    stage_wait(&stage, 61000 + n / 200); /* in several turns of the loop, 1 ms apart */
    end("position", n);
    figure(
        "positions",
        (double)(counter_get(session_worker_counters(stage.worker), COUNTER_FRAMES_OUT) - before));
    /* A worker's inbox was full, and has room again. */
    drained = mail_leave_new(MAIL_DRAINED, 0, 0, false);
    begin();
    inbox_force(hub_inbox(stage.hub, 0), &drained->item);
    stage_turn(&stage);
    end("drained", n);
    begin();
    for (unsigned i = 0; i < count; i++)
        bunch(i, i + 1, close_one);
    end("gone", n);
    free(text);
}

/* ---- payload, queue -------------------------------------------------------------------------------- */

static void grow_payload(unsigned n)
{
    unsigned count = 1000, rounds = n > 65536 ? 50 : 1000;
    char *text = publish("one.0", n);

    open_stage(count, NULL);
    bunch(0, count, open_one);
    deliver("publish", text, rounds, 1, 0);
    request = "{\"type\":\"subscribe\",\"channel\":\"one.0\"}";
    bunch(0, count, ask_one);
    deliver("warm", text, 4, 1, count);
    deliver("deliver", text, rounds, 1, count);
    free(text);
}

static void grow_queue(unsigned n)
{
    static const char *const sets[] = {"limits.queue_bytes=1073741824", "limits.queue_ms=86400000",
                                       NULL};
    char *text = publish("one.0", 100);

    open_stage(1, sets);
    bunch(0, 1, open_one);
    far_say(&fars[0], "{\"type\":\"subscribe\",\"channel\":\"one.0\",\"policy\":\"drop\"}");
    stage_turn(&stage);
    deliver("direct", text, 1000, 1, 1);
    fars[0].stalled = true;
    far_say(&speaker, text);
    stage_turn(&stage);
    begin();
    for (unsigned i = 0; i < n; i++) {
        far_say(&speaker, text);
        if (i % 10 == 9) stage_turn(&stage);
    }
    stage_turn(&stage);
    end_with_bytes("wait", n);
    fars[0].stalled = false;
    begin();
    session_writable(fars[0].session);
    stage_turn(&stage);
    end("take", n);
    free(text);
}

/* ---- tables, timers -------------------------------------------------------------------------------- */

static void grow_map(unsigned n)
{
    struct map m;
    struct map_node *nodes = mem_alloc(n * sizeof *nodes);
    uint64_t found = 0;

    memset(nodes, 0, n * sizeof *nodes);
    map_init(&m);
    begin();
    for (unsigned i = 0; i < n;) {
        uint64_t from = stage_cpu_ns(); /* costs more than an insertion: not for each */
        for (unsigned stop = i + BUNCH; i < n && i < stop; i++)
            map_insert(&m, &nodes[i], hash_u64(i));
        longest_since(from);
    }
    end_with_bytes("insert", n);
    begin();
    for (unsigned i = 0; i < DELIVERIES; i++)
        found += map_find(&m, hash_u64((uint64_t)i * 611953 % n)) != NULL;
    end("find", DELIVERIES);
    expect("found", found, DELIVERIES);
    begin();
    for (unsigned i = 0; i < n; i++)
        map_remove(&m, &nodes[i]);
    end("remove", n);
    map_done(&m);
    free(nodes);
}

static uint64_t fired;

static void on_timer(struct timer *t)
{
    (void)t;
    fired++;
}

/* As pings are: each somewhere in 25 s, moved once, and the wheel turned from one to the next. */
static void grow_timers(unsigned n)
{
    struct timers *w = mem_zero(sizeof *w);
    struct timer *t = mem_alloc(n * sizeof *t);

    timers_init(w, 1000000);
    for (unsigned i = 0; i < n; i++)
        timer_init(&t[i], on_timer);
    begin();
    for (unsigned i = 0; i < n; i++)
        timer_set(w, &t[i], w->now + 1 + (uint64_t)i * 611953 % 25000);
    end("set", n);
    begin();
    for (unsigned i = 0; i < n; i++)
        timer_set(w, &t[i], w->now + 1 + (uint64_t)i * 15485863 % 25000);
    end("move", n);
    begin();
    for (uint64_t wait; (wait = timers_wait(w)) != UINT64_MAX;) {
        uint64_t from = stage_cpu_ns();
        timers_run(w, w->now + wait);
        longest_since(from);
    }
    end("fire", n);
    expect("fired", fired, n);
    free(t);
    free(w);
}

int main(int argc, char **argv)
{
    const char *kind = argc == 3 ? argv[1] : "";
    unsigned n = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

    if (n == 0) kind = "";
    if (strcmp(kind, "sockets") == 0)
        grow_sockets(n);
    else if (strcmp(kind, "keys") == 0)
        grow_channels(n, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"key.#\"}", "key.#");
    else if (strcmp(kind, "topics") == 0)
        grow_channels(n, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.#\"}", "one.#");
    else if (strcmp(kind, "payload") == 0)
        grow_payload(n);
    else if (strcmp(kind, "queue") == 0)
        grow_queue(n);
    else if (strcmp(kind, "map") == 0)
        grow_map(n);
    else if (strcmp(kind, "timers") == 0)
        grow_timers(n);
    else
        fprintf(stderr, "usage: grow sockets|keys|topics|payload|queue|map|timers N\n");
    if (*kind) puts("}");
    return *kind ? 0 : 2;
}
