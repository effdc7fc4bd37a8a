#include "session_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

/* ---- two backends of which only the capabilities and positions exist ------------------------- */

static unsigned all_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_TIME | WSBUS_CAP_KEY | WSBUS_CAP_HEADERS |
           WSBUS_CAP_TOMBSTONE | WSBUS_CAP_PARTITION | WSBUS_CAP_ACK;
}

static unsigned no_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return 0;
}

static int parse_pos(const char *text, size_t len, struct wsbus_pos *ret)
{
    if (len != 1 || *text < '0' || *text > '9') return -1;
    ret->epoch = ret->hi = 0;
    ret->lo = (uint64_t)(*text - '0');
    return 0;
}

static size_t format_pos(const struct wsbus_pos *pos, char *buf)
{
    *buf = (char)('0' + pos->lo % 10);
    return 1;
}

static const struct wsbus_backend able = {
    .name = "able", .caps = all_caps, .pos_parse = parse_pos, .pos_format = format_pos};
static const struct wsbus_backend bare = {.name = "bare", .caps = no_caps};

/* ---- rig ------------------------------------------------------------------------------------- */

static void no_wake(void *arg)
{
    (void)arg;
}

void rig_init(struct rig *r)
{
    static const char *const allowed[] = {"log.**", "keyed.**", "plain.**", "mute.**"};

    memset(r, 0, sizeof *r);
    clock_freeze(1000000, 1700000000000);
    r->buses[0] = (struct config_bus){.name = "a", .backend = &able};
    r->buses[1] = (struct config_bus){.name = "b", .backend = &bare};
    r->rules[0] = (struct config_rule){.match = "log.*", .publish = true, .history = true};
    r->rules[1] = (struct config_rule){
        .match = "keyed.{k}", .topic = "keyed", .key = "{k}", .publish = true, .history = true};
    r->rules[2] =
        (struct config_rule){.match = "plain.*", .bus = 1, .publish = true, .history = true};
    r->rules[3] = (struct config_rule){.match = "mute.*"};
    r->rules[4] = (struct config_rule){.match = "secret.*", .publish = true, .history = true};
    r->config.buses = r->buses;
    r->config.bus_count = 2;
    r->config.rules = r->rules;
    r->config.rule_count = 5;
    r->config.access.given = true;
    r->config.access.anonymous_given = true;
    r->config.access.subscribe = (struct config_patterns){allowed, 4};
    r->config.access.publish = (struct config_patterns){allowed, 4};
    r->config.limits.message_bytes = 1000;
    r->config.limits.frame_bytes = 4096;
    r->config.limits.subscriptions = 20;
    r->config.limits.history = 500;
    r->config.limits.queue_bytes = 1048576;
    r->config.replay.each = 16;
    r->config.limits.queue_ms = 10000;
    r->config.limits.inbox_bytes = 1048576;
    r->config.limits.errors = 100;
}

void rig_start(struct rig *r)
{
    struct inbox *buses[2] = {&r->bus[0], &r->bus[1]};
    size_t cap = (size_t)r->config.limits.inbox_bytes;
    struct session_worker_spec spec = {
        .index = 3, .config = &r->config, .timers = &r->timers, .inbox = &r->inbox};
    char err[200];

    r->routes = route_new(&r->config, err, sizeof err);
    r->access = access_new(&r->config, err, sizeof err);
    assert_non_null(r->routes);
    assert_non_null(r->access);
    spec.routes = r->routes;
    spec.access = r->access;
    timers_init(&r->timers, clock_ticks());
    inbox_init(&r->inbox, cap, no_wake, NULL);
    inbox_init(&r->bus[0], cap, no_wake, NULL);
    inbox_init(&r->bus[1], cap, no_wake, NULL);
    r->worker = session_worker_new(&spec);
    session_worker_buses(r->worker, buses, 2);
}

static struct inbox_item *next_mail(struct rig *r, unsigned bus)
{
    struct inbox_item *item;

    if (!r->waiting[bus]) r->waiting[bus] = inbox_take(&r->bus[bus]);
    item = r->waiting[bus];
    if (item) r->waiting[bus] = item->next;
    if (item) (void)inbox_settle(&r->bus[bus], item->bytes);
    return item;
}

void rig_done(struct rig *r)
{
    struct inbox_item *item;

    assert_int_equal(session_worker_count(r->worker), 0);
    assert_int_equal(r->timers.count, 0);
    session_worker_free(r->worker);
    for (unsigned i = 0; i < 2; i++)
        while ((item = next_mail(r, i)))
            mail_free(item);
    route_free(r->routes);
    access_free(r->access);
    clock_thaw();
}

void rig_turn(struct rig *r)
{
    session_worker_inbox(r->worker);
    for (int i = 0; i < 100 && session_worker_turn(r->worker, 1000); i++) {
    }
    session_worker_turn(r->worker, 1000);
}

void rig_wait(struct rig *r, uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = ms < 100 ? ms : 100;
        clock_advance(step);
        timers_run(&r->timers, clock_ticks());
        rig_turn(r);
        ms -= step;
    }
}

/* ---- mail ------------------------------------------------------------------------------------ */

struct inbox_item *rig_mail(struct rig *r, unsigned bus, enum mail_kind kind)
{
    struct inbox_item *item = next_mail(r, bus);

    assert_non_null(item);
    assert_int_equal(item->kind, kind);
    return item;
}

void rig_no_mail(struct rig *r, unsigned bus)
{
    assert_null(next_mail(r, bus));
}

uint64_t rig_number(struct rig *r, unsigned bus, enum mail_kind kind)
{
    struct inbox_item *item = rig_mail(r, bus, kind);
    uint64_t id = 0;

    if (kind == MAIL_SUBSCRIBE || kind == MAIL_HISTORY)
        id = CONTAINER_OF(item, struct mail_ask, item)->id;
    else if (kind == MAIL_PUBLISH)
        id = CONTAINER_OF(item, struct mail_publish, item)->id;
    else
        id = CONTAINER_OF(item, struct mail_leave, item)->id;
    mail_free(item);
    return id;
}

void rig_say(struct rig *r, struct inbox_item *item)
{
    inbox_force(&r->inbox, item);
    rig_turn(r);
}

void rig_subscribed(struct rig *r, uint64_t id, uint64_t channel)
{
    struct mail_subscribed *m = mail_subscribed_new(id, SPAN("[\"0/1\"]"));

    m->channel = channel;
    rig_say(r, &m->item);
}

void rig_refused(struct rig *r, uint64_t id)
{
    rig_say(r, &mail_done_new(MAIL_REFUSED, id, ERR_BUS_UNAVAILABLE, span_str(NULL))->item);
}

static void say_frame(struct rig *r, enum mail_kind kind, uint64_t id, struct span text)
{
    rig_say(r, &mail_frame_new(kind, id, frame_new(FRAME_TEXT, text))->item);
}

void rig_live(struct rig *r, uint64_t channel, const char *text)
{
    say_frame(r, MAIL_LIVE, channel, span_str(text));
}

void rig_frame(struct rig *r, uint64_t id, struct span text)
{
    say_frame(r, MAIL_FRAME, id, text);
}

void rig_chunk(struct rig *r, uint64_t id, uint64_t channel)
{
    rig_say(r, &mail_chunk_new(id, channel)->item);
}

void rig_left(struct rig *r, uint64_t id, const char *reason)
{
    rig_say(r, &mail_left_new(id, reason == NULL, span_str(reason))->item);
}

void rig_done_mail(struct rig *r, enum mail_kind kind, uint64_t id, const char *text)
{
    rig_say(r, &mail_done_new(kind, id, ERR_NONE, span_str(text))->item);
}

/* ---- wire ------------------------------------------------------------------------------------ */

static size_t frame_size(const unsigned char *p, size_t *head)
{
    size_t n = p[1], bytes = n < 126 ? 0 : n == 126 ? 2 : 8;

    *head = 2 + bytes;
    if (bytes) n = 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[2 + i];
    return n;
}

static enum transport_result wire_write(struct transport *t, const unsigned char *p, size_t n)
{
    struct wire *w = CONTAINER_OF(t, struct wire, transport);

    assert_int_equal(w->code, 0);
    w->writes++;
    if (n > w->largest) w->largest = n;
    if (w->result == TRANSPORT_DEAD) return TRANSPORT_DEAD;
    while (n > 0) {
        size_t head, size = frame_size(p, &head);
        assert_true(n >= head + size);
        if ((p[0] & 15) == FRAME_PING) w->pings++;
        if ((p[0] & 15) == FRAME_BINARY) w->binaries++;
        if ((p[0] & 15) == FRAME_TEXT) {
            assert_true(w->count < WIRE_FRAMES);
            w->frames[w->count++] = mem_dup((const char *)p + head, size);
        }
        p += head + size;
        n -= head + size;
    }
    return w->result;
}

static uint32_t wire_waiting(struct transport *t)
{
    struct wire *w = CONTAINER_OF(t, struct wire, transport);

    return w->waiting;
}

static void wire_close(struct transport *t, enum close_code code, const char *reason)
{
    struct wire *w = CONTAINER_OF(t, struct wire, transport);

    assert_int_equal(w->code, 0);
    assert_non_null(reason);
    w->code = (int)code;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
}

static const struct transport_ops wire_ops = {
    .write = wire_write, .waiting = wire_waiting, .close = wire_close};

void wire_prepare(struct wire *w)
{
    memset(w, 0, sizeof *w);
    w->transport.ops = &wire_ops;
}

void wire_open(struct rig *r, struct wire *w)
{
    wire_prepare(w);
    w->session = session_open(r->worker, &w->transport, "127.0.0.1:1");
    rig_turn(r);
    wire_expect(w, "\"type\":\"welcome\"");
}

void wire_free(struct wire *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->frames[i]);
}

void wire_gone(struct rig *r, struct wire *w)
{
    session_gone(w->session);
    rig_turn(r);
    wire_free(w);
}

void wire_send(struct rig *r, struct wire *w, const char *text)
{
    session_text(w->session, span_str(text));
    rig_turn(r);
}

void wire_expect(struct wire *w, const char *part)
{
    if (w->read == w->count) fail_msg("no frame, expected %s", part);
    if (!strstr(w->frames[w->read], part))
        fail_msg("frame %s, expected %s", w->frames[w->read], part);
    w->read++;
}

void wire_expect_none(struct wire *w)
{
    if (w->read < w->count) fail_msg("unexpected frame %s", w->frames[w->read]);
}
