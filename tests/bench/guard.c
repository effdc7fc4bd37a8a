/* Fixed pieces of work, whose instructions `make bench-guard` counts (guard.py).
 *
 *     guard                 lists them: NAME UNITS WHAT-A-UNIT-IS
 *     guard NAME [WASTE]    does one of them; each write to a socket takes WASTE instructions more
 *
 * Each prepares its stage (stage.h) and then calls one function run_…(): that, with what it calls, is
 * counted (callgrind's --toggle-collect), nothing else is. What has to come of it is checked, so that what
 * stops to do its work does not pass as an improvement. Clock and chance are pinned (pinned.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "edge/frames.h"
#include "edge/head.h"

#include "stage.h"

#define CROWD 1000u
#define LARGE 65536u
#define WASTE_LOOP 5u /* instructions of a round, about */

static struct stage stage;
static struct far *crowd, speaker;
static unsigned crowd_size;
static char *text; /* what the speaker says, where '#' stands for a number */

static void expect(const char *what, uint64_t is, uint64_t expected)
{
    if (is == expected) return;
    fprintf(stderr, "%s: %llu, not %llu\n", what, (unsigned long long)is,
            (unsigned long long)expected);
    exit(1);
}

/* ---- preparing --------------------------------------------------------------------------------- */

static void open_stage(unsigned size, const char *const *sets)
{
    stage_open(&stage, sets);
    far_open(&stage, &speaker);
    crowd_size = size;
    crowd = mem_zero((size + 1) * sizeof *crowd);
    for (unsigned i = 0; i < size; i++)
        far_open(&stage, &crowd[i]);
    stage_turn(&stage);
}

static uint64_t count(enum counter which)
{
    return counter_get(session_worker_counters(stage.worker), which);
}

/* Each of the crowd with the channels that begin at its number, `each` of them, of `all`. */
static void subscribe(const char *request_text, unsigned each, unsigned all)
{
    for (unsigned i = 0; i < crowd_size; i++)
        for (unsigned k = 0; k < each; k++)
            far_say_of(&crowd[i], request_text, (i + k) % all);
    stage_turn(&stage);
    expect("subscriptions", count(COUNTER_SUBSCRIPTIONS), (uint64_t)crowd_size * each);
}

/* A publish to the channel, with a payload of so many bytes. */
static void prepare_text(const char *channel, size_t payload, const char *id)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    buf_str(&b, "{\"type\":\"publish\",\"channel\":\"");
    buf_str(&b, channel);
    buf_str(&b, "\",");
    buf_str(&b, id);
    buf_str(&b, "\"data\":{\"text\":\"");
    for (size_t n = sizeof "{\"text\":\"\"}" - 1; n < payload; n++)
        buf_byte(&b, (char)('a' + n % 26));
    buf_str(&b, "\"}}");
    text = buf_steal(&b);
}

static void speak(unsigned times, unsigned in_a_turn, unsigned channels)
{
    for (unsigned i = 0; i < times; i++) {
        if (channels)
            far_say_of(&speaker, text, i % channels);
        else
            far_say(&speaker, text);
        if ((i + 1) % in_a_turn == 0) stage_turn(&stage);
    }
}

static void spoken(unsigned times, unsigned in_a_turn, unsigned channels, uint64_t deliveries)
{
    uint64_t before = stage_delivered(&stage);
    speak(times, in_a_turn, channels);
    expect("deliveries", stage_delivered(&stage) - before, deliveries);
}

/* ---- deliver ------------------------------------------------------------------------------------ */

#define SUBSCRIBE(channel) "{\"type\":\"subscribe\",\"channel\":\"" channel "\"}"

static void prepare_one(void)
{
    open_stage(CROWD, NULL);
    subscribe(SUBSCRIBE("one.#"), 1, 1);
    prepare_text("one.0", 100, "");
    speak(4, 1, 0);
}

static void run_one(void)
{
    spoken(20, 1, 0, 20 * CROWD);
}

static void run_burst(void)
{
    spoken(40, 8, 0, 40 * CROWD);
}

static void prepare_keys(void)
{
    open_stage(CROWD, NULL);
    subscribe(SUBSCRIBE("key.#"), 1, CROWD);
    prepare_text("key.#", 100, "");
    speak(CROWD, 10, CROWD);
}

/* The minute is over in which only one channel's members heard where their topic stands: the others
 * are told, though they are more than are told in one turn. */
static void run_position(void)
{
    uint64_t before = count(COUNTER_FRAMES_OUT);
    stage_wait(&stage, 62000);
    expect("positions", count(COUNTER_FRAMES_OUT) - before, CROWD - 1);
}

static void prepare_topics(void)
{
    open_stage(CROWD, NULL);
    subscribe(SUBSCRIBE("one.#"), 1, CROWD);
    prepare_text("one.#", 100, "");
    speak(CROWD, 10, CROWD);
}

static void run_each(void)
{
    spoken(CROWD, 10, CROWD, CROWD);
}

static void prepare_many(void)
{
    open_stage(200, NULL);
    subscribe(SUBSCRIBE("key.#"), 50, 200);
    prepare_text("key.#", 100, "");
    speak(200, 100, 200);
}

static void run_many(void)
{
    spoken(400, 100, 200, 400 * 50);
}

static void run_few(void)
{
    spoken(400, 4, 200, 400 * 50);
}

/* One in five takes nothing, and loses the oldest of what waits for it. */
static void prepare_stalled(void)
{
    static const char *const sets[] = {"limits.queue_bytes=8192", NULL};
    open_stage(CROWD, sets);
    subscribe("{\"type\":\"subscribe\",\"channel\":\"one.#\",\"policy\":\"drop\"}", 1, 1);
    for (unsigned i = 0; i < CROWD; i += 5)
        crowd[i].stalled = true;
    prepare_text("one.0", 100, "");
    speak(10, 1, 0);
    stage_wait(&stage, 1000);
    speak(200, 1, 0);
}

static void run_stalled(void)
{
    uint64_t lost = count(COUNTER_DROPPED_SLOW);
    spoken(20, 1, 0, 20 * CROWD);
    expect("dropped", count(COUNTER_DROPPED_SLOW) - lost, 20 * CROWD / 5);
}

static void prepare_large(void)
{
    open_stage(100, NULL);
    subscribe(SUBSCRIBE("one.#"), 1, 1);
    prepare_text("one.0", LARGE, "");
    speak(2, 1, 0);
}

static void run_large(void)
{
    spoken(10, 1, 0, 1000);
}

/* ---- subscribe ---------------------------------------------------------------------------------- */

static void prepare_lone(void)
{
    open_stage(1, NULL);
}

static void run_subscribe(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        far_say_of(&crowd[0], "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.#\"}", i);
        if (i % 50 == 49) stage_turn(&stage);
    }
    expect("subscriptions", count(COUNTER_SUBSCRIPTIONS), CROWD);
}

static void prepare_crowd(void)
{
    open_stage(CROWD, NULL);
}

static void run_crowd(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        far_say(&crowd[i], "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.0\"}");
        if (i % 50 == 49) stage_turn(&stage);
    }
    expect("subscriptions", count(COUNTER_SUBSCRIPTIONS), CROWD);
}

static void prepare_leave(void)
{
    open_stage(1, NULL);
    subscribe(SUBSCRIBE("one.#"), CROWD, CROWD);
}

static void run_leave(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        far_say_of(&crowd[0], "{\"type\":\"unsubscribe\",\"id\":1,\"channel\":\"one.#\"}", i);
        if (i % 50 == 49) stage_turn(&stage);
    }
    expect("subscriptions", count(COUNTER_SUBSCRIPTIONS), 0);
}

/* ---- publish ------------------------------------------------------------------------------------ */

static void prepare_publish(void)
{
    open_stage(0, NULL);
    prepare_text("one.0", 100, "\"id\":1,");
    speak(1100, 10, 0); /* more than the topic keeps */
}

static void run_publish(void)
{
    uint64_t before = count(COUNTER_FRAMES_OUT);
    speak(CROWD, 10, 0);
    expect("answers", count(COUNTER_FRAMES_OUT) - before, CROWD);
}

static void prepare_publish_large(void)
{
    open_stage(0, NULL);
    prepare_text("one.0", LARGE, "\"id\":1,");
    speak(10, 1, 0);
}

static void run_publish_large(void)
{
    uint64_t before = count(COUNTER_FRAMES_OUT);
    speak(20, 1, 0);
    expect("answers", count(COUNTER_FRAMES_OUT) - before, 20);
}

/* ---- connect ------------------------------------------------------------------------------------ */

static const char request[] =
    "GET /ws HTTP/1.1\r\nHost: app.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: wsbus.v1\r\nOrigin: https://app.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"
    "Pragma: no-cache\r\nCache-Control: no-cache\r\n\r\n";

/* What edge/ does of it by itself: all but libwebsockets and the socket. */
static void handshake(void)
{
    struct access_way way = {.tls = true};
    struct head head;
    head_read(span_of(request, sizeof request - 1), 16384, &head);
    expect("head", head.upgrade && head.status == 0, true);
    expect(
        "origin",
        access_origin(stage.access, SPAN("https://app.example.com"), SPAN("app.example.com"), way),
        true);
}

/* A masked frame (with a mask of zeros) on its way from the socket to the session. */
static void take_frame(struct far *f, struct frames *frames, const char *json)
{
    unsigned char bytes[256] = {0x81};
    size_t n = strlen(json);
    struct frames_piece piece = {.p = bytes, .n = n + 6};
    struct frames_found found;
    bytes[1] = (unsigned char)(0x80 | n);
    memset(bytes + 2, 0, 4);
    memcpy(bytes + 6, json, n);
    expect("frame", frames_next(frames, &piece, &found), FRAMES_END);
    struct span payload = span_of((const char *)bytes + 6, piece.out - 6);
    expect("UTF-8", utf8_valid(payload), true);
    session_text(f->session, payload);
}

static void prepare_connect(void)
{
    static const char *const sets[] = {"limits.ping_ms=25000", NULL};
    open_stage(0, sets);
    crowd = mem_zero(CROWD * sizeof *crowd);
}

static void run_connect(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        struct frames frames;
        handshake();
        far_open(&stage, &crowd[i]);
        frames_init(&frames, 65536);
        take_frame(&crowd[i], &frames, "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.0\"}");
        frames_done(&frames);
        if (i % 10 == 9) stage_turn(&stage);
    }
    expect("subscriptions", count(COUNTER_SUBSCRIPTIONS), CROWD);
}

static void prepare_gone(void)
{
    open_stage(CROWD, NULL);
    subscribe(SUBSCRIBE("one.#"), 1, 1);
}

static void run_gone(void)
{
    for (unsigned i = 0; i < CROWD; i++) {
        far_gone(&crowd[i]);
        if (i % 10 == 9) stage_turn(&stage);
    }
    expect("connections", session_worker_count(stage.worker), 1);
}

static void prepare_ping(void)
{
    static const char *const sets[] = {"limits.ping_ms=25000", NULL};
    open_stage(CROWD, sets);
    stage_wait(&stage, 25000);
    for (unsigned i = 0; i < CROWD; i++)
        session_ponged(crowd[i].session);
    session_ponged(speaker.session);
}

static void run_ping(void)
{
    uint64_t before = count(COUNTER_FRAMES_OUT);
    stage_wait(&stage, 25000);
    for (unsigned i = 0; i < CROWD; i++)
        session_ponged(crowd[i].session);
    expect("pings", count(COUNTER_FRAMES_OUT) - before, CROWD + 1);
}

/* ---- the past ------------------------------------------------------------------------------------ */

static void prepare_past(void)
{
    open_stage(200, NULL);
    prepare_text("one.0", 100, "");
    speak(1000, 10, 0);
}

static void run_resume(void)
{
    uint64_t before = stage_delivered(&stage);
    for (unsigned i = 0; i < crowd_size; i++) {
        far_say(&crowd[i], "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"one.0\","
                           "\"from\":{\"last\":100}}");
        if (i % 10 == 9) stage_turn(&stage);
    }
    stage_wait(&stage, 100);
    expect("messages", stage_delivered(&stage) - before, 100 * (uint64_t)crowd_size);
}

static void run_history(void)
{
    uint64_t before = count(COUNTER_FRAMES_OUT);
    for (unsigned i = 0; i < 100; i++) {
        far_say(&crowd[i], "{\"type\":\"history\",\"id\":1,\"channel\":\"one.0\",\"limit\":100}");
        stage_turn(&stage);
    }
    expect("pages", count(COUNTER_FRAMES_OUT) - before, 100);
}

/* ---- all ------------------------------------------------------------------------------------------ */

static const struct scenario {
    const char *name;
    void (*prepare)(void), (*run)(void);
    unsigned units;
    const char *unit;
} scenarios[] = {
    {"deliver/one-channel", prepare_one, run_one, 20 * CROWD, "delivery"},
    {"deliver/one-channel-burst", prepare_one, run_burst, 40 * CROWD, "delivery"},
    {"deliver/key-each", prepare_keys, run_each, CROWD, "delivery"},
    {"deliver/topic-each", prepare_topics, run_each, CROWD, "delivery"},
    {"deliver/50-channels-each", prepare_many, run_many, 400 * 50, "delivery"},
    {"deliver/four-at-a-time", prepare_many, run_few, 400 * 50, "delivery"},
    {"deliver/fifth-stalled", prepare_stalled, run_stalled, 20 * CROWD, "delivery"},
    {"deliver/position", prepare_keys, run_position, CROWD - 1, "position"},
    {"deliver/64-KiB", prepare_large, run_large, 1000, "delivery"},
    {"subscribe/1000-channels", prepare_lone, run_subscribe, CROWD, "subscribe"},
    {"subscribe/1000-sockets", prepare_crowd, run_crowd, CROWD, "subscribe"},
    {"subscribe/leave", prepare_leave, run_leave, CROWD, "unsubscribe"},
    {"publish/acknowledged", prepare_publish, run_publish, CROWD, "publish"},
    {"publish/64-KiB", prepare_publish_large, run_publish_large, 20, "publish"},
    {"connect/subscribe", prepare_connect, run_connect, CROWD, "connection"},
    {"connect/gone", prepare_gone, run_gone, CROWD, "connection"},
    {"connect/ping", prepare_ping, run_ping, CROWD, "ping"},
    {"past/resume-100", prepare_past, run_resume, 200 * 100, "message"},
    {"past/history-100", prepare_past, run_history, 100, "page"},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        const struct scenario *s = &scenarios[i];
        if (argc < 2) printf("%s %u %s\n", s->name, s->units, s->unit);
        if (argc < 2 || strcmp(argv[1], s->name) != 0) continue;
        if (argc > 2) stage_waste = (unsigned)strtoul(argv[2], NULL, 10) / WASTE_LOOP;
        s->prepare();
        s->run();
        return 0;
    }
    if (argc >= 2) fprintf(stderr, "there is no %s\n", argv[1]);
    return argc < 2 ? 0 : 2;
}
