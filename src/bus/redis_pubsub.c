#include "bus/redis_pubsub.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <hiredis/hiredis.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "bus/redis_reply.h"

#define BATCH_CHANNELS 1000
#define BATCH_BYTES 65536 /* of names */
#define AHEAD 16

enum channel_state { WANTED, ASKED, ON, PARTING, LEAVING };

struct channel {
    struct map_node node; /* by name */
    struct list queue;    /* in WANTED: `wanted` or `alone`; in PARTING: `parting` */
    struct list feeds;
    size_t count; /* of its feeds, also of those that a turn has taken off the list */
    enum channel_state state;
    bool alone; /* to be asked for by itself, to find out which one is refused */
    size_t name_len;
    char name[];
};

struct feed {
    struct map_node node; /* by token */
    struct list of_channel;
    struct channel *channel;
    uint64_t token;
    bool confirmed;
    bool gap; /* confirmed, and the connection was lost since */
};

/* One SUBSCRIBE or UNSUBSCRIBE under way. Its channels are not freed before its end. */
struct batch {
    struct link_call call;
    struct list node;
    struct redis_pubsub *pubsub;
    bool leaving;
    size_t count, seen; /* channels; replies */
    struct channel *channels[];
};

/* A message that has come and was not delivered yet. */
struct arrival {
    uint64_t hash;
    size_t name_len; /* the name is in `names` */
    struct wsbus_message *message;
};

struct redis_pubsub {
    const struct wsbus_host *host;
    struct redis_link *link;
    struct map channels, feeds;
    struct list wanted, alone, parting; /* channels that wait for a command */
    struct list batches;                /* under way, in order */
    bool up;                            /* the connection is ready, as far as we were told */
    uint64_t messages;
    struct arrival arrivals[AHEAD];
    size_t arrived;
    int64_t arrived_at; /* wall clock of the first of them */
    struct buf names;   /* of their channels, one behind the other */
};

/* ---- channels and feeds ------------------------------------------------------------------- */

static struct channel *find_channel(const struct redis_pubsub *p, struct span name, uint64_t hash)
{
    for (struct map_node *n = map_find(&p->channels, hash); n; n = map_again(n)) {
        struct channel *c = CONTAINER_OF(n, struct channel, node);
        if (span_eq(span_of(c->name, c->name_len), name)) return c;
    }
    return NULL;
}

static void put_on_list(struct redis_pubsub *p, struct channel *c, enum channel_state state)
{
    list_del(&c->queue);
    c->state = state;
    if (state == WANTED) list_append(c->alone ? &p->alone : &p->wanted, &c->queue);
    if (state == PARTING) list_append(&p->parting, &c->queue);
}

static struct channel *new_channel(struct redis_pubsub *p, struct span name, uint64_t hash)
{
    struct channel *c = mem_zero(sizeof(*c) + name.n + 1);
    memcpy(c->name, name.p, name.n);
    c->name_len = name.n;
    list_init(&c->queue);
    list_init(&c->feeds);
    map_insert(&p->channels, &c->node, hash);
    put_on_list(p, c, WANTED);
    return c;
}

static void drop_channel(struct redis_pubsub *p, struct channel *c)
{
    list_del(&c->queue);
    map_remove(&p->channels, &c->node);
    free(c);
}

static struct feed *find_feed(const struct redis_pubsub *p, uint64_t token)
{
    for (struct map_node *n = map_find(&p->feeds, hash_u64(token)); n; n = map_again(n)) {
        struct feed *f = CONTAINER_OF(n, struct feed, node);
        if (f->token == token) return f;
    }
    return NULL;
}

static void drop_feed(struct redis_pubsub *p, struct feed *f)
{
    f->channel->count--;
    list_del(&f->of_channel);
    map_remove(&p->feeds, &f->node);
    free(f);
}

static void confirm(struct redis_pubsub *p, struct feed *f)
{
    static const struct wsbus_answer ok = {.status = WSBUS_OK};
    bool gap = f->gap, first = !f->confirmed;
    f->confirmed = true;
    f->gap = false;
    if (first)
        p->host->subscribed(p->host, f->token, &ok, NULL);
    else if (gap)
        p->host->gap(p->host, f->token, NULL);
}

/* For each feed of the channel that is there now, once; a callee may end and add feeds. */
static void confirm_all(struct redis_pubsub *p, struct channel *c)
{
    struct list turn;
    list_init(&turn);
    list_move(&turn, &c->feeds);
    struct list *n;
    while ((n = list_pop(&turn))) {
        list_append(&c->feeds, n);
        confirm(p, LIST_ITEM(n, struct feed, of_channel));
    }
}

/* ---- commands ----------------------------------------------------------------------------- */

static void on_batch_done(struct link_call *call, enum call_fate fate,
                          const struct redisReply *reply);
static void deliver_arrivals(struct redis_pubsub *p);

static void send_batch(struct redis_pubsub *p, struct batch *b)
{
    const char **argv = mem_alloc((b->count + 1) * sizeof(const char *));
    size_t *len = mem_alloc((b->count + 1) * sizeof(*len));
    argv[0] = b->leaving ? "UNSUBSCRIBE" : "SUBSCRIBE";
    len[0] = strlen(argv[0]);
    for (size_t i = 0; i < b->count; i++) {
        argv[i + 1] = b->channels[i]->name;
        len[i + 1] = b->channels[i]->name_len;
    }
    b->call.replies = (unsigned)b->count;
    b->call.done = on_batch_done;
    list_append(&p->batches, &b->node);
    /* The queue of this connection has no cap of its own: it is bounded by the feeds. */
    (void)link_send(p->link, &b->call, (int)b->count + 1, argv, len);
    free(argv);
    free(len);
}

/* Takes up to `most` channels off a list into one command. */
static void ask(struct redis_pubsub *p, struct list *from, bool leaving, size_t most)
{
    struct batch *b = mem_zero(sizeof(*b) + most * sizeof(struct channel *));
    b->pubsub = p;
    b->leaving = leaving;
    for (size_t bytes = 0; b->count < most && bytes < BATCH_BYTES && !list_empty(from);) {
        struct channel *c = LIST_ITEM(from->next, struct channel, queue);
        put_on_list(p, c, leaving ? LEAVING : ASKED);
        b->channels[b->count++] = c;
        bytes += c->name_len;
    }
    send_batch(p, b);
}

static void ask_all(struct redis_pubsub *p)
{
    while (!list_empty(&p->parting))
        ask(p, &p->parting, true, BATCH_CHANNELS);
    while (!list_empty(&p->wanted))
        ask(p, &p->wanted, false, BATCH_CHANNELS);
    while (!list_empty(&p->alone))
        ask(p, &p->alone, false, 1);
}

/* While something is under way, what comes gathers. */
static void ask_if_idle(struct redis_pubsub *p)
{
    if (link_ready(p->link) && list_empty(&p->batches)) ask_all(p);
}

/* ---- replies ------------------------------------------------------------------------------ */

static void turned_on(struct redis_pubsub *p, struct channel *c)
{
    c->alone = false;
    put_on_list(p, c, c->count == 0 ? PARTING : ON);
    confirm_all(p, c);
}

/* It is not subscribed now. */
static void left(struct redis_pubsub *p, struct channel *c)
{
    if (c->count == 0)
        drop_channel(p, c);
    else
        put_on_list(p, c, WANTED);
}

/* The channel's feeds go with it, and with the server's words. */
static void refused(struct redis_pubsub *p, struct channel *c, const struct redisReply *error)
{
    struct wsbus_answer a = {.status = reply_status(error), .words = error->str};
    struct list turn;
    list_init(&turn);
    list_move(&turn, &c->feeds);
    map_remove(&p->channels, &c->node); /* a feed that comes from inside finds another */
    struct list *n;
    while ((n = list_pop(&turn))) {
        struct feed *f = LIST_ITEM(n, struct feed, of_channel);
        uint64_t token = f->token;
        bool confirmed = f->confirmed;
        drop_feed(p, f);
        if (confirmed)
            p->host->ended(p->host, token, &a);
        else
            p->host->subscribed(p->host, token, &a, NULL);
    }
    free(c);
}

static void batch_refused(struct redis_pubsub *p, struct batch *b, const struct redisReply *error)
{
    if (b->leaving || b->seen > 0) {
        link_restart(p->link, error->str);
        return;
    }
    if (b->count == 1) {
        refused(p, b->channels[0], error);
        return;
    }
    for (size_t i = 0; i < b->count; i++) {
        b->channels[i]->alone = true;
        left(p, b->channels[i]);
    }
}

/* One reply to the oldest command: its next channel. */
static void take_reply(struct redis_pubsub *p, const struct redisReply *r)
{
    if (list_empty(&p->batches)) return; /* the pong of a PING */
    struct batch *b = LIST_ITEM(p->batches.next, struct batch, node);
    const struct redisReply *what = r->element[0], *name = r->element[1];
    if (strcasecmp(what->str, b->leaving ? "unsubscribe" : "subscribe") != 0) return;
    struct channel *c = b->seen < b->count ? b->channels[b->seen] : NULL;
    if (!c || name->type != REDIS_REPLY_STRING ||
        !span_eq(span_of(name->str, name->len), span_of(c->name, c->name_len))) {
        link_restart(p->link, "the server confirms another channel than it was asked for");
        return;
    }
    b->channels[b->seen++] = NULL;
    if (b->leaving)
        left(p, c);
    else
        turned_on(p, c);
}

/* After a loss the channels are sorted out anew by on_up(). */
static void on_batch_done(struct link_call *call, enum call_fate fate,
                          const struct redisReply *reply)
{
    struct batch *b = CONTAINER_OF(call, struct batch, call);
    struct redis_pubsub *p = b->pubsub;
    deliver_arrivals(p);
    list_del(&b->node);
    if (fate == CALL_ANSWERED && reply->type == REDIS_REPLY_ERROR) batch_refused(p, b, reply);
    free(b);
    ask_if_idle(p);
}

/* ---- messages ----------------------------------------------------------------------------- */

static void deliver(struct redis_pubsub *p, struct channel *c, struct wsbus_message *m)
{
    struct list turn;
    list_init(&turn);
    list_move(&turn, &c->feeds);
    struct list *n;
    while ((n = list_pop(&turn))) {
        list_append(&c->feeds, n);
        struct feed *f = LIST_ITEM(n, struct feed, of_channel);
        p->host->message(p->host, f->token, wsbus_message_ref(m));
    }
}

/* The hub is told whose messages come. Of many thousand channels hardly one is in the processor's cache,
 * so what is needed is asked of memory for all of them, step by step, before the first is delivered. */
static void announce_arrivals(struct redis_pubsub *p)
{
    uint64_t hashes[AHEAD], feeds[AHEAD];
    const struct list *first[AHEAD] = {NULL};
    size_t count = 0, at = 0;
    for (size_t i = 0; i < p->arrived; i++)
        hashes[i] = p->arrivals[i].hash;
    map_fetch(&p->channels, hashes, p->arrived);
    for (size_t i = 0; i < p->arrived; i++) {
        const struct arrival *a = &p->arrivals[i];
        struct channel *c = find_channel(p, span_of(p->names.p + at, a->name_len), a->hash);
        at += a->name_len;
        if (!c || list_empty(&c->feeds)) continue;
        first[count] = c->feeds.next;
        __builtin_prefetch(LIST_ITEM(first[count++], struct feed, of_channel));
    }
    for (size_t i = 0; i < count; i++)
        feeds[i] = LIST_ITEM(first[i], struct feed, of_channel)->token;
    p->host->expect(p->host, feeds, count);
}

/* What came is delivered before anything else is done about what came behind it, and before the link
 * has its turn again. */
static void deliver_arrivals(struct redis_pubsub *p)
{
    size_t at = 0, count = p->arrived;
    if (count == 0) return;
    if (count > 1 && p->host->expect) announce_arrivals(p);
    p->arrived = 0; /* whatever a delivery leads to: each once */
    for (size_t i = 0; i < count; i++) {
        struct arrival *a = &p->arrivals[i];
        struct channel *c = find_channel(p, span_of(p->names.p + at, a->name_len), a->hash);
        at += a->name_len;
        if (c && c->state == ON) { /* otherwise it is being left */
            p->messages++;
            deliver(p, c, a->message);
        }
        wsbus_message_unref(a->message);
    }
    buf_clear(&p->names);
}

static void on_pushed(void *owner)
{
    deliver_arrivals(owner);
}

static void take_message(struct redis_pubsub *p, const struct redisReply *r)
{
    const struct redisReply *name = r->element[1], *payload = r->element[2];
    if (name->type != REDIS_REPLY_STRING || payload->type != REDIS_REPLY_STRING) return;
    if (p->arrived == AHEAD) deliver_arrivals(p);
    if (p->arrived == 0) p->arrived_at = p->host->now(p->host);
    struct arrival *a = &p->arrivals[p->arrived++];
    a->hash = hash_span(span_of(name->str, name->len));
    a->name_len = name->len;
    buf_append(&p->names, name->str, name->len);
    struct wsbus_message from = {
        .ts = p->arrived_at,
        .payload = payload->str,
        .payload_len = (uint32_t)payload->len,
    };
    a->message = wsbus_message_new(&from);
}

static bool on_push(void *owner, const struct redisReply *r)
{
    struct redis_pubsub *p = owner;
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 2 ||
        r->element[0]->type != REDIS_REPLY_STRING)
        return false;
    if (r->elements == 3 && strcmp(r->element[0]->str, "message") == 0) {
        take_message(p, r);
        return true;
    }
    deliver_arrivals(p);
    if (r->elements == 3) take_reply(p, r);
    return false;
}

/* ---- the connection ----------------------------------------------------------------------- */

static void on_up(void *owner)
{
    struct redis_pubsub *p = owner;
    p->up = true;
    ask_all(p);
}

static void mark_gaps(struct channel *c)
{
    for (struct list *n = c->feeds.next; n != &c->feeds; n = n->next) {
        struct feed *f = LIST_ITEM(n, struct feed, of_channel);
        f->gap = f->confirmed;
    }
}

/* No command is under way any more, and nothing is subscribed. */
static void on_down(void *owner, const char *words)
{
    struct redis_pubsub *p = owner;
    if (!p->up) return; /* one more attempt has failed */
    p->up = false;
    p->host->log(p->host, WSBUS_LOG_WARN, "subscriptions: %s", words);
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&p->channels, &walk))) {
        struct channel *c = CONTAINER_OF(n, struct channel, node);
        mark_gaps(c);
        left(p, c);
    }
}

static const struct link_ops link_ops = {
    .up = on_up, .down = on_down, .push = on_push, .pushed = on_pushed};

/* ---- operations --------------------------------------------------------------------------- */

void pubsub_subscribe(struct redis_pubsub *p, uint64_t token, const struct wsbus_topic *topic)
{
    struct span name = span_of(topic->name, topic->name_len);
    uint64_t hash = hash_span(name);
    struct channel *c = find_channel(p, name, hash);
    if (!c) c = new_channel(p, name, hash);
    struct feed *f = mem_zero(sizeof(*f));
    f->token = token;
    f->channel = c;
    map_insert(&p->feeds, &f->node, hash_u64(token));
    list_append(&c->feeds, &f->of_channel);
    c->count++;
    if (c->state == PARTING) put_on_list(p, c, ON);
    if (c->state == ON) confirm(p, f);
    link_start(p->link);
    ask_if_idle(p);
}

bool pubsub_unsubscribe(struct redis_pubsub *p, uint64_t token)
{
    struct feed *f = find_feed(p, token);
    if (!f) return false;
    struct channel *c = f->channel;
    drop_feed(p, f);
    if (c->count == 0 && c->state == WANTED)
        drop_channel(p, c);
    else if (c->count == 0 && c->state == ON)
        put_on_list(p, c, PARTING);
    p->host->unsubscribed(p->host, token);
    ask_if_idle(p);
    return true;
}

void pubsub_hasten(struct redis_pubsub *p)
{
    link_hasten(p->link);
}

struct redis_pubsub_figures pubsub_figures(const struct redis_pubsub *p)
{
    return (struct redis_pubsub_figures){
        .channels = p->channels.count,
        .feeds = p->feeds.count,
        .messages = p->messages,
        .link = link_figures(p->link),
    };
}

/* ---- life cycle --------------------------------------------------------------------------- */

struct redis_pubsub *pubsub_new(const struct wsbus_host *host, const struct redis_config *config)
{
    struct redis_pubsub *p = mem_zero(sizeof(*p));
    p->host = host;
    map_init(&p->channels);
    map_init(&p->feeds);
    list_init(&p->wanted);
    list_init(&p->alone);
    list_init(&p->parting);
    list_init(&p->batches);
    buf_init(&p->names, BUF_UNLIMITED); /* by the number of arrivals */
    struct link_spec spec = {
        .host = host,
        .config = config,
        .name = "subscriptions",
        .ops = &link_ops,
        .owner = p,
        .queue_bytes = SIZE_MAX,
    };
    p->link = link_new(&spec);
    return p;
}

void pubsub_stop(struct redis_pubsub *p)
{
    static const struct wsbus_answer closing = {.status = WSBUS_UNAVAILABLE};
    link_stop(p->link);
    struct list turn;
    list_init(&turn);
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&p->feeds, &walk))) {
        struct feed *f = CONTAINER_OF(n, struct feed, node);
        if (f->confirmed) continue;
        list_del(&f->of_channel);
        list_append(&turn, &f->of_channel);
    }
    struct list *item;
    while ((item = list_pop(&turn))) {
        struct feed *f = LIST_ITEM(item, struct feed, of_channel);
        uint64_t token = f->token;
        drop_feed(p, f);
        p->host->subscribed(p->host, token, &closing, NULL);
    }
}

void pubsub_free(struct redis_pubsub *p)
{
    if (!p) return;
    struct map_walk walk = {0};
    struct map_node *n;
    while ((n = map_next(&p->feeds, &walk)))
        drop_feed(p, CONTAINER_OF(n, struct feed, node));
    walk = (struct map_walk){0};
    while ((n = map_next(&p->channels, &walk)))
        drop_channel(p, CONTAINER_OF(n, struct channel, node));
    map_done(&p->feeds);
    map_done(&p->channels);
    buf_free(&p->names);
    link_free(p->link);
    free(p);
}
