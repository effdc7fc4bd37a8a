#include "hub_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "base/list.h"
#include "base/text.h"
#include "hub/hub.h"
#include "protocol/cursor.h"

/* ---- the fake log's numbering, computed again ---------------------------------------------------- */

uint64_t model_lo_of[POSITIONS];

void model_positions(void)
{
    uint64_t last[FAKE_PARTITIONS] = {0};
    for (size_t i = 0; i < POSITIONS; i++)
        model_lo_of[i] = last[i % FAKE_PARTITIONS] += 1 + i % 4;
}

/* ---- workers ------------------------------------------------------------------------------------- */

struct side model_sides[WORKERS];
struct sub model_subs[SUBS];
unsigned model_sub_count;
static struct hub *hub;
struct config model_config;
static struct config_bus bus_entry;
struct config_rule model_whole_rule;
static struct config_rule keyed_rule;
static uint64_t next_id;

static void wake_side(void *arg)
{
    struct side *s = arg;
    pthread_mutex_lock(&s->lock);
    s->awake = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->lock);
}

/* False: nothing came within the deadline. */
bool model_wait(struct side *s, unsigned ms)
{
    struct timespec until;
    bool awake;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->lock);
    while (!s->awake)
        if (pthread_cond_timedwait(&s->woken, &s->lock, &until) != 0) break;
    awake = s->awake;
    s->awake = false;
    pthread_mutex_unlock(&s->lock);
    return awake;
}

static size_t index_after(int32_t partition, uint64_t lo)
{
    size_t i = (size_t)partition;
    while (model_lo_of[i] <= lo)
        i += FAKE_PARTITIONS;
    return i;
}

static void sub_cursor(struct sub *s, struct span json)
{
    struct wsbus_cursor *c;
    const char *why;
    assert_int_equal(cursor_parse(json, &fake_backend, &c, &why), 0);
    for (int32_t p = 0; p < FAKE_PARTITIONS; p++) {
        const struct wsbus_pos *pos = cursor_get(c, p);
        s->next[p] = index_after(p, pos ? pos->lo : 0);
    }
    snprintf(s->cursor, sizeof s->cursor, "%.*s", (int)json.n, json.p);
    cursor_free(c);
}

static struct span member(struct span object, const char *name)
{
    struct json_iter it = json_open(object);
    struct span key, value;
    while (json_member(&it, &key, &value))
        if (json_key_is(key, name)) return value;
    return span_of(NULL, 0);
}

bool model_type_is(struct span frame, const char *type)
{
    struct span t = member(frame, "type");
    return t.n == strlen(type) + 2 && memcmp(t.p + 1, type, t.n - 2) == 0;
}

/* Exactly the next message of its partition, or the test fails. */
static void sub_message(struct sub *s, struct span frame)
{
    int64_t number;
    size_t *next;
    assert_int_equal(json_integer(member(frame, "data"), &number), 0);
    s->messages++;
    if (s->uncounted) return;
    next = &s->next[number % FAKE_PARTITIONS];
    while (s->key >= 0 && *next % 7 != (size_t)s->key)
        *next += FAKE_PARTITIONS;
    assert_int_equal(number, *next);
    *next += FAKE_PARTITIONS;
}

static void sub_frame(struct sub *s, struct span frame)
{
    snprintf(s->last_text, sizeof s->last_text, "%.*s", (int)frame.n, frame.p);
    if (model_type_is(frame, "message")) {
        sub_message(s, frame);
    } else if (model_type_is(frame, "live")) {
        assert_true(s->past);
        s->lives++;
    } else if (model_type_is(frame, "gap")) {
        struct span until = member(frame, "until");
        s->gaps++;
        memcpy(s->last_gap, s->last_text, sizeof s->last_gap);
        if (until.p && json_kind(until) == JSON_ARRAY) sub_cursor(s, until);
    } else {
        assert_true(model_type_is(frame, "position"));
    }
}

static struct sub *sub_by_id(uint64_t id)
{
    for (unsigned i = 0; i < model_sub_count; i++)
        if (model_subs[i].id == id) return &model_subs[i];
    return NULL;
}

static void join(struct sub *s, uint64_t channel)
{
    assert_int_equal(s->lives, s->past);
    s->state = SUB_LIVE;
    s->channel = channel;
}

static void on_subscribed(struct mail_subscribed *m)
{
    struct sub *s = sub_by_id(m->id);
    assert_int_equal(s->state, SUB_ASKED);
    if (json_kind(m->cursor) == JSON_ARRAY) sub_cursor(s, m->cursor);
    s->state = SUB_REPLAY;
    if (m->channel) join(s, m->channel);
}

static void on_live(unsigned worker, struct mail_frame *m)
{
    for (unsigned i = 0; i < model_sub_count; i++)
        if (model_subs[i].state == SUB_LIVE && model_subs[i].worker == worker &&
            model_subs[i].channel == m->id)
            sub_frame(&model_subs[i], frame_payload(m->slip.frame));
}

static void on_item(unsigned worker, struct inbox_item *item)
{
    struct sub *s;
    switch ((enum mail_kind)item->kind) {
    case MAIL_SUBSCRIBED: on_subscribed(CONTAINER_OF(item, struct mail_subscribed, item)); break;
    case MAIL_LIVE: on_live(worker, CONTAINER_OF(item, struct mail_frame, item)); break;
    case MAIL_FRAME: {
        struct mail_frame *m = CONTAINER_OF(item, struct mail_frame, item);
        s = sub_by_id(m->id);
        size_t at = 0;
        struct span frame;
        while (s->state == SUB_REPLAY && frame_next(m->slip.frame, &at, &frame))
            sub_frame(s, frame);
        break;
    }
    case MAIL_CHUNK: {
        struct mail_chunk *m = CONTAINER_OF(item, struct mail_chunk, item);
        s = sub_by_id(m->id);
        if (s->state != SUB_REPLAY) break;
        assert_true(s->pulling);
        s->pulling = false;
        if (m->channel) join(s, m->channel);
        break;
    }
    case MAIL_REFUSED: {
        struct mail_done *m = CONTAINER_OF(item, struct mail_done, item);
        s = sub_by_id(m->id);
        assert_int_equal(s->state, SUB_ASKED);
        s->state = SUB_GONE;
        s->refused = m->error;
        assert_true(utf8_valid(m->text));
        break;
    }
    case MAIL_LEFT: {
        struct mail_left *m = CONTAINER_OF(item, struct mail_left, item);
        s = sub_by_id(m->id);
        assert_true(m->answer || s->state != SUB_ASKED);
        assert_true(utf8_valid(m->reason));
        s->lefts++;
        s->answers += m->answer;
        s->state = SUB_GONE;
        break;
    }
    case MAIL_HISTORY_DONE:
        model_pages.count++;
        model_pages.error = CONTAINER_OF(item, struct mail_done, item)->error;
        break;
    default: break;
    }
}

void model_post(struct inbox_item *item)
{
    inbox_force(hub_inbox(hub, 0), item);
}

/* Deals with at most `max` items of a worker. */
unsigned model_take(unsigned worker, unsigned max)
{
    struct side *side = &model_sides[worker];
    unsigned done = 0;
    while (done < max) {
        struct inbox_item *item;
        if (!side->pending) side->pending = inbox_take(&side->inbox);
        if (!(item = side->pending)) break;
        side->pending = item->next;
        size_t bytes = item->bytes;
        on_item(worker, item);
        mail_free(item);
        done++;
        if (inbox_settle(&side->inbox, bytes))
            model_post(&mail_leave_new(MAIL_DRAINED, worker, 0, false)->item);
    }
    return done;
}

void model_pull(struct sub *s)
{
    if (s->state != SUB_REPLAY || s->pulling) return;
    s->pulling = true;
    model_post(&mail_leave_new(MAIL_PULL, s->worker, s->id, false)->item);
}

static uint64_t before; /* of the next one */

struct sub *model_subscribe(unsigned worker, int key, enum from_kind from, int64_t number,
                            const char *cursor)
{
    struct sub *s = &model_subs[model_sub_count++];
    char channel[24] = "all", k[16] = "";
    struct mail_ask *ask;
    const char *why;
    if (key >= 0) snprintf(channel, sizeof channel, "one.%d", key);
    if (key >= 0) snprintf(k, sizeof k, "k%d", key);
    ask = mail_ask_new(MAIL_SUBSCRIBE, span_str(channel), SPAN("topic"),
                       key >= 0 ? span_str(k) : span_of(NULL, 0));
    *s = (struct sub){.state = SUB_ASKED, .id = ++next_id, .worker = worker, .key = key};
    s->past = from != FROM_NOW && atomic_load(&fake.log);
    ask->worker = worker;
    ask->id = s->id;
    ask->before = before;
    before = 0;
    ask->rule = key >= 0 ? &keyed_rule : &model_whole_rule;
    ask->caps = atomic_load(&fake.log) ? WSBUS_CAP_LOG : 0;
    ask->from = from;
    ask->number = number;
    if (cursor)
        assert_int_equal(cursor_parse(span_str(cursor), &fake_backend, &ask->cursor, &why), 0);
    model_post(&ask->item);
    return s;
}

void model_history(unsigned worker)
{
    struct mail_ask *ask = mail_ask_new(MAIL_HISTORY, SPAN("all"), SPAN("topic"), span_of(NULL, 0));
    ask->worker = worker;
    ask->id = ++next_id;
    ask->rule = &model_whole_rule;
    ask->caps = WSBUS_CAP_LOG;
    ask->from = FROM_EARLIEST;
    ask->limit = 10;
    model_post(&ask->item);
}

void model_behind(const struct sub *s)
{
    before = s->id;
}

void model_unsubscribe(struct sub *s)
{
    model_post(&mail_leave_new(MAIL_UNSUBSCRIBE, s->worker, s->id, true)->item);
}

/* Works all inboxes, pulling wherever a replay has room, until `done` holds. */
void model_work_until(bool (*done)(void))
{
    unsigned n = 0;
    for (int idle = 0; !done(); idle += n == 0) {
        n = 0;
        assert_true(idle < 20000);
        for (unsigned w = 0; w < WORKERS; w++)
            n += model_take(w, 1000);
        for (unsigned i = 0; i < model_sub_count; i++)
            model_pull(&model_subs[i]);
        if (!n) model_wait(&model_sides[0], 1);
    }
}

struct sub *model_watched;
static enum sub_state wanted_state;
unsigned model_wanted_count;
static bool is_in_state(void)
{
    return model_watched->state == wanted_state;
}
bool model_has_messages(void)
{
    return model_watched->messages >= model_wanted_count;
}
bool model_has_gap(void)
{
    return model_watched->gaps > 0;
}
bool model_has_left(void)
{
    return model_watched->lefts > 0;
}

void model_await(struct sub *s, enum sub_state state)
{
    model_watched = s;
    wanted_state = state;
    model_work_until(is_in_state);
}

void model_await_messages(struct sub *s, unsigned count)
{
    model_watched = s;
    model_wanted_count = count;
    model_work_until(model_has_messages);
    assert_int_equal(s->messages, count);
}

bool model_unsubscribed_upstream(void)
{
    return atomic_load(&fake.unsubscribes) > 0;
}
bool model_subscribed_twice(void)
{
    return atomic_load(&fake.subscribes) > 1;
}

/* ---- fixture --------------------------------------------------------------------------------------- */

size_t model_inbox_cap;
struct model_pages model_pages;

int model_setup(void **state)
{
    static struct inbox *inboxes[WORKERS];
    char err[200];
    (void)state;
    fake_reset();
    memset(model_subs, 0, sizeof model_subs);
    model_sub_count = 0;
    model_pages = (struct model_pages){.count = 0};
    if (!model_inbox_cap) model_inbox_cap = 1 << 20;
    for (unsigned w = 0; w < WORKERS; w++) {
        model_sides[w].pending = NULL;
        model_sides[w].awake = false;
        pthread_mutex_init(&model_sides[w].lock, NULL);
        pthread_cond_init(&model_sides[w].woken, NULL);
        inbox_init(&model_sides[w].inbox, model_inbox_cap, wake_side, &model_sides[w]);
        inboxes[w] = &model_sides[w].inbox;
    }
    bus_entry = (struct config_bus){"fake", &fake_backend, NULL};
    model_whole_rule = (struct config_rule){.match = "all", .publish = true, .history = true};
    keyed_rule = (struct config_rule){.match = "one.{k}", .publish = true, .history = true};
    model_config = (struct config){.buses = &bus_entry, .bus_count = 1};
    model_config.limits.inbox_bytes = 1 << 24;
    model_config.replay.ring_messages = 40;
    model_config.replay.ring_bytes = 1 << 20;
    model_config.replay.ring_keys = 10;
    model_config.replay.max_messages = 100000;
    model_config.replay.readers = 4;
    model_config.replay.pass_bytes = 1 << 20;
    model_config.replay.at_once = 1000;
    model_config.bus_wait = 150;
    model_config.linger = 20;
    hub = hub_start(&model_config, inboxes, WORKERS, err, sizeof err);
    return hub ? 0 : -1;
}

int model_setup_tiny(void **state)
{
    model_inbox_cap = 1500; /* a handful of messages */
    return model_setup(state);
}

int model_teardown(void **state)
{
    (void)state;
    hub_stop(hub, 1000);
    for (unsigned w = 0; w < WORKERS; w++) {
        while (model_take(w, 1000))
            ;
        pthread_mutex_destroy(&model_sides[w].lock);
        pthread_cond_destroy(&model_sides[w].woken);
    }
    hub_free(hub);
    fake_reset();
    model_inbox_cap = 0;
    return 0;
}
