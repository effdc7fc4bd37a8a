#include "bus/redis_link.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "bus/redis_dial.h"
#include "bus/redis_reply.h"
#include "bus/redis_wire.h"

#define BATCH 65536         /* bytes of commands that are written at once */
#define READ_TURN 65536     /* bytes for each wake-up, so that others get their turn */
#define READ_PATIENT 8192   /* the same where what is read can wait */
#define WRITE_TURN 8        /* batches for each wake-up */
#define REPLY_MAX (1 << 29) /* bytes of one reply; Redis's own limit for a value */
#define BACKOFF_FIRST 250   /* ms */
#define BACKOFF_MAX 5000    /* ms; a connection that lasted longer was a good one */
#define BACKOFF_AT_ONCE 50  /* ms at most before the first attempt after a good one */

enum greeting_step { GREET_AUTH, GREET_SELECT, GREET_NAME, GREET_ID, GREET_PING, GREETINGS };

/* A command of the link itself. */
struct own_call {
    struct link_call call;
    struct redis_link *link;
};

struct redis_link {
    struct link_spec spec;
    enum link_state state;
    struct redis_dial *dial;
    struct redis_wire wire;
    struct wsbus_watch *watch;
    unsigned watched;            /* events */
    struct reply_reader *reader; /* stays until the next connection: a reply of it may be lent */
    struct wsbus_timer *alarm;   /* of the state: attempt, life, next attempt */
    struct wsbus_timer *kick;    /* what must be done from the loop and soon */
    struct list waiting;         /* calls: not written */
    struct list kept;            /* those before, while ops->up() is called */
    struct list written;         /* not answered, in order */
    struct list unsent, lost;    /* to be settled */
    size_t queued;
    struct buf out;
    size_t out_done;     /* bytes of `out` that the socket has taken */
    bool blocked;        /* the socket would take no more */
    bool more;           /* bytes may wait inside TLS, where no poll sees them */
    bool reading_writes; /* TLS must write before it can read */
    uint64_t heard;      /* ticks of the last sign of life */
    uint64_t ready_at;
    unsigned failures; /* since the last good connection */
    struct own_call greeting[GREETINGS], ping;
    uint64_t pinged; /* ticks of a PING, also a late one, that has half of `timeout`; 0: none */
    long long client_id;
    struct link_figures figures;
    char doom[256];  /* why the connection is to be given up; "": it is not */
    char words[512]; /* of the last failure; "": none since it was ready */
};

static const char *where(const struct redis_link *l)
{
    return l->spec.config->where;
}

static bool open_state(const struct redis_link *l)
{
    return l->state == LINK_GREETING || l->state == LINK_READY;
}

static uint64_t ticks(const struct redis_link *l)
{
    return l->spec.host->ticks(l->spec.host);
}

static void set_alarm(struct redis_link *l, uint64_t after_ms)
{
    l->spec.host->timer_set(l->alarm, after_ms);
}

static void kick(struct redis_link *l)
{
    l->spec.host->timer_set(l->kick, 0);
}

/* ---- calls -------------------------------------------------------------------------------- */

/* Called with the call on no list. */
static void settle(struct redis_link *l, struct link_call *c, enum call_fate fate,
                   const struct redisReply *reply)
{
    l->queued -= c->len;
    redisFreeCommand(c->text);
    c->text = NULL;
    c->done(c, fate, reply);
}

/* A callback may add to these lists. */
static void settle_lists(struct redis_link *l)
{
    struct list *n;
    while ((n = list_pop(&l->lost)))
        settle(l, LIST_ITEM(n, struct link_call, node), CALL_LOST, NULL);
    while ((n = list_pop(&l->unsent)))
        settle(l, LIST_ITEM(n, struct link_call, node), CALL_UNSENT, NULL);
}

/* After a loss: what is kept stays in `waiting`. */
static void sort_calls(struct redis_link *l)
{
    struct list turn;
    list_init(&turn);
    list_move(&l->lost, &l->written);
    list_move(&turn, &l->kept);
    list_move(&turn, &l->waiting);
    struct list *n;
    while ((n = list_pop(&turn))) {
        bool keep = LIST_ITEM(n, struct link_call, node)->keep && l->state != LINK_STOPPED;
        list_append(keep ? &l->waiting : &l->unsent, n);
    }
}

static void format_call(struct link_call *c, int argc, const char *const *argv, const size_t *len)
{
    /* hiredis' prototype lacks the const that it keeps to. */
    const char **args = (const char **)(uintptr_t)argv;
    char *text = NULL;
    long long n = redisFormatCommandArgv(&text, argc, args, len);
    if (n < 0 || !text) abort(); /* out of memory */
    c->text = text;
    c->len = (size_t)n;
    c->sent = false;
    if (c->replies == 0) c->replies = 1;
}

static void watch_for(struct redis_link *l, unsigned events)
{
    if (l->watched == events) return;
    l->watched = events;
    l->spec.host->rewatch(l->watch, events);
}

static void want_write(struct redis_link *l)
{
    watch_for(l, WSBUS_READABLE | WSBUS_WRITABLE);
}

int link_send(struct redis_link *l, struct link_call *c, int argc, const char *const *argv,
              const size_t *argv_len)
{
    format_call(c, argc, argv, argv_len);
    if (c->len > l->spec.queue_bytes || l->queued > l->spec.queue_bytes - c->len) {
        redisFreeCommand(c->text);
        c->text = NULL;
        return -1;
    }
    l->queued += c->len;
    l->figures.commands++;
    bool wait = l->state == LINK_READY || (c->keep && l->state != LINK_STOPPED);
    list_append(wait ? &l->waiting : &l->unsent, &c->node);
    if (l->state == LINK_READY)
        want_write(l);
    else if (!wait)
        kick(l);
    return 0;
}

bool link_cancel(struct redis_link *l, struct link_call *c)
{
    if (c->sent || !c->text) return false;
    list_del(&c->node);
    l->queued -= c->len;
    redisFreeCommand(c->text);
    c->text = NULL;
    return true;
}

size_t link_queued(const struct redis_link *l)
{
    return l->queued;
}

/* ---- loss --------------------------------------------------------------------------------- */

/* Everything of the present attempt or connection; no callback. */
static void tear_down(struct redis_link *l, enum link_state next)
{
    l->state = next;
    dial_stop(l->dial);
    if (l->watch) l->spec.host->unwatch(l->watch);
    l->watch = NULL;
    l->watched = 0;
    redis_wire_close(&l->wire);
    buf_shrink(&l->out, BATCH);
    l->out_done = 0;
    l->blocked = l->more = false;
    l->client_id = 0;
    l->doom[0] = '\0';
    l->spec.host->timer_stop(l->alarm);
}

/* Half of it is sure, the other half is chance, so that a thousand bridges do not come together. */
static uint64_t next_pause(struct redis_link *l)
{
    unsigned n = l->failures++;
    if (n == 0) return random_u64() % BACKOFF_AT_ONCE;
    uint64_t pause = n > 5 ? BACKOFF_MAX : (uint64_t)BACKOFF_FIRST << (n - 1);
    if (pause > BACKOFF_MAX) pause = BACKOFF_MAX;
    return pause / 2 + random_u64() % (pause / 2);
}

/* `words` may be l->doom. */
static void fail(struct redis_link *l, const char *words)
{
    char text[sizeof(l->words)];
    snprintf(text, sizeof(text), "%s", words);
    bool was_ready = l->state == LINK_READY;
    if (was_ready && ticks(l) - l->ready_at >= BACKOFF_MAX) l->failures = 0;
    tear_down(l, LINK_WAITING);
    if (!was_ready && strcmp(l->words, text) != 0)
        l->spec.host->log(l->spec.host, WSBUS_LOG_WARN, "%s: %s", l->spec.name, text);
    memcpy(l->words, text, sizeof(text));
    set_alarm(l, next_pause(l));
    sort_calls(l);
    settle_lists(l);
    if (l->state != LINK_STOPPED) l->spec.ops->down(l->spec.owner, text);
}

__attribute__((format(printf, 2, 3))) static void doom(struct redis_link *l, const char *fmt, ...)
{
    if (l->doom[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(l->doom, sizeof(l->doom), fmt, args);
    va_end(args);
}

void link_restart(struct redis_link *l, const char *why)
{
    if (!open_state(l)) return;
    doom(l, "%s", why);
    kick(l);
}

/* ---- greeting ----------------------------------------------------------------------------- */

static void become_ready(struct redis_link *l)
{
    l->state = LINK_READY;
    l->ready_at = ticks(l);
    l->figures.connections++;
    if (l->words[0])
        l->spec.host->log(l->spec.host, WSBUS_LOG_INFO, "%s: connected to %s", l->spec.name,
                          where(l));
    l->words[0] = '\0';
    set_alarm(l, l->spec.config->timeout / 2);
    list_move(&l->kept, &l->waiting);
    l->spec.ops->up(l->spec.owner);
    list_move(&l->waiting, &l->kept);
    if (l->state == LINK_READY && !list_empty(&l->waiting)) want_write(l);
}

static void greeted(struct link_call *c, enum call_fate fate, const struct redisReply *reply)
{
    struct own_call *own = CONTAINER_OF(c, struct own_call, call);
    struct redis_link *l = own->link;
    if (fate != CALL_ANSWERED || l->doom[0]) return;
    enum greeting_step step = (enum greeting_step)(own - l->greeting);
    bool needed = step == GREET_AUTH || step == GREET_SELECT;
    if (reply->type == REDIS_REPLY_ERROR && (needed || reply_is_hopeless(reply)))
        doom(l, "%s refuses: %s", where(l), reply->str);
    else if (step == GREET_ID && reply->type == REDIS_REPLY_INTEGER)
        l->client_id = reply->integer;
    else if (step == GREET_PING)
        become_ready(l);
}

/* Straight into the buffer: nothing else is written before it was answered. */
static void greet_with(struct redis_link *l, enum greeting_step step, int argc,
                       const char *const *argv)
{
    struct own_call *own = &l->greeting[step];
    size_t len[4] = {0};
    for (int i = 0; i < argc; i++)
        len[i] = strlen(argv[i]);
    own->link = l;
    own->call = (struct link_call){.done = greeted};
    format_call(&own->call, argc, argv, len);
    own->call.sent = true;
    buf_append(&l->out, own->call.text, own->call.len);
    l->queued += own->call.len;
    list_append(&l->written, &own->call.node);
}

/* PING is last: it finds out about NOAUTH and LOADING where nothing before has. */
static void greet(struct redis_link *l)
{
    const struct redis_config *c = l->spec.config;
    char name[64], database[16];
    snprintf(name, sizeof(name), "wsbus-%s", l->spec.name);
    snprintf(database, sizeof(database), "%u", c->database);
    l->state = LINK_GREETING;
    set_alarm(l, c->connect_timeout);
    l->heard = ticks(l);
    l->pinged = 0;
    reply_reader_free(l->reader);
    l->reader = reply_reader_new(REPLY_MAX);
    if (c->password && c->user)
        greet_with(l, GREET_AUTH, 3, (const char *[]){"AUTH", c->user, c->password});
    else if (c->password)
        greet_with(l, GREET_AUTH, 2, (const char *[]){"AUTH", c->password});
    if (c->database) greet_with(l, GREET_SELECT, 2, (const char *[]){"SELECT", database});
    greet_with(l, GREET_NAME, 3, (const char *[]){"CLIENT", "SETNAME", name});
    if (l->spec.want_id) greet_with(l, GREET_ID, 2, (const char *[]){"CLIENT", "ID"});
    greet_with(l, GREET_PING, 1, (const char *[]){"PING"});
    want_write(l);
}

/* ---- life signs --------------------------------------------------------------------------- */

static void ponged(struct link_call *c, enum call_fate fate, const struct redisReply *reply)
{
    (void)fate;
    (void)reply;
    CONTAINER_OF(c, struct own_call, call)->link->pinged = 0;
}

static void send_ping(struct redis_link *l)
{
    l->pinged = ticks(l);
    l->ping = (struct own_call){.call = {.done = ponged}, .link = l};
    format_call(&l->ping.call, 1, (const char *[]){"PING"}, (const size_t[]){4});
    l->queued += l->ping.call.len;
    list_append(&l->waiting, &l->ping.call.node);
    want_write(l);
}

static void check_life(struct redis_link *l)
{
    uint64_t now = ticks(l), quiet = now - l->heard, timeout = l->spec.config->timeout;
    if (quiet >= timeout / 2 && !l->pinged) send_ping(l);
    if (quiet >= timeout && now - l->pinged >= timeout / 2) {
        char words[256];
        snprintf(words, sizeof(words), "%s has given no sign of life for %" PRIu64 " ms", where(l),
                 quiet);
        fail(l, words);
        return;
    }
    uint64_t next = quiet < timeout / 2 ? timeout / 2 : timeout;
    set_alarm(l, quiet < timeout ? next - quiet : l->pinged + timeout / 2 - now);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void answer(struct redis_link *l, const struct redisReply *r)
{
    bool error = r->type == REDIS_REPLY_ERROR;
    if (l->spec.ops->push && l->state == LINK_READY && !error &&
        l->spec.ops->push(l->spec.owner, r))
        return;
    if (!open_state(l)) return;
    if (list_empty(&l->written)) {
        doom(l, "%s sends what nobody asked for%s%s", where(l), error ? ": " : "",
             error ? r->str : "");
        return;
    }
    struct link_call *c = LIST_ITEM(l->written.next, struct link_call, node);
    if (!error && --c->replies > 0) return;
    list_del(&c->node);
    settle(l, c, CALL_ANSWERED, r);
}

/* All complete replies. False: the connection is no longer open, or is doomed. */
static bool take_replies(struct redis_link *l)
{
    const struct redisReply *r = NULL;
    int rc = 0;
    while (open_state(l) && !l->doom[0] && (rc = reply_reader_next(l->reader, &r)) > 0)
        answer(l, r);
    if (rc < 0)
        doom(l, "%s does not speak the protocol of Redis: %s", where(l),
             reply_reader_words(l->reader));
    if (l->spec.ops->pushed) l->spec.ops->pushed(l->spec.owner);
    return open_state(l) && !l->doom[0];
}

static void receive(struct redis_link *l)
{
    static _Thread_local char piece[READ_TURN];
    const size_t size = l->spec.patient ? READ_PATIENT : sizeof(piece);
    l->more = l->reading_writes = false;
    for (size_t got = 0; got < size;) {
        size_t n = size;
        enum wire_step step = redis_wire_read(&l->wire, piece, &n);
        if (step == WIRE_FAILED)
            doom(l, "%s: %s%s", where(l), l->wire.words,
                 l->state == LINK_GREETING && !l->wire.tls ? " (is it rediss://, with TLS?)" : "");
        l->reading_writes = step == WIRE_WANTS_WRITE;
        if (l->reading_writes) want_write(l);
        if (step != WIRE_OK) return;
        l->heard = ticks(l);
        if (reply_reader_feed(l->reader, piece, n) < 0)
            doom(l, "%s: %s", where(l), reply_reader_words(l->reader));
        if (l->doom[0] || !take_replies(l) || (n < size && !l->wire.tls)) return;
        got += n;
    }
    l->more = l->wire.tls != NULL;
    if (l->more) kick(l);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* The next batch, if the last one has gone. False: there is nothing to write. */
static bool fill(struct redis_link *l)
{
    if (l->out_done < l->out.n) return true;
    buf_shrink(&l->out, BATCH * 2);
    l->out_done = 0;
    while (l->state == LINK_READY && !list_empty(&l->waiting)) {
        struct link_call *c = LIST_ITEM(l->waiting.next, struct link_call, node);
        if (l->out.n > 0 && l->out.n + c->len > BATCH) break;
        list_del(&c->node);
        list_append(&l->written, &c->node);
        buf_append(&l->out, c->text, c->len);
        redisFreeCommand(c->text);
        c->text = NULL;
        c->sent = true;
    }
    return l->out.n > 0;
}

static void transmit(struct redis_link *l)
{
    for (unsigned turn = 0; turn < WRITE_TURN && fill(l); turn++) {
        size_t n = l->out.n - l->out_done;
        enum wire_step step = redis_wire_write(&l->wire, l->out.p + l->out_done, &n);
        if (step == WIRE_FAILED) {
            doom(l, "%s: %s", where(l), l->wire.words);
            return;
        }
        if (step != WIRE_OK) {
            l->blocked = true;
            if (step == WIRE_WANTS_READ) watch_for(l, WSBUS_READABLE);
            return;
        }
        /* Its system has taken more only because the server has read: a slow line is no death. */
        if (l->blocked) l->heard = ticks(l);
        l->blocked = false;
        l->out_done += n;
    }
    if (!fill(l) && !l->reading_writes) watch_for(l, WSBUS_READABLE);
}

/* ---- the state ---------------------------------------------------------------------------- */

static void on_watch(void *arg, unsigned events)
{
    struct redis_link *l = arg;
    /* TLS may have to write in order to read, and the reverse. */
    bool both = l->wire.tls != NULL;
    if (both || events & WSBUS_READABLE) receive(l);
    if (open_state(l) && !l->doom[0] && (both || events & WSBUS_WRITABLE)) transmit(l);
    if (open_state(l) && l->doom[0]) fail(l, l->doom);
}

static void dialled(void *arg, const struct redis_wire *wire, const char *words)
{
    struct redis_link *l = arg;
    if (!wire) {
        fail(l, words);
        return;
    }
    l->wire = *wire;
    l->watched = WSBUS_READABLE;
    l->watch = l->spec.host->watch(l->spec.host, l->wire.fd, l->watched, on_watch, l);
    if (l->watch)
        greet(l);
    else
        fail(l, "the socket cannot be watched");
}

static void on_alarm(void *arg)
{
    struct redis_link *l = arg;
    switch (l->state) {
    case LINK_STOPPED:
    case LINK_CONNECTING: break;
    case LINK_WAITING:
        l->state = LINK_CONNECTING;
        dial_start(l->dial);
        break;
    case LINK_GREETING:
        doom(l, "%s does not answer the login within %" PRIu64 " ms", where(l),
             l->spec.config->connect_timeout);
        fail(l, l->doom);
        break;
    case LINK_READY: check_life(l); break;
    }
}

static void on_kick(void *arg)
{
    struct redis_link *l = arg;
    settle_lists(l);
    if (open_state(l) && l->more && !l->doom[0]) receive(l);
    if (open_state(l) && l->doom[0]) fail(l, l->doom);
}

/* ---- life cycle --------------------------------------------------------------------------- */

struct redis_link *link_new(const struct link_spec *spec)
{
    struct redis_link *l = mem_zero(sizeof(*l));
    l->spec = *spec;
    l->alarm = spec->host->timer(spec->host, on_alarm, l);
    l->kick = spec->host->timer(spec->host, on_kick, l);
    struct dial_spec dial = {.host = spec->host, .config = spec->config, .done = dialled, .arg = l};
    l->dial = dial_new(&dial);
    redis_wire_init(&l->wire);
    buf_init(&l->out, BUF_UNLIMITED);
    list_init(&l->waiting);
    list_init(&l->kept);
    list_init(&l->written);
    list_init(&l->unsent);
    list_init(&l->lost);
    return l;
}

void link_free(struct redis_link *l)
{
    if (!l) return;
    l->spec.host->timer_free(l->alarm);
    l->spec.host->timer_free(l->kick);
    dial_free(l->dial);
    reply_reader_free(l->reader);
    buf_free(&l->out);
    free(l);
}

/* The first attempt is made from the loop, because it may fail at once. */
void link_start(struct redis_link *l)
{
    if (l->state != LINK_STOPPED) return;
    l->state = LINK_WAITING;
    set_alarm(l, 0);
}

void link_hasten(struct redis_link *l)
{
    if (l->state == LINK_WAITING) set_alarm(l, random_u64() % BACKOFF_AT_ONCE);
}

void link_stop(struct redis_link *l)
{
    tear_down(l, LINK_STOPPED);
    sort_calls(l);
    settle_lists(l);
}

enum link_state link_state(const struct redis_link *l)
{
    return l->state;
}

bool link_ready(const struct redis_link *l)
{
    return l->state == LINK_READY;
}

long long link_client_id(const struct redis_link *l)
{
    return l->client_id;
}

struct link_figures link_figures(const struct redis_link *l)
{
    return l->figures;
}
