/* A connection that follows up to READER_STREAMS streams.
 *
 *     up -> CHECKING -> WAITING -> [PROVING -> [CHECKING]] -> WAITING -> ...
 *
 * One command about all streams at a time. Entries that do not follow at once on what was delivered
 * are held until PROVING has found the entry before them, or CHECKING has judged by XINFO; both are
 * sent after the reply, so what they find was there when it was read. */
#include "bus/redis_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bus/redis_reply.h"
#include "protocol/cursor.h"

#define READ_BYTES (4 << 20)   /* of a reply, about, if every stream has as much as is asked for */
#define REPLY_BYTES (64 << 20) /* if every stream has one entry */
#define COUNT_MAX 256          /* sizes are only guessed */
#define CAUTION_MAX 8          /* one stream, one entry */
#define BLOCK_SOME_MS 20       /* when others wait for their turn to be asked for */
#define FIELD_COST 64          /* of an entry, beside its fields */
#define QUEUE_BYTES (64 << 20)
#define REST_MS 1000

/* The one place where a reader's state changes. */
static void reader_state(struct reader *r, enum reader_state state)
{
    r->state = state;
    r->tail->host->timer_stop(r->again);
    if (state == READER_RESTING) r->tail->host->timer_set(r->again, REST_MS);
}

static void drop_held(struct tail_stream *s)
{
    for (size_t i = 0; i < s->held_count; i++)
        free(s->held[i]);
    free(s->held);
    s->held = NULL;
    s->held_count = s->held_size = 0;
    list_del(&s->unproven);
}

/* ---- XREAD ---------------------------------------------------------------------------------------- */

/* The arguments of an XREAD of many streams. */
struct read_command {
    int argc;
    const char *argv[8 + 2 * READER_STREAMS];
    size_t lens[8 + 2 * READER_STREAMS];
    char ids[READER_STREAMS][REDIS_ID_MAX];
    char count[24], block[24];
};

static void put(struct read_command *c, const char *text, size_t n)
{
    c->argv[c->argc] = text;
    c->lens[c->argc++] = n;
}

static void put_text(struct read_command *c, const char *text)
{
    put(c, text, strlen(text));
}

static void put_number(struct read_command *c, const char *name, char *room, uint64_t n)
{
    put_text(c, name);
    snprintf(room, 24, "%llu", (unsigned long long)n);
    put_text(c, room);
}

/* COUNT is for each stream: so many that a reply in which all of them have that much stays bounded. */
static uint64_t read_count(const struct reader *r)
{
    size_t sum = 0;
    uint64_t count;

    for (const struct list *n = r->streams.next; n != &r->streams; n = n->next)
        sum += LIST_ITEM(n, struct tail_stream, of_reader)->entry_bytes + FIELD_COST;
    count = (READ_BYTES / (sum ? sum : 1)) >> (2 * r->caution);
    return count < 1 ? 1 : count > COUNT_MAX ? COUNT_MAX : count;
}

/* Less than half of `timeout`, after which the link would ask for a sign of life. */
static uint64_t read_block(const struct reader *r)
{
    uint64_t block = r->tail->config->timeout * 2 / 5;

    if (r->tail->unblock_denied && block > READER_UNWOKEN_MS) return READER_UNWOKEN_MS;
    return block;
}

static int send_all(struct reader *r, struct read_command *c,
                    void (*done)(struct link_call *call, enum call_fate fate,
                                 const struct redisReply *reply))
{
    r->call = (struct link_call){.done = done};
    return link_send(r->link, &r->call, c->argc, c->argv, c->lens);
}

/* ---- what is new ---------------------------------------------------------------------------------- */

static void hold_entry(struct tail_stream *s, const struct redis_entry *e)
{
    if (s->held_count == s->held_size) {
        s->held_size = s->held_size ? s->held_size * 2 : 8;
        s->held = mem_grow(s->held, s->held_size * sizeof *s->held);
    }
    s->held[s->held_count++] = entry_copy(e);
}

/* Delivers what was held; whoever is told may end the stream. */
static void deliver_held(struct tail_stream *s)
{
    struct redis_entry **held = s->held;
    size_t count = s->held_count;

    s->held = NULL;
    s->held_count = s->held_size = 0;
    list_del(&s->unproven);
    stream_hold(s);
    for (size_t i = 0; i < count; i++) {
        if (s->state == STREAM_ON) stream_deliver(s, held[i]);
        free(held[i]);
    }
    free(held);
    stream_release(s);
}

/* The stream's part of a reply. False: not understood. */
static bool take_entries(struct reader *r, struct tail_stream *s, const struct redisReply *list)
{
    struct wsbus_pos next = redis_id_next(s->mark.at);
    bool proven = false, understood = true;

    stream_hold(s);
    for (size_t i = 0; i < list->elements && s->state == STREAM_ON; i++) {
        struct redis_entry e;
        understood = entry_parse(list->element[i], &r->tail->room, &e) == 0 || e.pos.hi || e.pos.lo;
        if (!understood) break;
        if (pos_compare(&e.pos, &s->mark.at) <= 0) continue;
        if (i == 0) proven = pos_compare(&e.pos, &next) == 0;
        if (proven)
            stream_deliver(s, &e);
        else
            hold_entry(s, &e);
    }
    if (s->held_count > 0) list_append(&r->unproven, &s->unproven);
    stream_release(s);
    return understood;
}

/* Of [[name, [entry, ...]], ...] the stream, if it is still one of those that were asked for. */
static struct tail_stream *stream_of(struct reader *r, const struct redisReply *pair,
                                     const struct redisReply **ret_list)
{
    struct tail_stream *s;

    *ret_list = NULL;
    if (pair->type != REDIS_REPLY_ARRAY || pair->elements != 2) return NULL;
    if (pair->element[0]->type != REDIS_REPLY_STRING) return NULL;
    if (pair->element[1]->type != REDIS_REPLY_ARRAY) return NULL;
    *ret_list = pair->element[1];
    s = tail_find(r->tail, span_of(pair->element[0]->str, pair->element[0]->len));
    return s && s->state == STREAM_ON && s->reader == r && s->asked ? s : NULL;
}

/* ---- checking: XINFO ------------------------------------------------------------------------------ */

static void judge(struct tail_stream *s, const struct redis_info *i)
{
    struct wsbus_pos few[16], *held = few;
    struct redis_mark beyond;
    enum redis_verdict verdict;

    if (s->held_count > sizeof few / sizeof few[0]) held = mem_alloc(s->held_count * sizeof *held);
    for (size_t k = 0; k < s->held_count; k++)
        held[k] = s->held[k]->pos;
    if (i->entry_bytes > s->entry_bytes) s->entry_bytes = i->entry_bytes;
    verdict = info_judge(i, &s->mark, held, s->held_count, &beyond);
    if (held != few) free(held);
    if (verdict == VERDICT_ANEW) {
        stream_end(s, WSBUS_REFUSED, "the stream was deleted and created anew");
        return;
    }
    if (verdict == VERDICT_TRIMMED) stream_gap(s, &beyond);
    if (s->state == STREAM_ON) deliver_held(s);
}

static void end_with_words(struct tail_stream *s, const struct redisReply *error)
{
    char words[REPLY_WORDS];

    stream_end(s, WSBUS_REFUSED, reply_words(error, words));
}

/* One of the calls about single streams has come back. */
static void call_is_back(struct reader *r)
{
    if (--r->checks > 0 || !link_ready(r->link)) return;
    if (r->state == READER_CHECKING || (r->state == READER_PROBING && r->culprit))
        reader_read(r);
    else if (r->state == READER_PROBING)
        reader_state(r, READER_RESTING);
}

static void on_check(struct stream_call *c, const struct redisReply *reply)
{
    struct tail_stream *s = c->stream;
    struct redis_info info;

    if (s->state == STREAM_ON && s->reader == c->reader) {
        if (reply && info_parse(reply, &info) == 0)
            judge(s, &info);
        else if (reply && reply->type == REDIS_REPLY_ERROR && reply_status(reply) == WSBUS_REFUSED)
            end_with_words(s, reply);
        else
            drop_held(s); /* it will be read again */
    }
    call_is_back(c->reader);
}

static void check(struct reader *r, struct tail_stream *s)
{
    if (stream_ask(stream_call_new(s, r, on_check), r->link) == 0)
        r->checks++;
    else
        drop_held(s);
}

/* ---- proving: is the entry before the new ones still there? ----------------------------------------- */

static void check_unproven(struct reader *r)
{
    struct list turn, *n;

    reader_state(r, READER_CHECKING);
    list_init(&turn);
    list_move(&turn, &r->unproven);
    while ((n = list_pop(&turn))) {
        list_append(&r->unproven, n);
        check(r, LIST_ITEM(n, struct tail_stream, unproven));
    }
    if (r->checks == 0) reader_read(r);
}

static void reader_refused(struct reader *r, const struct redisReply *error);

static void on_proof(struct link_call *call, enum call_fate fate, const struct redisReply *reply)
{
    struct reader *r = CONTAINER_OF(call, struct reader, call);

    if (fate != CALL_ANSWERED) return; /* `down` comes next */
    if (reply->type == REDIS_REPLY_ERROR) {
        reader_refused(r, reply);
        return;
    }
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const struct redisReply *list;
        struct tail_stream *s = stream_of(r, reply->element[i], &list);
        struct wsbus_pos pos;
        if (!s || s->held_count == 0 || list->elements == 0) continue;
        if (entry_pos(list->element[0], &pos) == 0 && pos_compare(&pos, &s->mark.at) == 0)
            deliver_held(s);
    }
    check_unproven(r);
}

static void reader_prove(struct reader *r)
{
    struct read_command *c = mem_alloc(sizeof *c);
    size_t count = 0;

    c->argc = 0;
    put_text(c, "XREAD");
    put_number(c, "COUNT", c->count, 1);
    put_text(c, "STREAMS");
    for (struct list *n = r->unproven.next; n != &r->unproven; n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, unproven);
        put(c, s->name.p, s->name.n);
    }
    for (struct list *n = r->unproven.next; n != &r->unproven; n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, unproven);
        struct wsbus_pos before = pos_before(s->mark.at);
        put_text(c, redis_id_text(&before, c->ids[count++]));
    }
    reader_state(r, READER_PROVING);
    if (send_all(r, c, on_proof) < 0) check_unproven(r);
    free(c);
}

/* ---- refused: who is to blame? ---------------------------------------------------------------------- */

static void on_probe(struct stream_call *c, const struct redisReply *reply)
{
    struct tail_stream *s = c->stream;

    if (s->state == STREAM_ON && s->reader == c->reader && reply &&
        reply->type == REDIS_REPLY_ERROR && reply_status(reply) == WSBUS_REFUSED) {
        c->reader->culprit = true;
        end_with_words(s, reply);
    }
    call_is_back(c->reader);
}

/* An error names no stream: each is read by itself. */
static void probe_all(struct reader *r)
{
    reader_state(r, READER_PROBING);
    r->culprit = false;
    for (struct list *n = r->streams.next; n != &r->streams; n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, of_reader);
        char id[REDIS_ID_MAX];
        const char *argv[] = {"XREAD",   "COUNT",   "1",
                              "STREAMS", s->name.p, redis_id_text(&s->mark.at, id)};
        const size_t lens[] = {5, 5, 1, 7, s->name.n, strlen(id)};
        if (stream_send(stream_call_new(s, r, on_probe), r->link, 6, argv, lens) == 0) r->checks++;
    }
    if (r->checks == 0) reader_state(r, READER_RESTING);
}

static void drop_all_held(struct reader *r)
{
    while (!list_empty(&r->unproven))
        drop_held(LIST_ITEM(r->unproven.next, struct tail_stream, unproven));
}

static void reader_refused(struct reader *r, const struct redisReply *error)
{
    const struct wsbus_host *host = r->tail->host;

    drop_all_held(r);
    if (reply_status(error) == WSBUS_REFUSED) {
        probe_all(r);
        return;
    }
    host->log(host, WSBUS_LOG_WARN, "streams cannot be read, trying again: %.*s", (int)error->len,
              error->str);
    reader_state(r, READER_RESTING);
}

/* ---- the turn --------------------------------------------------------------------------------------- */

static void on_read(struct link_call *call, enum call_fate fate, const struct redisReply *reply)
{
    struct reader *r = CONTAINER_OF(call, struct reader, call);
    bool understood = true;

    if (fate != CALL_ANSWERED) return; /* `down` comes next */
    if (reply->type == REDIS_REPLY_ERROR) {
        reader_refused(r, reply);
        return;
    }
    if (r->caution > 0) r->caution--;
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const struct redisReply *list;
        struct tail_stream *s = stream_of(r, reply->element[i], &list);
        if (s) understood = take_entries(r, s, list) && understood;
        if (!list) understood = false;
    }
    if (!understood)
        link_restart(r->link, "the answer to XREAD was not understood");
    else if (list_empty(&r->unproven))
        reader_read(r);
    else
        reader_prove(r);
}

/* Who is asked for this time: all, or so many from the front that one entry of each is not too much
 * for a reply. The others come next. */
static size_t choose(struct reader *r)
{
    size_t most = READER_STREAMS >> r->caution, count = 0, bytes = 0;

    for (struct list *n = r->streams.next; n != &r->streams; n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, of_reader);
        s->asked = count == 0 || (count < most && bytes + s->entry_bytes <= REPLY_BYTES);
        most = s->asked ? most : 0;
        bytes += s->entry_bytes;
        count += s->asked;
    }
    return count;
}

static void put_chosen(struct reader *r, struct read_command *c, size_t chosen)
{
    struct list *n = r->streams.next;

    for (size_t i = 0; i < chosen; i++, n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, of_reader);
        put(c, s->name.p, s->name.n);
    }
    n = r->streams.next;
    for (size_t i = 0; i < chosen; i++, n = n->next) {
        struct tail_stream *s = LIST_ITEM(n, struct tail_stream, of_reader);
        put_text(c, redis_id_text(&s->mark.at, c->ids[i]));
    }
    for (size_t i = 0; chosen < r->count && i < chosen; i++) {
        n = list_pop(&r->streams);
        list_append(&r->streams, n);
    }
}

void reader_read(struct reader *r)
{
    struct read_command *c;
    size_t chosen = choose(r);

    if (chosen == 0) {
        reader_state(r, READER_IDLE);
        return;
    }
    c = mem_alloc(sizeof *c);
    c->argc = 0;
    put_text(c, "XREAD");
    put_number(c, "COUNT", c->count, read_count(r));
    put_number(c, "BLOCK", c->block, chosen < r->count ? BLOCK_SOME_MS : read_block(r));
    put_text(c, "STREAMS");
    put_chosen(r, c, chosen);
    r->stale = false;
    r->wake_after = READER_WAKE_MS;
    r->serial++;
    reader_state(r, READER_WAITING);
    if (send_all(r, c, on_read) < 0) reader_state(r, READER_RESTING);
    free(c);
}

/* ---- the connection ----------------------------------------------------------------------------------- */

static void on_again(void *arg)
{
    struct reader *r = arg;

    if (r->state == READER_RESTING)
        reader_read(r);
    else if (r->state == READER_WAITING && r->stale)
        reader_wake(r);
}

/* Before anything is read again: is each still the stream that it was? And may it be woken? */
static void on_up(void *owner)
{
    struct reader *r = owner;

    reader_rouse(r);
    reader_state(r, READER_CHECKING);
    for (struct list *n = r->streams.next; n != &r->streams; n = n->next)
        check(r, LIST_ITEM(n, struct tail_stream, of_reader));
    if (r->checks == 0) reader_read(r);
}

static void on_down(void *owner, const char *words)
{
    struct reader *r = owner;
    const struct wsbus_host *host = r->tail->host;

    /* It may be our own doing: a reply that was too large. */
    if (r->state == READER_WAITING && r->caution < CAUTION_MAX) r->caution++;
    if (r->state != READER_DOWN)
        host->log(host, WSBUS_LOG_WARN, "streams are not followed for now: %s", words);
    reader_state(r, READER_DOWN);
    drop_all_held(r);
}

static const struct link_ops reader_ops = {.up = on_up, .down = on_down};

/* ---- its streams -------------------------------------------------------------------------------------- */

static struct reader *reader_new(struct redis_tail *t)
{
    struct reader *r = mem_zero(sizeof *r);
    struct link_spec spec = {
        .host = t->host,
        .config = t->config,
        .name = "streams",
        .ops = &reader_ops,
        .owner = r,
        .queue_bytes = QUEUE_BYTES,
        .want_id = true,
    };

    r->tail = t;
    list_init(&r->streams);
    list_init(&r->unproven);
    r->link = link_new(&spec);
    r->again = t->host->timer(t->host, on_again, r);
    list_append(&t->readers, &r->of_tail);
    t->reader_count++;
    link_start(r->link);
    return r;
}

struct reader *reader_for(struct redis_tail *t)
{
    for (struct list *n = t->readers.next; n != &t->readers; n = n->next)
        if (reader_of(n)->count < READER_STREAMS) return reader_of(n);
    return t->reader_count < t->config->stream_connections ? reader_new(t) : NULL;
}

void reader_add(struct reader *r, struct tail_stream *s)
{
    s->reader = r;
    s->asked = false;
    list_append(&r->streams, &s->of_reader);
    r->count++;
    r->stale = true;
    if (r->state == READER_IDLE)
        reader_read(r);
    else if (r->state == READER_WAITING)
        reader_wake(r);
}

void reader_remove(struct tail_stream *s)
{
    drop_held(s);
    list_del(&s->of_reader);
    s->reader->count--;
    s->reader = NULL;
}

/* Is a stream of which nothing was heard still the one that it was? What has come since the question
 * was sent does not count. */
static void on_look(struct stream_call *c, const struct redisReply *reply)
{
    struct tail_stream *s = c->stream;
    struct redis_mark beyond;
    struct redis_info info;

    if (s->state != STREAM_ON || !reply || info_parse(reply, &info) < 0) return;
    if (info_judge(&info, &c->mark, NULL, 0, &beyond) == VERDICT_ANEW)
        stream_end(s, WSBUS_REFUSED, "the stream was deleted and created anew");
}

static void look_at_one(struct reader *r)
{
    struct list *n = list_pop(&r->streams);
    struct tail_stream *s = LIST_ITEM(n, struct tail_stream, of_reader);
    bool quiet = s->quiet;

    list_append(&r->streams, n);
    s->quiet = true;
    if (quiet && link_ready(r->tail->commands))
        (void)stream_ask(stream_call_new(s, NULL, on_look), r->tail->commands);
}

void reader_tick(struct reader *r)
{
    if (r->count > 0) {
        look_at_one(r);
        return;
    }
    reader_stop(r);
    reader_free(r);
}

void reader_stop(struct reader *r)
{
    r->tail->host->timer_stop(r->again);
    reader_unrouse(r);
    link_stop(r->link);
}

void reader_free(struct reader *r)
{
    list_del(&r->of_tail);
    r->tail->reader_count--;
    r->tail->host->timer_free(r->again);
    link_free(r->link);
    free(r);
}
