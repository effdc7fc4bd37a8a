/* The bus that is part of the process: a log for each topic, in memory. The reference for what
 * include/wsbus/backend.h asks. Everything is answered from inside the call. */
#include <stdlib.h>

#include <wsbus/backend.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/memory_pos.h"
#include "bus/memory_topics.h"
#include "bus/quotes.h"
#include "bus/registry.h"

enum option { HISTORY, HISTORY_BYTES, TOPICS, MEMORY_BYTES, QUOTES };

static const struct wsbus_option memory_options[] = {
    [HISTORY] = {.name = "history",
                 .type = WSBUS_INT,
                 .fallback = "10000",
                 .min = 0,
                 .max = 100000000,
                 .help = "Messages kept for each topic."},
    [HISTORY_BYTES] = {.name = "history_bytes",
                       .type = WSBUS_INT,
                       .fallback = "67108864",
                       .min = 0,
                       .max = INT64_C(1) << 40,
                       .help = "Bytes of messages kept for each topic, at most."},
    [TOPICS] = {.name = "topics",
                .type = WSBUS_INT,
                .fallback = "10000",
                .min = 1,
                .max = 10000000,
                .help = "Topics, at most; the one idle for longest goes first, one with "
                        "subscribers never."},
    [MEMORY_BYTES] = {.name = "memory_bytes",
                      .type = WSBUS_INT,
                      .fallback = "268435456",
                      .min = 0,
                      .max = INT64_C(1) << 40,
                      .help = "Bytes of messages kept in all topics together, at most; the "
                              "oldest messages of the fullest topics go first."},
    [QUOTES] = {.name = "quotes",
                .type = WSBUS_INT,
                .fallback = "0",
                .min = 0,
                .max = 100000,
                .help = "Updates per second of the built-in generator of quotes (topic "
                        "`quotes`); 0 is off."},
    {.name = NULL},
};

struct memory {
    const struct wsbus_host *host;
    struct memory_topics topics;
    struct map feeds; /* by token */
    struct quotes *quotes;
};

struct memory_feed {
    struct map_node node;
    struct list of_topic;
    struct memory_topic *topic;
    uint64_t token;
    uint64_t after; /* id: it gets what comes after */
};

/* A message that was published while an earlier one was being delivered. */
struct memory_later {
    struct list node;
    struct wsbus_message *message;
};

static const struct wsbus_answer answer_ok = {.status = WSBUS_OK};
static const struct wsbus_answer answer_full = {
    .status = WSBUS_BUSY,
    .words = "all topics are in use",
};
static const struct wsbus_answer answer_partition = {
    .status = WSBUS_BAD_REQUEST,
    .words = "the topic has one partition, 0",
};

/* A cursor of the one partition there is. */
union place {
    struct wsbus_cursor cursor;
    char room[sizeof(struct wsbus_cursor) + sizeof(struct wsbus_pos)];
};

static const struct wsbus_cursor *place_at(union place *p, const struct memory_topic *t,
                                           uint64_t id)
{
    struct wsbus_cursor *c = &p->cursor;
    c->count = 1;
    c->pos[0] = (struct wsbus_pos){.partition = 0, .epoch = t->epoch, .lo = id};
    return c;
}

/* The position of partition 0, or NULL where the cursor lacks it. */
static const struct wsbus_pos *cursor_zero(const struct wsbus_cursor *c)
{
    for (uint32_t i = 0; c && i < c->count; i++)
        if (c->pos[i].partition == 0) return &c->pos[i];
    return NULL;
}

static struct memory_topic *use_topic(struct memory *b, const struct wsbus_topic *topic)
{
    return memory_topics_use(&b->topics, span_of(topic->name, topic->name_len));
}

/* ---- feeds -------------------------------------------------------------------------------- */

static void memory_subscribe(void *bus, uint64_t feed, const struct wsbus_topic *topic)
{
    struct memory *b = bus;
    struct memory_topic *t = use_topic(b, topic);
    if (!t) {
        b->host->subscribed(b->host, feed, &answer_full, NULL);
        return;
    }
    struct memory_feed *f = mem_zero(sizeof(*f));
    f->token = feed;
    f->topic = t;
    f->after = t->last;
    map_insert(&b->feeds, &f->node, hash_u64(feed));
    list_append(&t->feeds, &f->of_topic);
    memory_topics_touch(&b->topics, t);
    union place place;
    b->host->subscribed(b->host, feed, &answer_ok, place_at(&place, t, t->last));
}

static struct memory_feed *find_feed(struct memory *b, uint64_t token)
{
    for (struct map_node *n = map_find(&b->feeds, hash_u64(token)); n; n = map_again(n)) {
        struct memory_feed *f = CONTAINER_OF(n, struct memory_feed, node);
        if (f->token == token) return f;
    }
    return NULL;
}

static void memory_unsubscribe(void *bus, uint64_t feed)
{
    struct memory *b = bus;
    struct memory_feed *f = find_feed(b, feed);
    if (f) {
        struct memory_topic *t = f->topic;
        map_remove(&b->feeds, &f->node);
        list_del(&f->of_topic);
        free(f);
        memory_topics_touch(&b->topics, t);
    }
    b->host->unsubscribed(b->host, feed);
}

/* Each feed that is there goes back to the topic's list before it gets the message, so that the
 * callee may start and end feeds. */
static void deliver_one(struct memory *b, struct memory_topic *t, struct wsbus_message *m)
{
    struct list turn;
    list_init(&turn);
    list_move(&turn, &t->feeds);
    struct list *n;
    while ((n = list_pop(&turn))) {
        list_append(&t->feeds, n);
        struct memory_feed *f = LIST_ITEM(n, struct memory_feed, of_topic);
        if (m->pos.lo > f->after) b->host->message(b->host, f->token, wsbus_message_ref(m));
    }
}

/* What is published from inside waits, so that every feed sees one order. */
static void deliver(struct memory *b, struct memory_topic *t, struct wsbus_message *m)
{
    if (t->delivering) {
        struct memory_later *later = mem_alloc(sizeof(*later));
        later->message = wsbus_message_ref(m);
        list_append(&t->later, &later->node);
        return;
    }
    if (list_empty(&t->feeds)) return;
    t->delivering = true;
    deliver_one(b, t, m);
    struct list *n;
    while ((n = list_pop(&t->later))) {
        struct memory_later *later = LIST_ITEM(n, struct memory_later, node);
        deliver_one(b, t, later->message);
        wsbus_message_unref(later->message);
        free(later);
    }
    t->delivering = false;
    memory_topics_touch(&b->topics, t);
}

/* ---- publish ------------------------------------------------------------------------------ */

static struct wsbus_message *make_message(struct memory *b, const struct memory_topic *t,
                                          const struct wsbus_publish *p)
{
    int64_t now = b->host->now(b->host);
    struct wsbus_message from = {
        .ts = now > t->ts || t->last == 0 ? now : t->ts,
        .key = p->key,
        .key_len = p->key_len,
        .payload = p->payload,
        .payload_len = p->payload_len,
        .headers = p->headers,
        .header_count = p->header_count,
    };
    return wsbus_message_new(&from);
}

/* NULL, or the answer that says why not. */
static const struct wsbus_answer *store(struct memory *b, const struct wsbus_publish *p,
                                        struct wsbus_pos *ret_pos)
{
    if (p->partition > 0) return &answer_partition;
    struct memory_topic *t = use_topic(b, &p->topic);
    if (!t) return &answer_full;
    struct wsbus_message *m = make_message(b, t, p);
    memory_topics_append(&b->topics, t, m);
    *ret_pos = m->pos;
    deliver(b, t, m);
    wsbus_message_unref(m);
    return NULL;
}

static void memory_publish(void *bus, uint64_t token, const struct wsbus_publish *p)
{
    struct memory *b = bus;
    struct wsbus_pos pos;
    const struct wsbus_answer *refused = store(b, p, &pos);
    if (refused)
        b->host->published(b->host, token, refused, NULL, 0);
    else
        b->host->published(b->host, token, &answer_ok, &pos, 0);
}

/* Their topics, the feeds of these, and what the host looks at for each feed. */
static void memory_expect(void *bus, const struct wsbus_publish *const *list, size_t count)
{
    struct memory *b = bus;
    struct span names[MEMORY_FETCH];
    struct memory_topic *topics[MEMORY_FETCH];
    uint64_t feeds[MEMORY_FETCH];
    size_t found = 0;
    if (count > MEMORY_FETCH) count = MEMORY_FETCH;
    for (size_t i = 0; i < count; i++)
        names[i] = span_of(list[i]->topic.name, list[i]->topic.name_len);
    count = memory_topics_fetch(&b->topics, names, count, topics);
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(topics[i]->feeds.next);
    for (size_t i = 0; i < count; i++)
        if (!list_empty(&topics[i]->feeds))
            feeds[found++] = LIST_ITEM(topics[i]->feeds.next, struct memory_feed, of_topic)->token;
    if (found > 0 && b->host->expect) b->host->expect(b->host, feeds, found);
}

static void publish_quote(void *arg, const struct wsbus_publish *p)
{
    struct wsbus_pos pos;
    (void)store(arg, p, &pos); /* no room for the topic: the next quote tries again */
}

/* ---- locate ------------------------------------------------------------------------------- */

/* Is everything after `n` still there, in a log of this epoch? */
static enum wsbus_lost what_is_lost(const struct memory_topic *t, const struct wsbus_pos *pos)
{
    if (pos && (pos->epoch != t->epoch || pos->hi != 0 || pos->lo > t->last))
        return WSBUS_LOST_EPOCH;
    return (pos ? pos->lo : 0) + 1 < t->first ? WSBUS_LOST_EXPIRED : WSBUS_NOTHING_LOST;
}

/* The same for a cursor. A partition that the topic does not have is one of another log. */
static enum wsbus_lost what_cursor_lost(const struct memory_topic *t, const struct wsbus_cursor *c)
{
    enum wsbus_lost lost = what_is_lost(t, cursor_zero(c));
    for (uint32_t i = 0; c && i < c->count && !lost; i++)
        if (c->pos[i].partition != 0) lost = WSBUS_LOST_EPOCH;
    return lost;
}

/* The id up to which a request goes, at most last. Of another log nothing is here. */
static uint64_t until_id(const struct memory_topic *t, const struct wsbus_cursor *until)
{
    const struct wsbus_pos *pos = cursor_zero(until);
    if (!pos) return t->last;
    if (pos->epoch != t->epoch) return t->first - 1;
    return pos->lo < t->last ? pos->lo : t->last;
}

static uint64_t find_place(const struct memory_topic *t, const struct wsbus_locate *l,
                           struct wsbus_located *ret)
{
    const struct wsbus_pos *pos;
    switch (l->place) {
    case WSBUS_EARLIEST: return t->first - 1;
    case WSBUS_LATEST: return t->last;
    case WSBUS_AT_TIME: return memory_topic_before_time(t, l->time);
    case WSBUS_AFTER:
        pos = cursor_zero(l->cursor);
        ret->lost = what_cursor_lost(t, l->cursor);
        return !pos || what_is_lost(t, pos) ? t->first - 1 : pos->lo;
    case WSBUS_LAST: break;
    }
    return t->last;
}

static uint64_t find_last(const struct memory_topic *t, const struct wsbus_locate *l,
                          const struct span *key, bool *ret_limited)
{
    uint64_t until = until_id(t, l->until);
    if (until + 1 < t->first) until = t->first - 1;
    uint64_t max = l->max_messages;
    bool cut = max != 0 && l->count > max;
    bool more;
    uint64_t id = memory_topic_back(t, key, until, cut ? max : l->count, &more);
    *ret_limited = cut && more;
    return id;
}

/* Moves a place on, so that at most `max` messages follow it. True if there were more. */
static bool limit_place(const struct memory_topic *t, const struct span *key, uint64_t max,
                        uint64_t *id)
{
    bool more, even_more;
    uint64_t newest = memory_topic_back(t, key, t->last, max, &more);
    if (!more || memory_topic_back(t, key, t->last, max + 1, &even_more) < *id) return false;
    *id = newest;
    return true;
}

static void memory_locate(void *bus, uint64_t token, const struct wsbus_locate *l)
{
    struct memory *b = bus;
    struct memory_topic *t = use_topic(b, &l->topic);
    if (!t) {
        b->host->located(b->host, token, &answer_full, NULL);
        return;
    }
    struct span text = span_of(l->key, l->key_len);
    const struct span *key = l->key ? &text : NULL;
    struct wsbus_located located = {0};
    uint64_t id;
    if (l->place == WSBUS_LAST) {
        id = find_last(t, l, key, &located.limited);
    } else {
        id = find_place(t, l, &located);
        if (l->max_messages) located.limited = limit_place(t, key, l->max_messages, &id);
    }
    union place place;
    located.cursor = place_at(&place, t, id);
    b->host->located(b->host, token, &answer_ok, &located);
}

/* ---- read --------------------------------------------------------------------------------- */

/* Messages with a reference to each: the callee may publish, which may trim. */
struct memory_batch {
    struct wsbus_message **messages;
    size_t count, size;
    uint64_t bytes;
};

static void batch_add(struct memory_batch *batch, struct wsbus_message *m)
{
    if (batch->count == batch->size) {
        batch->size = batch->size ? batch->size * 2 : 64;
        batch->messages = mem_grow(batch->messages, batch->size * sizeof(struct wsbus_message *));
    }
    batch->messages[batch->count++] = wsbus_message_ref(m);
    batch->bytes += m->size;
}

static void batch_done(struct memory_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        wsbus_message_unref(batch->messages[i]);
    free(batch->messages);
}

/* Gathers what follows `id`, returns the id of the last message looked at. */
static uint64_t gather(const struct memory_topic *t, const struct wsbus_read *r, uint64_t id,
                       uint64_t end, struct memory_batch *batch)
{
    const struct memory_key *key = NULL;
    if (r->key) {
        key = memory_topic_key(t, span_of(r->key, r->key_len));
        if (!key) return end;
    }
    for (uint64_t scan = 0; id < end && scan < r->max_scan; scan++) {
        const struct memory_entry *e = memory_topic_at(t, ++id);
        if (r->key && e->key != key) continue;
        batch_add(batch, e->message);
        if (batch->count >= r->max_messages || batch->bytes >= r->max_bytes) break;
    }
    return id;
}

/* Where a read really begins: behind what is lost, but not beyond its end. */
static uint64_t begin_read(const struct memory_topic *t, const struct wsbus_pos *from, uint64_t end,
                           enum wsbus_lost *ret_lost)
{
    *ret_lost = what_is_lost(t, from);
    uint64_t id = from && *ret_lost != WSBUS_LOST_EPOCH ? from->lo : 0;
    if (*ret_lost == WSBUS_NOTHING_LOST) return id;
    if (*ret_lost == WSBUS_LOST_EXPIRED && id >= end) {
        *ret_lost = WSBUS_NOTHING_LOST; /* nothing was asked for */
        return id;
    }
    return end < t->first - 1 ? end : t->first - 1;
}

static void memory_read(void *bus, uint64_t token, const struct wsbus_read *r)
{
    struct memory *b = bus;
    struct memory_topic *t = use_topic(b, &r->topic);
    if (!t) {
        b->host->chunk(b->host, token, &answer_full, NULL);
        return;
    }
    uint64_t end = until_id(t, r->until);
    struct wsbus_chunk chunk = {0};
    uint64_t id = begin_read(t, cursor_zero(r->from), end, &chunk.lost);
    union place place, lost_place;
    if (chunk.lost) chunk.lost_until = place_at(&lost_place, t, id);
    struct memory_batch batch = {0};
    if (id < end) id = gather(t, r, id, end, &batch);
    chunk.messages = batch.messages;
    chunk.count = batch.count;
    chunk.end = id >= end;
    chunk.cursor = place_at(&place, t, id);
    b->host->chunk(b->host, token, &answer_ok, &chunk);
    batch_done(&batch);
}

/* ---- life cycle --------------------------------------------------------------------------- */

static void *memory_open(const struct wsbus_host *host, const struct wsbus_value *values, char *err,
                         size_t err_size)
{
    (void)err;
    (void)err_size;
    struct memory *b = mem_zero(sizeof(*b));
    b->host = host;
    struct memory_limits limits = {
        .history = (uint64_t)values[HISTORY].number,
        .history_bytes = (size_t)values[HISTORY_BYTES].number,
        .topics = (size_t)values[TOPICS].number,
        .bytes = (size_t)values[MEMORY_BYTES].number,
    };
    memory_topics_init(&b->topics, &limits);
    map_init(&b->feeds);
    host->state(host, true, "in memory");
    uint32_t rate = (uint32_t)values[QUOTES].number;
    if (rate > 0) b->quotes = quotes_start(host, rate, publish_quote, b);
    return b;
}

static void memory_stats(void *bus, void (*fn)(void *arg, const char *name, int64_t value),
                         void *arg)
{
    struct memory *b = bus;
    fn(arg, "topics", (int64_t)b->topics.by_name.count);
    fn(arg, "feeds", (int64_t)b->feeds.count);
    fn(arg, "messages", (int64_t)b->topics.messages);
    fn(arg, "bytes", (int64_t)b->topics.bytes);
}

/* Nothing is ever pending. */
static void memory_close(void *bus, uint64_t deadline_ms)
{
    (void)deadline_ms;
    struct memory *b = bus;
    const struct wsbus_host *host = b->host;
    quotes_stop(b->quotes);
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&b->feeds, &walk))) {
        map_remove(&b->feeds, n);
        free(CONTAINER_OF(n, struct memory_feed, node));
    }
    map_done(&b->feeds);
    memory_topics_done(&b->topics);
    free(b);
    host->closed(host);
}

/* ---- the backend --------------------------------------------------------------------------- */

static unsigned memory_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_TIME | WSBUS_CAP_KEY | WSBUS_CAP_HEADERS |
           WSBUS_CAP_TOMBSTONE | WSBUS_CAP_ACK;
}

const struct wsbus_backend backend_memory = {
    .name = "memory",
    .help = "A log for each topic in the memory of this process; gone when it ends.",
    .options = memory_options,
    .light = true,
    .caps = memory_caps,
    .pos_parse = memory_pos_parse,
    .pos_format = memory_pos_format,
    .open = memory_open,
    .subscribe = memory_subscribe,
    .unsubscribe = memory_unsubscribe,
    .publish = memory_publish,
    .expect = memory_expect,
    .locate = memory_locate,
    .read = memory_read,
    .stats = memory_stats,
    .close = memory_close,
};
