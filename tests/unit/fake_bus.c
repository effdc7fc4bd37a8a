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
static struct wsbus_pos hole[FAKE_PARTITIONS]; /* the log's end, where it is no message */
static uint64_t feed, held_subscribe, held_unsubscribe;
static const struct wsbus_host *host;
static const struct wsbus_answer ok = {WSBUS_OK, NULL};
static const struct wsbus_answer unavailable = {WSBUS_UNAVAILABLE, NULL};

struct fake_control fake;

/* ---- on the bus thread ------------------------------------------------------------------------ */

static bool is_hidden(const struct wsbus_message *m)
{
    return atomic_load(&fake.hide_partition) && m->pos.partition == FAKE_PARTITIONS - 1;
}

static struct wsbus_cursor *end_cursor(size_t upto)
{
    struct wsbus_cursor *c = cursor_new(FAKE_PARTITIONS - atomic_load(&fake.hide_partition));
    for (size_t i = 0; i < upto; i++)
        if (!is_hidden(entries[i])) cursor_put(&c, &entries[i]->pos);
    for (int32_t p = 0; upto == entry_count && p < FAKE_PARTITIONS; p++)
        if (hole[p].lo) cursor_advance(&c, &hole[p]);
    return c;
}

/* What a caller lends must be there until the operation returns, also after the answer. */
static void look_at(const void *p, size_t n)
{
    static volatile unsigned char sum;
    for (size_t i = 0; p && i < n; i++)
        sum = (unsigned char)(sum + ((const unsigned char *)p)[i]);
}

static void look_at_cursor(const struct wsbus_cursor *c)
{
    if (c) look_at(c->pos, c->count * sizeof c->pos[0]);
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
        if (feed && !is_hidden(m)) host->message(host, feed, wsbus_message_ref(m));
    }
}

/* The feed learns of the last partition, which it reads from its beginning. */
static void deliver_hidden(void)
{
    if (!atomic_exchange(&fake.hide_partition, false)) return;
    for (size_t i = FAKE_PARTITIONS - 1; i < delivered; i += FAKE_PARTITIONS)
        if (feed) host->message(host, feed, wsbus_message_ref(entries[i]));
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
    (void)bus;
    atomic_fetch_add(&fake.subscribes, 1);
    if (atomic_load(&fake.hold_subscribe))
        held_subscribe = token;
    else
        confirm(token);
    look_at(topic->name, topic->name_len);
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

static void answer_locate(uint64_t token, const struct wsbus_locate *l)
{
    struct wsbus_located r = {0};
    struct wsbus_cursor *c;
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

/* What was trimmed of the past that is asked for, in those partitions that lost something. */
static void tell_lost(const struct wsbus_read *r, struct wsbus_chunk *c, struct wsbus_cursor **at,
                      struct wsbus_cursor **lost)
{
    for (size_t i = 0; i < first_kept; i++) {
        if (!wanted(r, entries[i])) continue;
        c->lost = WSBUS_LOST_EXPIRED;
        cursor_put(at, &entries[i]->pos);
        cursor_put(lost, &entries[i]->pos);
    }
    c->lost_until = c->lost ? *lost : NULL;
}

static void answer_read(uint64_t token, const struct wsbus_read *r)
{
    struct wsbus_message *list[64];
    struct wsbus_chunk c = {.messages = list, .end = true};
    struct wsbus_cursor *at = cursor_copy(r->from), *lost = cursor_new(0);
    if (atomic_load(&fake.down)) {
        host->chunk(host, token, &unavailable, NULL);
        cursor_free(at);
        cursor_free(lost);
        return;
    }
    tell_lost(r, &c, &at, &lost);
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
    cursor_free(lost);
}

/* ---- answers that take their time ---------------------------------------------------------------- */

/* A read or a locate that was not answered from inside the call, with copies of what was lent. */
struct late {
    struct late *next;
    uint64_t token;
    bool is_read;
    struct wsbus_locate locate;
    struct wsbus_read read;
    struct wsbus_cursor *cursor, *until;
    char key[16];
};

static struct late *lates;

static void late_add(const struct late *from, const char *key, size_t key_len,
                     const struct wsbus_cursor *cursor, const struct wsbus_cursor *until)
{
    struct late *l = malloc(sizeof *l), **at = &lates;
    *l = *from;
    if (key) memcpy(l->key, key, key_len);
    l->cursor = cursor_copy(cursor);
    l->until = cursor_copy(until);
    l->locate.cursor = l->read.from = l->cursor;
    l->locate.until = l->read.until = l->until;
    l->locate.key = l->read.key = key ? l->key : NULL;
    while (*at)
        at = &(*at)->next;
    *at = l;
    atomic_fetch_add(&fake.lates, 1);
}

static void late_answer(void)
{
    struct late *l = lates;
    lates = l->next;
    atomic_fetch_sub(&fake.lates, 1);
    if (l->is_read)
        answer_read(l->token, &l->read);
    else
        answer_locate(l->token, &l->locate);
    cursor_free(l->cursor);
    cursor_free(l->until);
    free(l);
}

static void fake_locate(void *bus, uint64_t token, const struct wsbus_locate *l)
{
    (void)bus;
    if (atomic_load(&fake.late))
        late_add(&(struct late){.token = token, .locate = *l}, l->key, l->key_len, l->cursor,
                 l->until);
    else
        answer_locate(token, l);
    look_at(l->topic.name, l->topic.name_len);
    look_at(l->key, l->key_len);
    look_at_cursor(l->cursor);
    look_at_cursor(l->until);
}

static void fake_read(void *bus, uint64_t token, const struct wsbus_read *r)
{
    static int depth;
    (void)bus;
    atomic_fetch_add(&fake.reads, 1);
    if (++depth > atomic_load(&fake.deepest)) atomic_store(&fake.deepest, depth);
    if (atomic_load(&fake.late))
        late_add(&(struct late){.token = token, .is_read = true, .read = *r}, r->key, r->key_len,
                 r->from, r->until);
    else
        answer_read(token, r);
    look_at(r->topic.name, r->topic.name_len);
    look_at(r->key, r->key_len);
    look_at_cursor(r->from);
    look_at_cursor(r->until);
    depth--;
}

static void fake_close(void *bus, uint64_t deadline_ms)
{
    (void)bus, (void)deadline_ms;
    atomic_store(&fake.down, true);
    while (lates)
        late_answer();
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
    atomic_store(&fake.late, false);
    while (lates)
        late_answer();
    held_subscribe = 0;
    if (token) confirm(token);
    token = held_unsubscribe;
    held_unsubscribe = 0;
    if (token) host->unsubscribed(host, token);
    deliver_hidden();
    deliver_late();
}

static void do_gap(const void *arg)
{
    (void)arg;
    host->gap(host, feed, NULL);
}

static void do_hole(const void *arg)
{
    struct wsbus_cursor *until;
    first_kept = *(const uint64_t *)arg;
    until = end_cursor(first_kept);
    if (delivered < first_kept) delivered = first_kept;
    host->gap(host, feed, until);
    cursor_free(until);
}

static void do_end(const void *arg)
{
    struct wsbus_answer a = {WSBUS_REFUSED, arg};
    uint64_t token = feed ? feed : held_unsubscribe;
    feed = held_unsubscribe = 0;
    host->ended(host, token, &a);
}

static void do_progress(const void *arg)
{
    (void)arg;
    /* A feed does not move on over what it has not had. */
    if (delivered < entry_count || atomic_load(&fake.hide_partition)) return;
    for (size_t i = entry_count; i < entry_count + FAKE_PARTITIONS; i++) {
        struct wsbus_pos *h = &hole[i % FAKE_PARTITIONS];
        if (i % 4 == 0) continue; /* the next message follows at once */
        *h = (struct wsbus_pos){.partition = (int32_t)(i % FAKE_PARTITIONS),
                                .lo = last[i % FAKE_PARTITIONS] + i % 4};
        if (feed) host->progress(host, feed, h);
    }
}

static void do_answer(const void *arg)
{
    for (unsigned i = 0; i < *(const unsigned *)arg && lates; i++)
        late_answer();
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
void fake_hole(uint64_t number)
{
    on_bus(do_hole, &number);
}
void fake_end(const char *words)
{
    on_bus(do_end, words);
}
void fake_progress(void)
{
    on_bus(do_progress, NULL);
}
void fake_answer(unsigned count)
{
    on_bus(do_answer, &count);
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
    memset(hole, 0, sizeof hole);
    feed = held_subscribe = held_unsubscribe = 0;
    fake = (struct fake_control){0};
    atomic_store(&fake.log, true);
}
