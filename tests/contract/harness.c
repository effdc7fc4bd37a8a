#include "harness.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/mem.h"
#include "bus/thread.h"
#include "protocol/cursor.h"

#define DEADLINE_S 10
#define CLOSE_MS 5000

/* Events are allocated one by one: a pointer that a test holds stays good. */
struct harness {
    struct bus_thread *thread;
    const struct wsbus_backend *backend;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct event **events;
    size_t count, size;
    uint64_t tokens; /* last one given */
    bool closed;
};

enum ask_kind { ASK_SUBSCRIBE, ASK_UNSUBSCRIBE, ASK_PUBLISH, ASK_LOCATE, ASK_READ };

/* Text and payload are copied, because nobody waits for an ask to be carried out. */
struct ask {
    struct inbox_item item;
    uint64_t token;
    struct wsbus_topic topic;
    struct wsbus_message *message; /* carries the parts of a publish */
    int32_t partition;
    struct wsbus_locate locate;
    struct wsbus_read read;
    struct wsbus_cursor *cursor, *until;
    char *key;
};

/* ---- writing down ------------------------------------------------------------------------- */

static void record(const struct wsbus_host *host, const struct event *e)
{
    struct harness *h = bus_thread_handler(host);
    struct event *copy = mem_alloc(sizeof(*copy));
    *copy = *e;
    pthread_mutex_lock(&h->lock);
    if (h->count == h->size) {
        h->size = h->size ? h->size * 2 : 256;
        h->events = mem_grow(h->events, h->size * sizeof(struct event *));
    }
    h->events[h->count++] = copy;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static struct wsbus_message **copy_messages(struct wsbus_message *const *m, size_t count)
{
    struct wsbus_message **copy = mem_alloc((count + 1) * sizeof(struct wsbus_message *));
    for (size_t i = 0; i < count; i++)
        copy[i] = wsbus_message_new(m[i]);
    return copy;
}

static void on_subscribed(const struct wsbus_host *host, uint64_t feed,
                          const struct wsbus_answer *a, const struct wsbus_cursor *cursor)
{
    struct event e = {.kind = EVENT_SUBSCRIBED, .token = feed, .status = a->status};
    e.cursor = cursor_copy(cursor);
    record(host, &e);
}

static void on_message(const struct wsbus_host *host, uint64_t feed, struct wsbus_message *m)
{
    struct event e = {.kind = EVENT_MESSAGE, .token = feed, .pos = m->pos, .count = 1};
    e.messages = copy_messages(&m, 1);
    wsbus_message_unref(m);
    record(host, &e);
}

static void on_progress(const struct wsbus_host *host, uint64_t feed, const struct wsbus_pos *pos)
{
    struct event e = {.kind = EVENT_PROGRESS, .token = feed, .pos = *pos};
    record(host, &e);
}

static void on_gap(const struct wsbus_host *host, uint64_t feed, const struct wsbus_cursor *until)
{
    struct event e = {.kind = EVENT_GAP, .token = feed};
    e.cursor = cursor_copy(until);
    record(host, &e);
}

static void on_ended(const struct wsbus_host *host, uint64_t feed, const struct wsbus_answer *a)
{
    struct event e = {.kind = EVENT_ENDED, .token = feed, .status = a->status};
    record(host, &e);
}

static void on_unsubscribed(const struct wsbus_host *host, uint64_t feed)
{
    struct event e = {.kind = EVENT_UNSUBSCRIBED, .token = feed};
    record(host, &e);
}

static void on_published(const struct wsbus_host *host, uint64_t token,
                         const struct wsbus_answer *a, const struct wsbus_pos *pos,
                         int64_t receivers)
{
    struct event e = {.kind = EVENT_PUBLISHED, .token = token, .status = a->status};
    if (pos) e.pos = *pos;
    e.receivers = receivers;
    record(host, &e);
}

static void on_located(const struct wsbus_host *host, uint64_t token, const struct wsbus_answer *a,
                       const struct wsbus_located *l)
{
    struct event e = {.kind = EVENT_LOCATED, .token = token, .status = a->status};
    if (l) {
        e.cursor = cursor_copy(l->cursor);
        e.lost = l->lost;
        e.limited = l->limited;
    }
    record(host, &e);
}

static void on_chunk(const struct wsbus_host *host, uint64_t token, const struct wsbus_answer *a,
                     const struct wsbus_chunk *c)
{
    struct event e = {.kind = EVENT_CHUNK, .token = token, .status = a->status};
    if (c) {
        e.messages = copy_messages(c->messages, c->count);
        e.count = c->count;
        e.cursor = cursor_copy(c->cursor);
        e.end = c->end;
        e.lost = c->lost;
        e.lost_until = cursor_copy(c->lost_until);
    }
    record(host, &e);
}

static void on_state(const struct wsbus_host *host, bool up, const char *words)
{
    (void)host;
    (void)up;
    (void)words;
}

static const struct wsbus_host recorder = {
    .subscribed = on_subscribed,
    .message = on_message,
    .progress = on_progress,
    .gap = on_gap,
    .ended = on_ended,
    .unsubscribed = on_unsubscribed,
    .published = on_published,
    .located = on_located,
    .chunk = on_chunk,
    .state = on_state,
};

/* ---- asking ------------------------------------------------------------------------------- */

static void ask_free(struct ask *a)
{
    wsbus_message_unref(a->message);
    cursor_free(a->cursor);
    cursor_free(a->until);
    free(a->key);
    free((char *)(uintptr_t)a->topic.name);
    free(a);
}

static void carry_out_publish(const struct wsbus_backend *b, void *instance, const struct ask *a)
{
    const struct wsbus_message *m = a->message;
    struct wsbus_publish p = {
        .topic = a->topic,
        .key = m->key,
        .key_len = m->key_len,
        .payload = m->payload,
        .payload_len = m->payload_len,
        .headers = m->headers,
        .header_count = m->header_count,
        .partition = a->partition,
    };
    b->publish(instance, a->token, &p);
}

static void on_item(void *handler, struct inbox_item *item)
{
    struct harness *h = handler;
    struct ask *a = CONTAINER_OF(item, struct ask, item);
    void *instance = bus_thread_instance(h->thread);
    switch ((enum ask_kind)item->kind) {
    case ASK_SUBSCRIBE: h->backend->subscribe(instance, a->token, &a->topic); break;
    case ASK_UNSUBSCRIBE: h->backend->unsubscribe(instance, a->token); break;
    case ASK_PUBLISH: carry_out_publish(h->backend, instance, a); break;
    case ASK_LOCATE: h->backend->locate(instance, a->token, &a->locate); break;
    case ASK_READ: h->backend->read(instance, a->token, &a->read); break;
    }
    inbox_settle(bus_thread_inbox(h->thread), item->bytes);
    ask_free(a);
}

static struct ask *ask_new(enum ask_kind kind, uint64_t token, const struct wsbus_topic *topic)
{
    struct ask *a = mem_zero(sizeof(*a));
    a->item.kind = kind;
    a->token = token;
    if (topic) {
        a->topic = *topic;
        a->topic.name = mem_dup(topic->name, topic->name_len);
    }
    return a;
}

static uint64_t ask_post(struct harness *h, struct ask *a)
{
    uint64_t token = a->token;
    inbox_force(bus_thread_inbox(h->thread), &a->item);
    return token;
}

uint64_t harness_subscribe(struct harness *h, const struct wsbus_topic *topic)
{
    return ask_post(h, ask_new(ASK_SUBSCRIBE, ++h->tokens, topic));
}

void harness_unsubscribe(struct harness *h, uint64_t feed)
{
    ask_post(h, ask_new(ASK_UNSUBSCRIBE, feed, NULL));
}

uint64_t harness_publish(struct harness *h, const struct wsbus_publish *p)
{
    struct ask *a = ask_new(ASK_PUBLISH, ++h->tokens, &p->topic);
    struct wsbus_message parts = {
        .key = p->key,
        .key_len = p->key_len,
        .payload = p->payload,
        .payload_len = p->payload_len,
        .headers = p->headers,
        .header_count = p->header_count,
    };
    a->message = wsbus_message_new(&parts);
    a->partition = p->partition;
    return ask_post(h, a);
}

uint64_t harness_locate(struct harness *h, const struct wsbus_locate *l)
{
    struct ask *a = ask_new(ASK_LOCATE, ++h->tokens, &l->topic);
    a->locate = *l;
    a->locate.topic = a->topic;
    a->locate.cursor = a->cursor = cursor_copy(l->cursor);
    a->locate.until = a->until = cursor_copy(l->until);
    if (l->key) a->locate.key = a->key = mem_dup(l->key, l->key_len);
    return ask_post(h, a);
}

uint64_t harness_read(struct harness *h, const struct wsbus_read *r)
{
    struct ask *a = ask_new(ASK_READ, ++h->tokens, &r->topic);
    a->read = *r;
    a->read.topic = a->topic;
    a->read.from = a->cursor = cursor_copy(r->from);
    a->read.until = a->until = cursor_copy(r->until);
    if (r->key) a->read.key = a->key = mem_dup(r->key, r->key_len);
    return ask_post(h, a);
}

/* ---- waiting ------------------------------------------------------------------------------ */

/* The index-th event of a kind for a token. Called with the lock. */
static const struct event *find(struct harness *h, enum event_kind kind, uint64_t token,
                                size_t index)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct event *e = h->events[i];
        if (e->kind == kind && e->token == token && index-- == 0) return e;
    }
    return NULL;
}

static size_t count(struct harness *h, enum event_kind kind, uint64_t token)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->events[i]->kind == kind && h->events[i]->token == token) n++;
    return n;
}

static const struct event *wait_for(struct harness *h, enum event_kind kind, uint64_t token,
                                    size_t wanted)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_S;
    int rc = 0;
    pthread_mutex_lock(&h->lock);
    size_t have = count(h, kind, token);
    while (have < wanted && rc == 0) {
        size_t seen = h->count;
        rc = pthread_cond_timedwait(&h->changed, &h->lock, &deadline);
        for (size_t i = seen; i < h->count; i++)
            if (h->events[i]->kind == kind && h->events[i]->token == token) have++;
    }
    const struct event *e = wanted ? find(h, kind, token, wanted - 1) : NULL;
    pthread_mutex_unlock(&h->lock);
    if (have < wanted)
        fail_msg("event %d of token %llu: %zu of %zu within %d s", (int)kind,
                 (unsigned long long)token, have, wanted, DEADLINE_S);
    return e;
}

const struct event *harness_wait(struct harness *h, enum event_kind kind, uint64_t token)
{
    return wait_for(h, kind, token, 1);
}

void harness_wait_messages(struct harness *h, uint64_t feed, size_t wanted)
{
    wait_for(h, EVENT_MESSAGE, feed, wanted);
}

size_t harness_count(struct harness *h, enum event_kind kind, uint64_t token)
{
    pthread_mutex_lock(&h->lock);
    size_t n = count(h, kind, token);
    pthread_mutex_unlock(&h->lock);
    return n;
}

size_t harness_place(struct harness *h, enum event_kind kind, uint64_t token, size_t index)
{
    pthread_mutex_lock(&h->lock);
    const struct event *e = find(h, kind, token, index);
    size_t place = 0;
    while (e && h->events[place] != e)
        place++;
    pthread_mutex_unlock(&h->lock);
    assert_non_null(e);
    return place;
}

const struct wsbus_message *harness_message(struct harness *h, uint64_t feed, size_t index)
{
    pthread_mutex_lock(&h->lock);
    const struct event *e = find(h, EVENT_MESSAGE, feed, index);
    pthread_mutex_unlock(&h->lock);
    assert_non_null(e);
    return e->messages[0];
}

/* ---- what always holds -------------------------------------------------------------------- */

enum token_state { TOKEN_ASKED, TOKEN_ANSWERED, TOKEN_LIVE, TOKEN_OVER };

struct token {
    enum token_state state;
    bool has_log;              /* its confirmation had a cursor */
    struct wsbus_cursor *last; /* NULL: nothing yet */
};

static void check_answer(const struct event *e, struct token *t)
{
    assert_int_equal(t->state, TOKEN_ASKED);
    t->state = e->kind == EVENT_SUBSCRIBED && e->status == WSBUS_OK ? TOKEN_LIVE : TOKEN_ANSWERED;
    t->has_log = t->state == TOKEN_LIVE && e->cursor;
    if (t->has_log) t->last = cursor_copy(e->cursor);
}

static void check_moves_on(struct token *t, const struct wsbus_pos *pos)
{
    const struct wsbus_pos *last = cursor_get(t->last, pos->partition);
    if (last && pos_comparable(last, pos)) assert_true(pos_compare(last, pos) < 0);
    cursor_put(&t->last, pos);
}

static void check_event(const struct event *e, struct token *t)
{
    switch (e->kind) {
    case EVENT_SUBSCRIBED:
    case EVENT_PUBLISHED:
    case EVENT_LOCATED:
    case EVENT_CHUNK: check_answer(e, t); break;
    case EVENT_UNSUBSCRIBED:
        assert_true(t->state == TOKEN_ASKED || t->state == TOKEN_LIVE);
        t->state = TOKEN_OVER;
        break;
    case EVENT_ENDED:
        assert_int_equal(t->state, TOKEN_LIVE);
        t->state = TOKEN_OVER;
        break;
    case EVENT_MESSAGE:
        assert_int_equal(t->state, TOKEN_LIVE);
        if (t->has_log) check_moves_on(t, &e->pos);
        break;
    case EVENT_GAP:
        assert_int_equal(t->state, TOKEN_LIVE);
        for (uint32_t i = 0; e->cursor && i < e->cursor->count; i++)
            check_moves_on(t, &e->cursor->pos[i]);
        break;
    case EVENT_PROGRESS: assert_int_equal(t->state, TOKEN_LIVE); break;
    }
}

static void check_all(struct harness *h)
{
    struct token *tokens = mem_zero((h->tokens + 1) * sizeof(*tokens));
    for (size_t i = 0; i < h->count; i++) {
        const struct event *e = h->events[i];
        assert_true(e->token > 0 && e->token <= h->tokens);
        check_event(e, &tokens[e->token]);
    }
    for (uint64_t t = 1; t <= h->tokens; t++) {
        assert_int_not_equal(tokens[t].state, TOKEN_ASKED);
        cursor_free(tokens[t].last);
    }
    free(tokens);
}

/* ---- life cycle --------------------------------------------------------------------------- */

struct harness *harness_start(const struct wsbus_backend *backend, const struct wsbus_value *values)
{
    struct harness *h = mem_zero(sizeof(*h));
    h->backend = backend;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    struct bus_thread_spec spec = {
        .name = "contract",
        .backend = backend,
        .values = values,
        .inbox_bytes = 1 << 20,
        .readers = 4,
        .sink = recorder,
        .handler = h,
        .item = on_item,
    };
    char err[256] = "";
    h->thread = bus_thread_start(&spec, err, sizeof(err));
    if (!h->thread) fail_msg("the instance did not open: %s", err);
    return h;
}

void harness_close(struct harness *h)
{
    if (h->closed) return;
    h->closed = true;
    bus_thread_stop(h->thread, CLOSE_MS);
    bus_thread_free(h->thread);
    check_all(h);
}

void harness_stop(struct harness *h)
{
    harness_close(h);
    for (size_t i = 0; i < h->count; i++) {
        struct event *e = h->events[i];
        for (size_t k = 0; k < e->count; k++)
            wsbus_message_unref(e->messages[k]);
        free(e->messages);
        cursor_free(e->cursor);
        cursor_free(e->lost_until);
        free(e);
    }
    free(h->events);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
