#include "fake_bus.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/cursor.h"

#define LOG_MAX 400000

static struct wsbus_message *entries[LOG_MAX]; /* in the order of publishing */
static size_t entry_count, first_kept, delivered;
static uint64_t last[FAKE_PARTITIONS];
static uint64_t feed, held_subscribe, held_unsubscribe;
static const struct wsbus_host *host;
static const struct wsbus_answer ok = {WSBUS_OK, NULL};
static const struct wsbus_answer unavailable = {WSBUS_UNAVAILABLE, NULL};

struct fake_control fake;

/* ---- on the bus thread ------------------------------------------------------------------------ */

static struct wsbus_cursor *end_cursor(size_t upto)
{
    struct wsbus_cursor *c = cursor_new(FAKE_PARTITIONS);
    for (size_t i = 0; i < upto; i++)
        cursor_put(&c, &entries[i]->pos);
    return c;
}

static void confirm(uint64_t token)
{
    struct wsbus_answer a = {(enum wsbus_status)atomic_load(&fake.refuse_subscribe), "no such"};
    struct wsbus_cursor *c = atomic_load(&fake.log) ? end_cursor(delivered) : NULL;
    if (a.status == WSBUS_OK) feed = token;
    host->subscribed(host, token, &a, a.status == WSBUS_OK ? c : NULL);
    cursor_free(c);
}

static void deliver_late(void)
{
    while (delivered < entry_count && !atomic_load(&fake.hold_live)) {
        struct wsbus_message *m = entries[delivered++];
        if (feed) host->message(host, feed, wsbus_message_ref(m));
    }
}

static void append(void)
{
    char key[16], text[32];
    int32_t p = (int32_t)(entry_count % FAKE_PARTITIONS);
    bool log = atomic_load(&fake.log);
    struct wsbus_message m = {.key = key, .payload = text, .ts = (int64_t)entry_count};
    last[p] += 1 + entry_count % 4;
    if (log) m.pos = (struct wsbus_pos){.partition = p, .lo = last[p]};
    m.key_len = (uint32_t)snprintf(key, sizeof key, "k%zu", entry_count % 7);
    m.payload_len = (uint32_t)snprintf(text, sizeof text, "%zu", entry_count);
    entries[entry_count++] = wsbus_message_new(&m);
}

static unsigned fake_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_TIME | WSBUS_CAP_KEY | WSBUS_CAP_ACK;
}

static int fake_parse(const char *text, size_t len, struct wsbus_pos *ret)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *ret = (struct wsbus_pos){.partition = ret->partition, .lo = n};
    return len ? 0 : -1;
}

static size_t fake_format(const struct wsbus_pos *pos, char *buf)
{
    return (size_t)snprintf(buf, WSBUS_POS_TEXT_MAX, "%llu", (unsigned long long)pos->lo);
}

static void *fake_open(const struct wsbus_host *h, const struct wsbus_value *values, char *err,
                       size_t err_size)
{
    (void)values, (void)err, (void)err_size;
    host = h;
    h->state(h, true, NULL);
    return &fake;
}

static void fake_subscribe(void *bus, uint64_t token, const struct wsbus_topic *topic)
{
    (void)bus, (void)topic;
    atomic_fetch_add(&fake.subscribes, 1);
    if (atomic_load(&fake.hold_subscribe))
        held_subscribe = token;
    else
        confirm(token);
}

static void fake_unsubscribe(void *bus, uint64_t token)
{
    (void)bus;
    atomic_fetch_add(&fake.unsubscribes, 1);
    if (feed == token) feed = 0;
    if (held_subscribe == token) held_subscribe = 0;
    if (atomic_load(&fake.hold_unsubscribe))
        held_unsubscribe = token;
    else
        host->unsubscribed(host, token);
}

static void fake_publish_op(void *bus, uint64_t token, const struct wsbus_publish *p)
{
    (void)bus, (void)p;
    append();
    deliver_late();
    host->published(host, token, &ok, &entries[entry_count - 1]->pos, 0);
}

static bool has_key(const struct wsbus_message *m, const char *key, size_t len)
{
    return !key || (m->key_len == len && memcmp(m->key, key, len) == 0);
}

static struct wsbus_cursor *locate_last(const struct wsbus_locate *l)
{
    struct wsbus_cursor *c = l->until ? cursor_copy(l->until) : end_cursor(entry_count);
    uint64_t left = l->count;
    for (size_t i = entry_count; left && i-- > first_kept;) {
        const struct wsbus_pos *seen = cursor_get(c, entries[i]->pos.partition);
        struct wsbus_pos before = pos_before(entries[i]->pos);
        if (seen && pos_compare(&entries[i]->pos, seen) > 0) continue;
        cursor_put(&c, &before);
        left -= has_key(entries[i], l->key, l->key_len);
    }
    return c;
}

static void fake_locate(void *bus, uint64_t token, const struct wsbus_locate *l)
{
    struct wsbus_located r = {0};
    struct wsbus_cursor *c;
    (void)bus;
    if (atomic_load(&fake.down)) {
        host->located(host, token, &unavailable, NULL);
        return;
    }
    switch (l->place) {
    case WSBUS_LAST: c = locate_last(l); break;
    case WSBUS_LATEST: c = end_cursor(entry_count); break;
    case WSBUS_AFTER: c = cursor_copy(l->cursor); break;
    default: c = end_cursor(first_kept); break;
    }
    r.cursor = c;
    host->located(host, token, &ok, &r);
    cursor_free(c);
}

static bool wanted(const struct wsbus_read *r, const struct wsbus_message *m)
{
    const struct wsbus_pos *from = cursor_get(r->from, m->pos.partition);
    const struct wsbus_pos *until = r->until ? cursor_get(r->until, m->pos.partition) : NULL;
    if (from && pos_compare(&m->pos, from) <= 0) return false;
    return !until || pos_compare(&m->pos, until) <= 0;
}

static void fake_read(void *bus, uint64_t token, const struct wsbus_read *r)
{
    static struct wsbus_message *list[64];
    struct wsbus_chunk c = {.messages = list, .end = true};
    struct wsbus_cursor *at = cursor_copy(r->from);
    (void)bus;
    atomic_fetch_add(&fake.reads, 1);
    if (atomic_load(&fake.down)) {
        host->chunk(host, token, &unavailable, NULL);
        cursor_free(at);
        return;
    }
    for (size_t i = first_kept; i < entry_count; i++) {
        if (!wanted(r, entries[i])) continue;
        if (c.count == 64) {
            c.end = false;
            break;
        }
        cursor_put(&at, &entries[i]->pos);
        if (has_key(entries[i], r->key, r->key_len)) list[c.count++] = entries[i];
    }
    c.cursor = at;
    host->chunk(host, token, &ok, &c);
    cursor_free(at);
}

static void fake_close(void *bus, uint64_t deadline_ms)
{
    (void)bus, (void)deadline_ms;
    host->closed(host);
}

static const struct wsbus_option no_options[] = {{.name = NULL}};

const struct wsbus_backend fake_backend = {
    .name = "fake",
    .help = "For tests.",
    .options = no_options,
    .caps = fake_caps,
    .pos_parse = fake_parse,
    .pos_format = fake_format,
    .open = fake_open,
    .subscribe = fake_subscribe,
    .unsubscribe = fake_unsubscribe,
    .publish = fake_publish_op,
    .locate = fake_locate,
    .read = fake_read,
    .close = fake_close,
};

/* ---- from the test's thread -------------------------------------------------------------------- */

struct call {
    void (*fn)(const void *arg);
    const void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
};

static void run_call(void *arg)
{
    struct call *c = arg;
    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    c->finished = true;
    pthread_cond_signal(&c->done);
    pthread_mutex_unlock(&c->lock);
}

static void on_bus(void (*fn)(const void *arg), const void *arg)
{
    struct call c = {.fn = fn, .arg = arg};
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.done, NULL);
    host->post(host, run_call, &c);
    pthread_mutex_lock(&c.lock);
    while (!c.finished)
        pthread_cond_wait(&c.done, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.done);
    pthread_mutex_destroy(&c.lock);
}

static void do_publish(const void *arg)
{
    for (unsigned i = 0; i < *(const unsigned *)arg && entry_count < LOG_MAX; i++)
        append();
    deliver_late();
}

static void do_release(const void *arg)
{
    uint64_t token = held_subscribe;
    (void)arg;
    atomic_store(&fake.hold_subscribe, false);
    atomic_store(&fake.hold_unsubscribe, false);
    atomic_store(&fake.hold_live, false);
    held_subscribe = 0;
    if (token) confirm(token);
    token = held_unsubscribe;
    held_unsubscribe = 0;
    if (token) host->unsubscribed(host, token);
    deliver_late();
}

static void do_gap(const void *arg)
{
    (void)arg;
    host->gap(host, feed);
}

static void do_end(const void *arg)
{
    struct wsbus_answer a = {WSBUS_REFUSED, arg};
    uint64_t token = feed;
    feed = 0;
    host->ended(host, token, &a);
}

static void do_trim(const void *arg)
{
    first_kept = *(const uint64_t *)arg;
}

void fake_publish(unsigned count)
{
    on_bus(do_publish, &count);
}
void fake_release(void)
{
    on_bus(do_release, NULL);
}
void fake_gap(void)
{
    on_bus(do_gap, NULL);
}
void fake_end(const char *words)
{
    on_bus(do_end, words);
}
void fake_trim(uint64_t number)
{
    on_bus(do_trim, &number);
}

void fake_reset(void)
{
    for (size_t i = 0; i < entry_count; i++)
        wsbus_message_unref(entries[i]);
    entry_count = first_kept = delivered = 0;
    memset(last, 0, sizeof last);
    feed = held_subscribe = held_unsubscribe = 0;
    fake = (struct fake_control){0};
    atomic_store(&fake.log, true);
}
