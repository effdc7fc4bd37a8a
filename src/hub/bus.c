#include "hub/bus.h"

#include <stdlib.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/pass.h"
#include "protocol/cursor.h"

/* ---- numbers, mail, pending requests -------------------------------------------------------- */

uint64_t bus_number(struct hub_bus *b)
{
    return ++b->last_number;
}

void *bus_instance(struct hub_bus *b)
{
    return bus_thread_instance(b->thread);
}

struct timers *bus_timers(struct hub_bus *b)
{
    return bus_thread_timers(b->thread);
}

void bus_timer(struct hub_bus *b, struct timer *t, uint64_t after)
{
    timer_set(bus_timers(b), t, clock_ticks() + after);
}

void bus_mail(struct hub_bus *b, unsigned worker, struct inbox_item *item)
{
    inbox_force(b->workers[worker], item);
}

struct pending *pending_new(struct hub_bus *b, enum pending_kind kind)
{
    struct pending *p = mem_zero(sizeof *p);

    p->token = bus_number(b);
    p->kind = kind;
    list_init(&p->line);
    map_insert(&b->tokens, &p->node, hash_u64(p->token));
    return p;
}

struct pending *pending_take(struct hub_bus *b, uint64_t token)
{
    struct map_node *n = map_find(&b->tokens, hash_u64(token));

    for (; n; n = map_again(n)) {
        struct pending *p = CONTAINER_OF(n, struct pending, node);
        if (p->token != token) continue;
        map_remove(&b->tokens, &p->node);
        if (p->follower) p->follower->pending = NULL;
        return p;
    }
    return NULL;
}

void pending_free(struct hub_bus *b, struct pending *p)
{
    if (!p) return;
    reads_drop(b, p);
    piece_free(p->piece);
    cursor_free(p->until);
    free(p);
}

/* ---- what the backend is asked ---------------------------------------------------------------- */

/* An answer that comes from inside the call may free whoever asked, and what was lent must outlive
 * it: each of these lends copies. */

static char *topic_copy(struct wsbus_topic *topic)
{
    char *name = mem_dup(topic->name, topic->name_len);

    topic->name = name;
    return name;
}

void bus_subscribe(struct hub_bus *b, uint64_t token, struct wsbus_topic topic)
{
    char *name = topic_copy(&topic);

    b->backend->subscribe(bus_instance(b), token, &topic);
    free(name);
}

void bus_locate(struct hub_bus *b, uint64_t token, struct wsbus_locate l)
{
    char *name = topic_copy(&l.topic);
    char *key = l.key ? mem_dup(l.key, l.key_len) : NULL;
    struct wsbus_cursor *cursor = cursor_copy(l.cursor), *until = cursor_copy(l.until);

    l.key = key;
    l.cursor = cursor;
    l.until = until;
    b->backend->locate(bus_instance(b), token, &l);
    cursor_free(cursor);
    cursor_free(until);
    free(key);
    free(name);
}

void bus_read(struct hub_bus *b, uint64_t token, struct wsbus_read r)
{
    char *name = topic_copy(&r.topic);
    char *key = r.key ? mem_dup(r.key, r.key_len) : NULL;
    struct wsbus_cursor *from = cursor_copy(r.from), *until = cursor_copy(r.until);

    r.key = key;
    r.from = from;
    r.until = until;
    b->backend->read(bus_instance(b), token, &r);
    cursor_free(from);
    cursor_free(until);
    free(key);
    free(name);
}

/* The end of a log need not be a message: where the read has come to its end, that is where it
 * is. Nothing goes back, unless the bus says so with a loss. */
void chunk_advance(struct wsbus_cursor **at, const struct wsbus_chunk *c,
                   const struct wsbus_cursor *until)
{
    for (uint32_t i = 0; i < c->cursor->count; i++) {
        if (c->lost)
            cursor_put(at, &c->cursor->pos[i]);
        else
            cursor_advance(at, &c->cursor->pos[i]);
    }
    for (uint32_t i = 0; c->end && i < until->count; i++)
        cursor_advance(at, &until->pos[i]);
}

struct wsbus_cursor *lost_end(const struct wsbus_cursor *after, const struct wsbus_cursor *until)
{
    struct wsbus_cursor *end = cursor_copy(after);

    for (uint32_t i = 0; i < until->count; i++)
        cursor_put(&end, &until->pos[i]);
    return end;
}

const char *lost_reason(enum wsbus_lost lost)
{
    if (lost == WSBUS_LOST_EXPIRED) return "expired";
    return lost == WSBUS_LOST_EPOCH ? "epoch" : NULL;
}

void bus_count_gaps(struct hub_bus *b, const char *reason, uint64_t n)
{
    static const struct {
        const char *reason;
        enum counter counter;
    } rows[] = {
        {"slow", COUNTER_GAPS_SLOW},
        {"bus", COUNTER_GAPS_BUS},
        {"expired", COUNTER_GAPS_EXPIRED},
        {"limit", COUNTER_GAPS_LIMIT},
    };
    enum counter which = COUNTER_GAPS_OTHER;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].reason, reason) == 0) which = rows[i].counter;
    counter_add(&b->counters, which, n);
}

/* ---- what the backend says ------------------------------------------------------------------- */

static struct hub_bus *of_host(const struct wsbus_host *h)
{
    return bus_thread_handler(h);
}

static void on_subscribed(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a,
                          const struct wsbus_cursor *cursor)
{
    struct feed *f = feed_by_token(of_host(h), feed);

    if (f && f->state == FEED_STARTING) feed_on_subscribed(f, a, cursor);
}

static void on_message(const struct wsbus_host *h, uint64_t feed, struct wsbus_message *m)
{
    struct hub_bus *b = of_host(h);
    struct feed *f = feed_by_token(b, feed);

    if (f && f->state == FEED_LIVE) {
        pace_live(&b->pace, clock_about_us());
        counter_add(&b->counters, COUNTER_BUS_MESSAGES, 1);
        feed_on_message(f, m);
        if (++b->posted % BELL_POSTS == 0) bells_ring();
    }
    wsbus_message_unref(m);
}

static void on_expect(const struct wsbus_host *h, const uint64_t *feeds, size_t count)
{
    feeds_fetch(of_host(h), feeds, count);
}

static void on_progress(const struct wsbus_host *h, uint64_t feed, const struct wsbus_pos *pos)
{
    struct feed *f = feed_by_token(of_host(h), feed);

    if (f && f->state == FEED_LIVE) feed_on_progress(f, pos);
}

static void on_gap(const struct wsbus_host *h, uint64_t feed, const struct wsbus_cursor *until)
{
    struct feed *f = feed_by_token(of_host(h), feed);

    if (f && f->state == FEED_LIVE) feed_on_gap(f, until);
}

static void on_ended(const struct wsbus_host *h, uint64_t feed, const struct wsbus_answer *a)
{
    struct feed *f = feed_by_token(of_host(h), feed);

    if (f && f->state == FEED_STOPPING)
        feed_on_unsubscribed(f); /* nothing more comes; who waits has it started again */
    else if (f)
        feed_on_ended(f, a);
}

static void on_unsubscribed(const struct wsbus_host *h, uint64_t feed)
{
    struct feed *f = feed_by_token(of_host(h), feed);

    if (f && f->state == FEED_STOPPING) feed_on_unsubscribed(f);
}

static struct span answer_words(const struct wsbus_answer *a)
{
    return a->words ? span_str(a->words) : span_of(NULL, 0);
}

static void on_published(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                         const struct wsbus_pos *pos, int64_t receivers)
{
    struct hub_bus *b = of_host(h);
    struct pending *p = pending_take(b, token);
    struct mail_done *d;
    struct span text = answer_words(a);

    if (!p) return;
    if (a->status == WSBUS_OK && pos && p->placed) {
        buf_clear(&b->scratch);
        pos_write(&b->scratch, pos, b->backend);
        text = buf_view(&b->scratch);
    } else if (a->status == WSBUS_OK) {
        text = span_of(NULL, 0);
    }
    d = mail_done_new(MAIL_PUBLISHED, p->id, error_of_status(a->status), text);
    d->receivers = receivers;
    bus_mail(b, p->worker, &d->item);
    pending_free(b, p);
}

static void on_located(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                       const struct wsbus_located *l)
{
    struct hub_bus *b = of_host(h);
    struct pending *p = pending_take(b, token);

    if (p && p->follower) follower_on_located(p->follower, a, l);
    if (p && p->history) history_on_located(p->history, a, l);
    pending_free(b, p);
}

static void on_chunk(const struct wsbus_host *h, uint64_t token, const struct wsbus_answer *a,
                     const struct wsbus_chunk *c)
{
    struct hub_bus *b = of_host(h);
    struct pending *p = pending_take(b, token);
    uint64_t began = clock_us();
    struct feed *f;

    if (!p) return;
    reads_answered(b, p);
    if (p->piece) replay_on_chunk(p, a, c);
    if (p->history) history_on_chunk(p->history, a, c);
    if (p->kind == PENDING_CATCHUP && (f = feed_by_token(b, p->id))) feed_on_catch_up(f, p, a, c);
    if (p->kind != PENDING_CATCHUP) pace_spent(&b->pace, clock_us() - began);
    pending_free(b, p);
    reads_next(b);
}

static void on_state(const struct wsbus_host *h, bool up, const char *words)
{
    struct hub_bus *b = of_host(h);

    if (atomic_exchange(&b->up, up) == up) return;
    if (up)
        log_info(log_event("bus_up"), log_s("bus", h->bus));
    else
        log_warn(log_event("bus_down"), log_s("bus", h->bus), log_s("reason", words));
}

static void abandon_pending(struct hub_bus *b)
{
    struct map_walk walk = {0};
    struct map_node *n;

    while ((n = map_next(&b->tokens, &walk))) {
        struct pending *p = CONTAINER_OF(n, struct pending, node);
        map_remove(&b->tokens, n);
        if (p->follower) p->follower->pending = NULL;
        if (p->history) history_abandon(p->history);
        pending_free(b, p);
    }
}

static void on_closed(const struct wsbus_host *h)
{
    struct hub_bus *b = of_host(h);
    struct map_walk walk = {0};
    struct map_node *n;

    timer_stop(bus_timers(b), &b->pause);
    timer_stop(bus_timers(b), &b->forget);
    abandon_pending(b);
    while ((n = map_next(&b->feeds, &walk)))
        feed_abandon(CONTAINER_OF(n, struct feed, by_topic));
    if (b->reads.total == 0) return;
    log_info(log_event("bus_past"), log_s("bus", h->bus), log_i("reads", (int64_t)b->reads.total),
             log_i("pieces_own", (int64_t)b->own), log_i("pieces_shared", (int64_t)b->given));
}

/* ---- what the workers say -------------------------------------------------------------------- */

static void take_publish(struct hub_bus *b, struct mail_publish *m)
{
    struct pending *p = pending_new(b, PENDING_PUBLISH);

    p->worker = m->worker;
    p->id = m->id;
    p->placed = m->placed;
    b->backend->publish(bus_instance(b), p->token, &m->publish);
    mail_free(&m->item);
}

static void take_unsubscribe(struct hub_bus *b, struct mail_leave *m)
{
    struct follower *s = follower_find(b, m->worker, m->id);

    if (s) {
        follower_leave(s, m->answer);
    } else if (m->answer) {
        /* It was refused or ended already; the request still has its one answer. */
        struct mail_left *left = mail_left_new(m->id, true, span_of(NULL, 0));
        bus_mail(b, m->worker, &left->item);
    }
    mail_free(&m->item);
}

static void take_pull(struct hub_bus *b, struct mail_leave *m)
{
    struct follower *s = follower_find(b, m->worker, m->id);

    if (s && list_empty(&s->pull)) list_append(&b->pulls, &s->pull);
    mail_free(&m->item);
}

static void take_drained(struct hub_bus *b, struct mail_leave *m)
{
    feeds_catch_up(b, m->worker);
    mail_free(&m->item);
}

static void add_figure(void *arg, const char *name, int64_t value)
{
    struct mail_figures *m = arg;

    if (m->count == FIGURES_MAX || strlen(name) >= sizeof m->list[0].name) return;
    memcpy(m->list[m->count].name, name, strlen(name) + 1);
    m->list[m->count++].value = value;
}

/* The item is its own answer. Without an instance there are no figures. */
static void take_figures(struct hub_bus *b, struct mail_figures *m)
{
    void *instance = bus_instance(b);

    if (instance && b->backend->stats) b->backend->stats(instance, add_figure, m);
    inbox_force(m->answer, &m->item);
}

/* The instance is closing or gone: what comes now is answered here. */
static void refuse_item(struct hub_bus *b, struct inbox_item *item)
{
    struct span none = {NULL, 0};

    if (item->kind == MAIL_PUBLISH) {
        struct mail_publish *m = CONTAINER_OF(item, struct mail_publish, item);
        struct mail_done *d = mail_done_new(MAIL_PUBLISHED, m->id, ERR_BUS_UNAVAILABLE, none);
        bus_mail(b, m->worker, &d->item);
    } else if (item->kind == MAIL_SUBSCRIBE || item->kind == MAIL_HISTORY) {
        struct mail_ask *m = CONTAINER_OF(item, struct mail_ask, item);
        enum mail_kind kind = item->kind == MAIL_SUBSCRIBE ? MAIL_REFUSED : MAIL_HISTORY_DONE;
        struct mail_done *d = mail_done_new(kind, m->id, ERR_BUS_UNAVAILABLE, none);
        bus_mail(b, m->worker, &d->item);
    } else if (item->kind == MAIL_UNSUBSCRIBE) {
        take_unsubscribe(b, CONTAINER_OF(item, struct mail_leave, item));
        return;
    } else if (item->kind == MAIL_FIGURES) {
        take_figures(b, CONTAINER_OF(item, struct mail_figures, item));
        return;
    }
    mail_free(item);
}

static void take_item(struct hub_bus *b, struct inbox_item *item)
{
    switch ((enum mail_kind)item->kind) {
    case MAIL_SUBSCRIBE: follower_new(b, CONTAINER_OF(item, struct mail_ask, item)); break;
    case MAIL_HISTORY: history_new(b, CONTAINER_OF(item, struct mail_ask, item)); break;
    case MAIL_PUBLISH: take_publish(b, CONTAINER_OF(item, struct mail_publish, item)); break;
    case MAIL_UNSUBSCRIBE: take_unsubscribe(b, CONTAINER_OF(item, struct mail_leave, item)); break;
    case MAIL_PULL: take_pull(b, CONTAINER_OF(item, struct mail_leave, item)); break;
    case MAIL_DRAINED: take_drained(b, CONTAINER_OF(item, struct mail_leave, item)); break;
    case MAIL_FIGURES: take_figures(b, CONTAINER_OF(item, struct mail_figures, item)); break;
    default: mail_free(item); break;
    }
}

static void on_item(void *handler, struct inbox_item *item)
{
    struct hub_bus *b = handler;
    size_t bytes = item->bytes;

    if (b->fetched > 0)
        b->fetched--;
    else if (b->backend->expect && bus_instance(b))
        b->fetched = publishes_fetch(b, item) - 1;
    if (bus_instance(b))
        take_item(b, item);
    else
        refuse_item(b, item);
    /* Who was refused has been told `busy`; nobody waits for room. */
    (void)inbox_settle(bus_thread_inbox(b->thread), bytes);
}

void bus_pause(struct hub_bus *b)
{
    if (!timer_is_set(&b->pause)) bus_timer(b, &b->pause, PACE_WAIT_MS);
}

static void past_turn(struct follower *s)
{
    if (s->state == FOLLOWER_LOCATING)
        follower_locate(s);
    else
        replay_pull(s);
}

static bool on_waits(void *handler)
{
    const struct hub_bus *b = handler;

    return !list_empty(&b->pulls) || b->reads.count > 0;
}

/* A few chunks of replays, then what is live has its turn: thousands who resume at once must not
 * make everybody else wait for all of them. True: there is more, and no reason to pause. */
static bool on_turn(void *handler)
{
    struct hub_bus *b = handler;
    uint64_t now;

    if (!on_waits(b)) return false;
    now = clock_us();
    pace_turn(&b->pace, now);
    while (bus_instance(b) && !list_empty(&b->pulls) && pace_may(&b->pace)) {
        uint64_t began = now;
        past_turn(LIST_ITEM(list_pop(&b->pulls), struct follower, pull));
        now = clock_us();
        pace_spent(&b->pace, now - began);
    }
    reads_next(b);
    if (!bus_instance(b) || list_empty(&b->pulls)) return false;
    if (!pace_waits(&b->pace, now)) return true;
    bus_pause(b);
    return false;
}

void bus_turn(struct hub_bus *b)
{
    if (!timer_is_set(&b->pause)) bus_timer(b, &b->pause, 0);
}

static void on_forget(struct timer *t)
{
    pass_tidy(CONTAINER_OF(t, struct hub_bus, forget));
}

static void on_pause(struct timer *t)
{
    struct hub_bus *b = CONTAINER_OF(t, struct hub_bus, pause);

    if (on_turn(b)) bus_timer(b, t, 0);
}

/* ---- life ------------------------------------------------------------------------------------- */

static const struct wsbus_host bus_sink = {
    .subscribed = on_subscribed,
    .message = on_message,
    .expect = on_expect,
    .progress = on_progress,
    .gap = on_gap,
    .ended = on_ended,
    .unsubscribed = on_unsubscribed,
    .published = on_published,
    .located = on_located,
    .chunk = on_chunk,
    .state = on_state,
    .closed = on_closed,
};

struct hub_bus *bus_start(const struct hub_bus_spec *spec, char *err, size_t err_size)
{
    struct hub_bus *b = mem_zero(sizeof *b);
    struct bus_thread_spec thread = {
        .name = spec->bus->name,
        .backend = spec->bus->backend,
        .values = spec->bus->values,
        .inbox_bytes = (size_t)spec->config->limits.inbox_bytes,
        .readers = (unsigned)spec->config->replay.readers,
        .sink = bus_sink,
        .handler = b,
        .item = on_item,
        .turn = on_turn,
        .waits = on_waits,
    };

    b->config = spec->config;
    b->backend = spec->bus->backend;
    b->workers = spec->workers;
    b->worker_count = spec->worker_count;
    /* Workers know channels of all buses by these numbers: no two buses may use the same. */
    b->last_number = (uint64_t)spec->index << 48;
    map_init(&b->feeds);
    map_init(&b->tokens);
    map_init(&b->tokens_of_feeds);
    map_init(&b->followers);
    list_init(&b->late);
    list_init(&b->pulls);
    pace_init(&b->pace, PACE_SHARE_BUS);
    reads_init(&b->reads);
    list_init(&b->pieces);
    timer_init(&b->pause, on_pause);
    timer_init(&b->forget, on_forget);
    buf_init(&b->run, BUF_UNLIMITED);
    buf_init(&b->text, BUF_UNLIMITED);
    buf_init(&b->scratch, BUF_UNLIMITED);
    b->thread = bus_thread_start(&thread, err, err_size);
    if (b->thread) return b;
    bus_free(b);
    return NULL;
}

void bus_stop(struct hub_bus *b, uint64_t deadline_ms)
{
    bus_thread_stop(b->thread, deadline_ms);
}

void bus_free(struct hub_bus *b)
{
    struct inbox_item *item, *next;

    if (!b) return;
    if (b->thread) {
        for (item = inbox_take(bus_thread_inbox(b->thread)); item; item = next) {
            next = item->next;
            mail_free(item);
        }
        bus_thread_free(b->thread);
    }
    map_done(&b->feeds);
    map_done(&b->tokens);
    map_done(&b->tokens_of_feeds);
    map_done(&b->followers);
    buf_free(&b->text);
    buf_free(&b->scratch);
    buf_free(&b->run);
    free(b->targets);
    free(b);
}
