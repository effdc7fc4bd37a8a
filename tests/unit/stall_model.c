#include "stall_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"

#define PARTITIONS 2
#define GRACE 100 /* ms */

struct rig stall_rig;
static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % sides;
}

/* ---- a log whose positions are numbers ------------------------------------------------------- */

static unsigned partitioned(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_PARTITION;
}

static unsigned logged(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG;
}

static int parse_pos(const char *text, size_t len, struct wsbus_pos *ret)
{
    ret->epoch = ret->hi = ret->lo = 0;
    for (size_t i = 0; i < len; i++)
        ret->lo = ret->lo * 10 + (uint64_t)(text[i] - '0');
    return len > 0 ? 0 : -1;
}

static size_t format_pos(const struct wsbus_pos *pos, char *buf)
{
    return (size_t)sprintf(buf, "%llu", (unsigned long long)pos->lo);
}

static const struct wsbus_backend two = {
    .name = "two", .caps = partitioned, .pos_parse = parse_pos, .pos_format = format_pos};
static const struct wsbus_backend one = {
    .name = "one", .caps = logged, .pos_parse = parse_pos, .pos_format = format_pos};

/* ---- the reference --------------------------------------------------------------------------- */

struct stall_end stall_ends[STALL_WIRES];
static unsigned last_number;
static int places[STALL_CHANNELS][PARTITIONS];
static uint64_t dropped, gaps;
uint64_t stall_resident;

static const char *const names[STALL_CHANNELS] = {"log.0", "log.1", "plain.2", "mute.3"};

static size_t next_of(const struct stall_sub *sub, size_t i, bool message)
{
    while (i < sub->count && sub->items[i].message != message)
        i++;
    return i;
}

static void note(struct stall_sub *sub, const struct stall_item *item)
{
    if (sub->count == sub->size) {
        sub->size = sub->size ? sub->size * 2 : 64;
        sub->items = realloc(sub->items, sub->size * sizeof *sub->items);
    }
    sub->items[sub->count++] = *item;
    sub->message = next_of(sub, sub->message, true);
    sub->other = next_of(sub, sub->other, false);
}

/* ["0/5","1/7"]; -1: not named */
static void read_cursor(const char *frame, const char *name, int ret[PARTITIONS])
{
    const char *p = strstr(frame, name), *end = p ? strchr(p, ']') : NULL;

    for (int i = 0; i < PARTITIONS; i++)
        ret[i] = -1;
    for (; p && (p = strchr(p + 1, '/')) && p < end;)
        ret[p[-1] - '0'] = atoi(p + 1);
}

static void lose(struct stall_sub *sub, unsigned channel, const char *frame)
{
    int after[PARTITIONS], until[PARTITIONS], first[PARTITIONS] = {-1, -1}, last[PARTITIONS];
    const char *p = strstr(frame, "\"lost\":");
    int lost = p ? atoi(p + 7) : 0;

    assert_true(sub->drop);
    assert_true(lost > 0);
    gaps++;
    dropped += (uint64_t)lost;
    for (int i = 0; i < lost; i++) {
        const struct stall_item *item = &sub->items[sub->message];
        assert_true(sub->message < sub->count);
        if (first[item->partition] < 0) first[item->partition] = item->place;
        last[item->partition] = item->place;
        sub->message = next_of(sub, sub->message + 1, true);
    }
    read_cursor(frame, "\"after\":", after);
    read_cursor(frame, "\"until\":", until);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        if (channel == 3 || first[i] < 0) {
            assert_int_equal(after[i], until[i]);
        } else {
            assert_int_equal(after[i], first[i] - 1);
            assert_int_equal(until[i], last[i]);
        }
    }
}

static void deliver(struct stall_sub *sub, const char *frame)
{
    bool message = strstr(frame, "\"type\":\"message\"") != NULL;
    size_t *next = message ? &sub->message : &sub->other;
    unsigned number = (unsigned)atoi(strstr(frame, "\"n\":") + 4);

    assert_true(*next < sub->count);
    assert_int_equal(number, sub->items[*next].number);
    /* Others are never lost, nor late; a message is never early. */
    if (message)
        assert_true(sub->other > *next);
    else
        assert_true(next_of(sub, 0, true) == sub->count || sub->message == sub->count ||
                    sub->message > *next || sub->drop);
    *next = next_of(sub, *next + 1, message);
}

static void read_frame(struct stall_end *e, const char *frame)
{
    const char *p = strstr(frame, "\"channel\":\"");
    unsigned channel;
    struct stall_sub *sub;

    if (!p) return;
    channel = (unsigned)(strchr(p, '.')[1] - '0');
    sub = &e->subs[channel];
    if (strstr(frame, "\"type\":\"subscribed\"")) return;
    if (strstr(frame, "\"type\":\"unsubscribed\"")) {
        assert_true(sub->leaving);
        assert_int_equal(sub->message, sub->count);
        assert_int_equal(sub->other, sub->count);
        sub->leaving = false;
        sub->count = sub->message = sub->other = 0;
        return;
    }
    assert_true(sub->open || sub->leaving);
    if (strstr(frame, "\"type\":\"gap\""))
        lose(sub, channel, frame);
    else
        deliver(sub, frame);
}

void stall_model_read(void)
{
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        struct wire *w = &stall_ends[i].wire;
        for (; w->read < w->count; w->read++)
            read_frame(&stall_ends[i], w->frames[w->read]);
        while (w->count > 0)
            free(w->frames[--w->count]);
        w->read = 0;
    }
}

/* ---- what the worker holds ------------------------------------------------------------------- */

/* Of the only subscription of a connection: what waits, and since when. */
static size_t waiting(const struct stall_sub *sub, uint64_t *ret_since, size_t *ret_count)
{
    size_t n = 0;

    *ret_count = 0;
    for (size_t i = sub->count; i-- > 0;) {
        if (i < (sub->items[i].message ? sub->message : sub->other)) continue;
        n += sub->items[i].bytes;
        *ret_since = sub->items[i].at;
        ++*ret_count;
    }
    return n;
}

static void check_sums(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < STALL_WIRES; i++)
        if (stall_ends[i].wire.code == 0) sum += session_waiting(stall_ends[i].wire.session);
    assert_int_equal(counter_get(&stall_rig.worker->counters, COUNTER_QUEUE_BYTES), sum);
}

static void check_limits(const struct stall_end *e)
{
    size_t limit = stall_rig.worker->limits.bytes;

    assert_true(session_waiting(e->wire.session) <= 4 * limit + 9000);
}

/* The subscription, if there is no other. */
static const struct stall_sub *only_one(const struct stall_end *e)
{
    const struct stall_sub *only = NULL;
    unsigned n = 0;

    for (unsigned i = 0; i < STALL_CHANNELS; i++)
        if (e->subs[i].open || e->subs[i].count > 0) n++, only = &e->subs[i];
    return n == 1 ? only : NULL;
}

/* A frame was said to its only subscription, which may lose messages: no more waits than may. Where
 * answers leave no room for messages, that is looked at for each share. */
static void check_loser(const struct stall_end *e, size_t bytes)
{
    size_t limit = stall_rig.worker->limits.bytes;

    if (!e->choked || clock_ticks() - e->choked_at <= GRACE) return;
    assert_true(session_waiting(e->wire.session) <= limit + limit / 16 + bytes);
}

/* Before a message of so many bytes is said to it, it must be closed, or must not be; what lies
 * between is not looked at. */
enum fate { STAYS, GOES, MAY_BE };

static enum fate fate_of(const struct stall_end *e, const struct stall_sub *sub, size_t bytes)
{
    const struct outq_limits *limits = &stall_rig.worker->limits;
    uint64_t since = 0, now = clock_ticks();
    size_t count, n = waiting(sub, &since, &count);

    if (!e->choked) return STAYS;
    if (n != session_waiting(e->wire.session)) return MAY_BE; /* answers wait, too */
    if (count == 0) return STAYS;
    if (n + bytes <= limits->bytes && (limits->ms == 0 || now - since <= limits->ms)) return STAYS;
    return now - e->choked_at > GRACE ? GOES : MAY_BE;
}

/* ---- what happens ---------------------------------------------------------------------------- */

/* Of all mail to the buses only this number is of interest. */
uint64_t stall_model_mail(enum mail_kind kind)
{
    uint64_t id = 0;

    for (unsigned bus = 0; bus < 2; bus++) {
        struct inbox_item *item = inbox_take(&stall_rig.bus[bus]), *next;
        for (; item; item = next) {
            next = item->next;
            if (item->kind == kind) id = CONTAINER_OF(item, struct mail_ask, item)->id;
            (void)inbox_settle(&stall_rig.bus[bus], item->bytes);
            mail_free(item);
        }
    }
    return id;
}

static void forget(struct stall_end *e)
{
    for (unsigned i = 0; i < STALL_CHANNELS; i++) {
        free(e->subs[i].items);
        e->subs[i] = (struct stall_sub){.open = false};
    }
}

static void reopen(struct stall_end *e)
{
    stall_model_read();
    wire_gone(&stall_rig, &e->wire);
    (void)stall_model_mail(MAIL_UNSUBSCRIBE);
    forget(e);
    e->choked = false;
    wire_open(&stall_rig, &e->wire);
}

static void reopen_closed(void)
{
    stall_model_read();
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        if (stall_ends[i].wire.code == 0) continue;
        assert_int_equal(stall_ends[i].wire.code, CLOSE_SLOW);
        reopen(&stall_ends[i]);
    }
}

void stall_model_subscribe(struct stall_end *e, unsigned channel)
{
    struct stall_sub *sub = &e->subs[channel];
    char text[200];

    if (sub->open || sub->leaving) return;
    sub->drop = channel == 3 || dice(2);
    sub->open = true;
    snprintf(text, sizeof text,
             "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"%s\",\"policy\":\"%s\"}",
             names[channel], sub->drop ? "drop" : "disconnect");
    wire_send(&stall_rig, &e->wire, text);
    if (e->wire.code) return;
    sub->id = stall_model_mail(MAIL_SUBSCRIBE);
    rig_subscribed(&stall_rig, sub->id, 50 + channel);
}

void stall_model_unsubscribe(struct stall_end *e, unsigned channel)
{
    char text[200];

    if (!e->subs[channel].open) return;
    snprintf(text, sizeof text, "{\"type\":\"unsubscribe\",\"id\":2,\"channel\":\"%s\"}",
             names[channel]);
    e->subs[channel].open = false;
    e->subs[channel].leaving = true;
    wire_send(&stall_rig, &e->wire, text);
    (void)stall_model_mail(MAIL_UNSUBSCRIBE);
}

void stall_model_flow(struct stall_end *e, bool to_the_end)
{
    struct wire *w = &e->wire;

    w->result = to_the_end ? TRANSPORT_OK : TRANSPORT_CHOKED;
    if (e->choked) session_writable(w->session);
    e->choked = false;
    rig_turn(&stall_rig);
}

/* Its sockets choke with the first write. */
void stall_model_look(void)
{
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        struct stall_end *e = &stall_ends[i];
        if (e->wire.code == 0 && !e->choked && e->wire.session->flush.choked) {
            e->choked = true;
            e->choked_at = clock_ticks();
        }
    }
}

static struct inbox_item *write_frame(unsigned channel, struct stall_item *item, uint32_t most)
{
    char text[9000], pos[40] = "";
    uint32_t pad = dice(most);

    item->number = ++last_number;
    item->at = clock_ticks();
    if (item->message) {
        item->partition = channel < 2 ? dice(PARTITIONS) : 0;
        item->place = ++places[channel][item->partition] + 1;
        if (channel != 3)
            snprintf(pos, sizeof pos, ",\"pos\":\"%u/%d\"", item->partition, item->place);
    }
    item->bytes = (size_t)snprintf(
        text, sizeof text,
        "{\"type\":\"%s\",\"channel\":\"%s\"%s,\"ts\":1,\"data\":{\"n\":%u,\"x\":\"%0*d\"}}",
        item->message ? "message" : "other", names[channel], pos, item->number, (int)pad + 1, 0);
    item->bytes += item->bytes < 126 ? 2 : 4;
    return &mail_frame_new(MAIL_LIVE, 50 + channel, frame_new(FRAME_TEXT, span_str(text)))->item;
}

/* Some frames of one channel or of several in one round. */
static void say(uint32_t most)
{
    uint32_t n = dice(8) ? 1 : 1 + dice(6);

    for (uint32_t k = 0; k < n; k++) {
        unsigned channel = dice(STALL_CHANNELS);
        struct stall_item item = {.message = dice(30) > 0};
        inbox_force(&stall_rig.inbox, write_frame(channel, &item, most));
        for (unsigned i = 0; i < STALL_WIRES; i++)
            if (stall_ends[i].subs[channel].open) note(&stall_ends[i].subs[channel], &item);
    }
    rig_turn(&stall_rig);
}

/* One frame, and who must be closed by it and who must not. */
static void say_and_see(uint32_t most)
{
    unsigned channel = dice(STALL_CHANNELS);
    struct stall_item item = {.message = true};
    struct inbox_item *mail = write_frame(channel, &item, most);
    enum fate fates[STALL_WIRES];

    for (unsigned i = 0; i < STALL_WIRES; i++) {
        const struct stall_sub *only = only_one(&stall_ends[i]);
        fates[i] = MAY_BE;
        if (!only || stall_resident > 0) continue;
        fates[i] = only == &stall_ends[i].subs[channel] && !only->drop
                       ? fate_of(&stall_ends[i], only, item.bytes)
                       : STAYS;
    }
    for (unsigned i = 0; i < STALL_WIRES; i++)
        if (stall_ends[i].subs[channel].open) note(&stall_ends[i].subs[channel], &item);
    rig_say(&stall_rig, mail);
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        const struct stall_end *e = &stall_ends[i];
        if (fates[i] != MAY_BE) assert_int_equal(e->wire.code, fates[i] == GOES ? CLOSE_SLOW : 0);
        if (only_one(e) == &e->subs[channel] && e->subs[channel].drop) check_loser(e, item.bytes);
    }
}

static void one_for(struct stall_end *e)
{
    unsigned channel = dice(STALL_CHANNELS);
    struct stall_sub *sub = &e->subs[channel];
    struct stall_item item = {.message = false};
    struct inbox_item *mail;

    if (!sub->open) return;
    mail = write_frame(channel, &item, 100);
    mail->kind = MAIL_FRAME;
    CONTAINER_OF(mail, struct mail_frame, item)->id = sub->id;
    note(sub, &item);
    rig_say(&stall_rig, mail);
}

void stall_model_step(uint32_t most)
{
    struct stall_end *e = &stall_ends[dice(STALL_WIRES)];

    switch (dice(16)) {
    case 0: stall_model_subscribe(e, dice(STALL_CHANNELS)); break;
    case 1:
        if (dice(8) == 0) stall_model_unsubscribe(e, dice(STALL_CHANNELS));
        break;
    case 2:
    case 3: e->wire.result = TRANSPORT_CHOKED; break;
    case 4: stall_model_flow(e, dice(2)); break;
    case 5:
        if (dice(8) == 0) wire_send(&stall_rig, &e->wire, "{\"type\":\"ping\",\"id\":5}");
        break;
    case 6:
        if (dice(8) == 0) one_for(e);
        break;
    case 7:
        if (dice(200) == 0) reopen(e);
        if (stall_resident && dice(40) == 0) stall_resident = (dice(3) ? 50U : 200U) << 20;
        break;
    case 8:
    case 9: rig_wait(&stall_rig, dice(100)); break;
    case 10:
    case 11: say_and_see(most); break;
    default: say(most); break;
    }
    stall_model_look();
    reopen_closed();
    check_sums();
    for (unsigned i = 0; i < STALL_WIRES; i++)
        if (stall_ends[i].choked) check_limits(&stall_ends[i]);
}

void stall_model_finish(void)
{
    for (unsigned i = 0; i < STALL_WIRES; i++)
        stall_model_flow(&stall_ends[i], true);
    stall_model_read();
    check_sums();
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        for (unsigned k = 0; k < STALL_CHANNELS; k++) {
            assert_int_equal(stall_ends[i].subs[k].message, stall_ends[i].subs[k].count);
            assert_int_equal(stall_ends[i].subs[k].other, stall_ends[i].subs[k].count);
        }
        assert_true(list_empty(&stall_ends[i].wire.session->stalls));
    }
    assert_int_equal(counter_get(&stall_rig.worker->counters, COUNTER_QUEUE_BYTES), 0);
    assert_true(counter_get(&stall_rig.worker->counters, COUNTER_GAPS_SLOW) >= gaps);
    assert_true(counter_get(&stall_rig.worker->counters, COUNTER_DROPPED_SLOW) >= dropped);
    for (unsigned i = 0; i < STALL_WIRES; i++) {
        wire_gone(&stall_rig, &stall_ends[i].wire);
        forget(&stall_ends[i]);
    }
    (void)stall_model_mail(MAIL_UNSUBSCRIBE);
    rig_done(&stall_rig);
}

void stall_model_begin(uint64_t queue_bytes, uint64_t queue_ms, uint64_t from)
{
    seed = from * 0x9E3779B97F4A7C15U + 1;
    last_number = 0;
    dropped = gaps = 0;
    memset(places, 0, sizeof places);
    memset(stall_ends, 0, sizeof stall_ends);
    rig_init(&stall_rig);
    stall_rig.buses[0].backend = &two;
    stall_rig.buses[1].backend = &one;
    stall_rig.rules[3].bus = 1;
    stall_rig.config.limits.queue_bytes = queue_bytes;
    stall_rig.config.limits.queue_ms = queue_ms;
    rig_start(&stall_rig);
    for (unsigned i = 0; i < STALL_WIRES; i++)
        wire_open(&stall_rig, &stall_ends[i].wire);
}

void stall_model_post(unsigned channel, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct stall_item item = {.message = true};
        struct inbox_item *mail = write_frame(channel, &item, 1);
        for (unsigned k = 0; k < STALL_WIRES; k++)
            if (stall_ends[k].subs[channel].open) note(&stall_ends[k].subs[channel], &item);
        rig_say(&stall_rig, mail);
    }
}
