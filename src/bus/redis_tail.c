/* Streams that are followed and their feeds: where they begin, who gets what, how they end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bus/redis_reader.h"
#include "bus/redis_reply.h"

#define TICK_MS 1000

static const struct wsbus_answer answer_ok = {.status = WSBUS_OK};

/* A cursor of the one partition there is. */
union place {
    struct wsbus_cursor cursor;
    char room[sizeof(struct wsbus_cursor) + sizeof(struct wsbus_pos)];
};

static const struct wsbus_cursor *place_at(union place *p, const struct wsbus_pos *pos)
{
    struct wsbus_cursor *c = &p->cursor;

    c->count = 1;
    c->pos[0] = *pos;
    return c;
}

static void keep_ticking(struct redis_tail *t)
{
    if (t->ticking) return;
    t->ticking = true;
    t->host->timer_set(t->tick, TICK_MS);
}

/* ---- streams ------------------------------------------------------------------------------------ */

struct tail_stream *tail_find(struct redis_tail *t, struct span name)
{
    for (struct map_node *n = map_find(&t->streams, hash_span(name)); n; n = map_again(n)) {
        struct tail_stream *s = CONTAINER_OF(n, struct tail_stream, node);
        if (span_eq(s->name, name)) return s;
    }
    return NULL;
}

static struct tail_stream *stream_new(struct redis_tail *t, struct span name)
{
    struct tail_stream *s = mem_zero(sizeof *s + name.n + 1);
    char *copy = (char *)(s + 1);

    memcpy(copy, name.p, name.n);
    s->name = span_of(copy, name.n);
    s->tail = t;
    list_init(&s->later);
    list_init(&s->feeds);
    list_init(&s->of_reader);
    list_init(&s->unproven);
    map_insert(&t->streams, &s->node, hash_span(name));
    return s;
}

void stream_hold(struct tail_stream *s)
{
    s->holds++;
}

void stream_release(struct tail_stream *s)
{
    if (--s->holds == 0 && s->state == STREAM_OVER) free(s);
}

/* Nobody wants to know any more where it ends. While the server is down, such questions must not pile
 * up before it. */
static void take_back_question(struct tail_stream *s)
{
    struct stream_call *c = s->question;

    if (!c || !link_cancel(s->tail->commands, &c->call)) return;
    s->question = NULL;
    free(c);
    stream_release(s);
}

/* The one place where a stream's state changes. The caller holds it. */
static void stream_state(struct tail_stream *s, enum stream_state state)
{
    if (state == STREAM_OVER) {
        take_back_question(s);
        map_remove(&s->tail->streams, &s->node);
        list_del(&s->later);
        if (s->reader) reader_remove(s);
    }
    s->state = state;
}

/* ---- feeds -------------------------------------------------------------------------------------- */

static struct tail_feed *find_feed(struct redis_tail *t, uint64_t token)
{
    for (struct map_node *n = map_find(&t->feeds, hash_u64(token)); n; n = map_again(n)) {
        struct tail_feed *f = CONTAINER_OF(n, struct tail_feed, node);
        if (f->token == token) return f;
    }
    return NULL;
}

static void feed_free(struct tail_feed *f)
{
    map_remove(&f->stream->tail->feeds, &f->node);
    list_del(&f->of_stream);
    f->stream->feed_count--;
    free(f);
}

static void feed_confirm(const struct tail_feed *f)
{
    const struct wsbus_host *host = f->stream->tail->host;
    union place place;

    host->subscribed(host, f->token, &answer_ok, place_at(&place, &f->stream->mark.at));
}

void stream_end(struct tail_stream *s, enum wsbus_status status, const char *words)
{
    const struct wsbus_host *host = s->tail->host;
    struct wsbus_answer a = {.status = status, .words = words};
    bool confirmed = s->state == STREAM_ON;

    if (s->state == STREAM_OVER) return;
    stream_hold(s);
    stream_state(s, STREAM_OVER);
    while (!list_empty(&s->feeds)) {
        struct tail_feed *f = LIST_ITEM(s->feeds.next, struct tail_feed, of_stream);
        uint64_t token = f->token;
        feed_free(f);
        if (confirmed)
            host->ended(host, token, &a);
        else
            host->subscribed(host, token, &a, NULL);
    }
    stream_release(s);
}

/* Each feed that is there goes back to the stream's list before it hears anything, so that the callee
 * may start and end feeds; one that is started meanwhile begins behind what is being told. */
static struct tail_feed *next_in_turn(struct tail_stream *s, struct list *turn)
{
    struct list *n = list_pop(turn);

    if (!n) return NULL;
    list_append(&s->feeds, n);
    return LIST_ITEM(n, struct tail_feed, of_stream);
}

void stream_gap(struct tail_stream *s, const struct redis_mark *beyond)
{
    const struct wsbus_host *host = s->tail->host;
    struct tail_feed *f;
    struct list turn;
    union place place;

    stream_hold(s);
    s->mark = *beyond;
    list_init(&turn);
    list_move(&turn, &s->feeds);
    while ((f = next_in_turn(s, &turn)))
        host->gap(host, f->token, place_at(&place, &beyond->at));
    stream_release(s);
}

/* An entry larger than ENTRY_BYTES_MAX. */
static void skip_unreadable(struct tail_stream *s, const struct redis_mark *beyond)
{
    const struct wsbus_host *host = s->tail->host;

    host->log(host, WSBUS_LOG_WARN, "an entry of stream %s is too large and was left out",
              s->name.p);
    stream_gap(s, beyond);
}

static bool same_rule(const struct redis_rule *a, const struct redis_rule *b)
{
    return strcmp(a->payload, b->payload) == 0 && strcmp(a->key, b->key) == 0;
}

/* One message for all feeds in a row whose rules read it alike. */
static void tell_message(struct tail_stream *s, const struct redis_entry *e)
{
    const struct wsbus_host *host = s->tail->host;
    struct wsbus_message *m = NULL;
    struct redis_rule rule = {0};
    struct tail_feed *f;
    struct list turn;

    list_init(&turn);
    list_move(&turn, &s->feeds);
    while ((f = next_in_turn(s, &turn))) {
        if (!m || !same_rule(&rule, &f->rule)) {
            wsbus_message_unref(m);
            rule = f->rule;
            m = entry_message(e, &rule);
        }
        host->message(host, f->token, wsbus_message_ref(m));
    }
    wsbus_message_unref(m);
}

void stream_deliver(struct tail_stream *s, const struct redis_entry *e)
{
    struct redis_mark beyond = s->mark;

    beyond.at = e->pos;
    beyond.added++;
    s->quiet = false;
    if (e->count == 0) {
        skip_unreadable(s, &beyond);
        return;
    }
    s->entry_bytes =
        e->bytes > s->entry_bytes ? e->bytes : s->entry_bytes - (s->entry_bytes - e->bytes) / 8;
    s->mark = beyond;
    stream_hold(s);
    tell_message(s, e);
    stream_release(s);
}

/* ---- calls about one stream ----------------------------------------------------------------------- */

static void on_stream_call(struct link_call *call, enum call_fate fate,
                           const struct redisReply *reply)
{
    struct stream_call *c = CONTAINER_OF(call, struct stream_call, call);
    struct tail_stream *s = c->stream;

    c->take(c, fate == CALL_ANSWERED ? reply : NULL);
    free(c);
    stream_release(s);
}

struct stream_call *stream_call_new(struct tail_stream *s, struct reader *reader,
                                    void (*take)(struct stream_call *c,
                                                 const struct redisReply *reply))
{
    struct stream_call *c = mem_zero(sizeof *c);

    c->call.done = on_stream_call;
    c->stream = s;
    c->reader = reader;
    c->mark = s->mark;
    c->take = take;
    stream_hold(s);
    return c;
}

int stream_send(struct stream_call *c, struct redis_link *link, int argc, const char *const *argv,
                const size_t *lens)
{
    struct tail_stream *s = c->stream;

    if (link_send(link, &c->call, argc, argv, lens) == 0) return 0;
    free(c);
    stream_release(s);
    return -1;
}

int stream_ask(struct stream_call *c, struct redis_link *link)
{
    const struct tail_stream *s = c->stream;
    const char *argv[] = {"XINFO", "STREAM", s->name.p};
    const size_t lens[] = {5, 6, s->name.n};

    return stream_send(c, link, 3, argv, lens);
}

/* ---- the beginning ------------------------------------------------------------------------------ */

static void stream_begin(struct tail_stream *s, const struct redis_info *i, struct reader *r)
{
    struct tail_feed *f;
    struct list turn;

    s->mark = info_end(i);
    s->entry_bytes = i->entry_bytes;
    stream_hold(s);
    stream_state(s, STREAM_ON);
    reader_add(r, s);
    list_init(&turn);
    list_move(&turn, &s->feeds);
    while ((f = next_in_turn(s, &turn)))
        feed_confirm(f);
    stream_release(s);
}

static void refuse_for_room(struct tail_stream *s)
{
    char words[160];

    snprintf(words, sizeof words,
             "too many streams are followed: %u connections (stream_connections) with %d each",
             s->tail->config->stream_connections, READER_STREAMS);
    stream_end(s, WSBUS_BUSY, words);
}

static void on_end_known(struct stream_call *c, const struct redisReply *reply)
{
    struct tail_stream *s = c->stream;
    struct redis_info info;

    s->question = NULL;
    if (s->state != STREAM_ASKED) return;
    if (reply && info_parse(reply, &info) == 0) {
        struct reader *r = reader_for(s->tail);
        if (r)
            stream_begin(s, &info, r);
        else
            refuse_for_room(s);
    } else if (reply && reply->type == REDIS_REPLY_ERROR && reply_status(reply) == WSBUS_REFUSED) {
        char words[REPLY_WORDS];
        stream_end(s, WSBUS_REFUSED, reply_words(reply, words));
    } else if (reply && reply->type != REDIS_REPLY_ERROR) {
        stream_end(s, WSBUS_REFUSED, "the answer to XINFO STREAM was not understood");
    } else {
        /* The connection was lost, or the server is not ready: that is no reason to answer. */
        list_append(&s->tail->later, &s->later);
        keep_ticking(s->tail);
    }
}

static void ask_where_it_ends(struct tail_stream *s)
{
    struct stream_call *c = stream_call_new(s, NULL, on_end_known);

    c->call.keep = true;
    s->question = c;
    if (stream_ask(c, s->tail->commands) == 0) return;
    s->question = NULL;
    stream_end(s, WSBUS_BUSY, "too much is waiting for Redis; subscribe again later");
}

void tail_subscribe(struct redis_tail *t, uint64_t token, const struct wsbus_topic *topic)
{
    struct span name = span_of(topic->name, topic->name_len);
    struct tail_stream *s = tail_find(t, name);
    struct tail_feed *f = mem_zero(sizeof *f);
    bool asked = s != NULL;

    if (!s) s = stream_new(t, name);
    s->feed_count++;
    f->stream = s;
    f->token = token;
    f->rule = redis_rule(topic->rule);
    map_insert(&t->feeds, &f->node, hash_u64(token));
    list_append(&s->feeds, &f->of_stream);
    keep_ticking(t);
    if (s->state == STREAM_ON)
        feed_confirm(f);
    else if (!asked)
        ask_where_it_ends(s);
}

bool tail_unsubscribe(struct redis_tail *t, uint64_t token)
{
    struct tail_feed *f = find_feed(t, token);
    struct tail_stream *s;

    if (!f) return false;
    s = f->stream;
    stream_hold(s);
    feed_free(f);
    t->host->unsubscribed(t->host, token);
    if (s->feed_count == 0 && s->state != STREAM_OVER) stream_state(s, STREAM_OVER);
    stream_release(s);
    return true;
}

/* ---- life cycle --------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
    struct redis_tail *t = arg;
    struct list later, *n, *next;

    t->ticking = false;
    list_init(&later);
    list_move(&later, &t->later);
    while ((n = list_pop(&later)))
        ask_where_it_ends(LIST_ITEM(n, struct tail_stream, later));
    for (n = t->readers.next; n != &t->readers; n = next) {
        next = n->next;
        reader_tick(reader_of(n));
    }
    if (t->streams.count > 0 || !list_empty(&t->readers)) keep_ticking(t);
}

struct redis_tail *tail_new(const struct wsbus_host *host, const struct redis_config *config,
                            struct redis_link *commands)
{
    struct redis_tail *t = mem_zero(sizeof *t);

    t->host = host;
    t->config = config;
    t->commands = commands;
    map_init(&t->streams);
    map_init(&t->feeds);
    list_init(&t->readers);
    list_init(&t->later);
    t->tick = host->timer(host, on_tick, t);
    return t;
}

struct tail_figures tail_figures(const struct redis_tail *t)
{
    return (struct tail_figures){
        .feeds = t->feeds.count,
        .streams = t->streams.count,
        .connections = t->reader_count,
    };
}

void tail_stop(struct redis_tail *t)
{
    struct wsbus_answer a = {WSBUS_UNAVAILABLE, "the bridge is stopping"};
    struct map_walk walk = {0};
    struct map_node *n;

    t->host->timer_stop(t->tick);
    t->ticking = true; /* for good */
    while ((n = map_next(&t->feeds, &walk))) {
        struct tail_feed *f = CONTAINER_OF(n, struct tail_feed, node);
        uint64_t token = f->stream->state == STREAM_ASKED ? f->token : 0;
        feed_free(f);
        if (token) t->host->subscribed(t->host, token, &a, NULL);
    }
    walk = (struct map_walk){0};
    while ((n = map_next(&t->streams, &walk))) {
        struct tail_stream *s = CONTAINER_OF(n, struct tail_stream, node);
        stream_hold(s);
        stream_state(s, STREAM_OVER);
        stream_release(s);
    }
    for (struct list *r = t->readers.next; r != &t->readers; r = r->next)
        reader_stop(reader_of(r));
}

void tail_free(struct redis_tail *t)
{
    struct list *n, *next;

    for (n = t->readers.next; n != &t->readers; n = next) {
        next = n->next;
        reader_free(reader_of(n));
    }
    t->host->timer_free(t->tick);
    entry_room_done(&t->room);
    map_done(&t->streams);
    map_done(&t->feeds);
    free(t);
}
