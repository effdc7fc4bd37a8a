#include "bus/redis_publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/span.h"
#include "bus/redis_id.h"
#include "bus/redis_reply.h"

/* One that was given. It outlives its answer if the server still owes a reply. */
struct publish {
    struct link_call call;
    struct list node; /* in the order of `due`, until it was answered */
    struct redis_publish *all;
    uint64_t token;
    uint64_t due; /* ticks */
    bool stream;
};

struct redis_publish {
    const struct wsbus_host *host;
    const struct redis_config *config;
    struct redis_link *link;
    struct list pending; /* not answered */
    size_t count;
    struct wsbus_timer *timer; /* set while `pending` is not empty */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* ---- answers ------------------------------------------------------------------------------ */

static void say(struct redis_publish *all, uint64_t token, enum wsbus_status status,
                const char *words)
{
    struct wsbus_answer a = {.status = status, .words = words};
    all->host->published(all->host, token, &a, NULL, 0);
}

/* From now on it counts as answered; the caller says what. */
static void take_off(struct publish *p)
{
    list_del(&p->node);
    p->all->count--;
}

static void finish_if_drained(struct redis_publish *all)
{
    if (!all->drained || !list_empty(&all->pending)) return;
    void (*drained)(void *) = all->drained;
    all->drained = NULL;
    all->host->timer_stop(all->timer);
    drained(all->drained_arg);
}

static void refuse(struct redis_publish *all, uint64_t token, const struct redisReply *r)
{
    char words[REPLY_WORDS];
    say(all, token, reply_status(r), reply_words(r, words));
    if (strncmp(r->str, "READONLY ", 9) == 0) link_restart(all->link, r->str);
}

static void acknowledge(const struct publish *p, const struct redisReply *r)
{
    const struct wsbus_host *host = p->all->host;
    static const struct wsbus_answer ok = {.status = WSBUS_OK};
    if (r->type == REDIS_REPLY_ERROR) {
        refuse(p->all, p->token, r);
    } else if (!p->stream && r->type == REDIS_REPLY_INTEGER) {
        host->published(host, p->token, &ok, NULL, r->integer);
    } else {
        struct wsbus_pos pos = {0};
        if (p->stream && r->type == REDIS_REPLY_STRING &&
            redis_pos_parse(r->str, r->len, &pos) == 0)
            host->published(host, p->token, &ok, &pos, 0);
        else
            say(p->all, p->token, WSBUS_OUTCOME_UNKNOWN, "the server gave no sensible answer");
    }
}

static void on_done(struct link_call *c, enum call_fate fate, const struct redisReply *reply)
{
    struct publish *p = CONTAINER_OF(c, struct publish, call);
    struct redis_publish *all = p->all;
    if (!list_empty(&p->node)) {
        take_off(p);
        if (fate == CALL_ANSWERED)
            acknowledge(p, reply);
        else if (fate == CALL_LOST)
            say(all, p->token, WSBUS_OUTCOME_UNKNOWN, "the connection to Redis was lost");
        else
            say(all, p->token, WSBUS_UNAVAILABLE, "there is no connection to Redis");
    }
    free(p);
    finish_if_drained(all);
}

/* True: it was not written and is gone. */
static bool take_back(struct publish *p)
{
    if (!link_cancel(p->all->link, &p->call)) return false;
    take_off(p);
    say(p->all, p->token, WSBUS_UNAVAILABLE, "there is no connection to Redis");
    free(p);
    return true;
}

static void give_up(struct publish *p)
{
    if (take_back(p)) return;
    take_off(p);
    say(p->all, p->token, WSBUS_OUTCOME_UNKNOWN, "Redis has not answered in time");
}

static void on_timer(void *arg)
{
    struct redis_publish *all = arg;
    uint64_t now = all->host->ticks(all->host);
    while (!list_empty(&all->pending)) {
        struct publish *p = LIST_ITEM(all->pending.next, struct publish, node);
        if (p->due > now) {
            all->host->timer_set(all->timer, p->due - now);
            break;
        }
        give_up(p);
    }
    finish_if_drained(all);
}

/* ---- commands ----------------------------------------------------------------------------- */

struct command {
    const char **argv;
    size_t *len;
    int argc;
};

static void add(struct command *c, const char *p, size_t n)
{
    c->argv[c->argc] = p;
    c->len[c->argc++] = n;
}

static void add_text(struct command *c, const char *text)
{
    add(c, text, strlen(text));
}

static bool is_field(const struct wsbus_header *h, const char *field)
{
    return span_eq(span_of(h->name, h->name_len), span_str(field));
}

/* NULL, or why this cannot be an entry of a stream: in `words`. */
static const char *objection(const struct wsbus_publish *m, const struct redis_rule *rule,
                             char words[REPLY_WORDS])
{
    for (uint32_t i = 0; i < m->header_count; i++) {
        const struct wsbus_header *h = &m->headers[i];
        if (!is_field(h, rule->payload) && !is_field(h, rule->key)) continue;
        snprintf(words, REPLY_WORDS,
                 "no header may be called %.*s: that is the field of the stream for the %s",
                 (int)h->name_len, h->name, is_field(h, rule->payload) ? "payload" : "key");
        return words;
    }
    return NULL;
}

static void build_publish(struct command *c, const struct wsbus_publish *m)
{
    add_text(c, "PUBLISH");
    add(c, m->topic.name, m->topic.name_len);
    add(c, m->payload, m->payload_len);
}

/* `maxlen` is room for the number. */
static void build_xadd(struct command *c, const struct wsbus_publish *m,
                       const struct redis_rule *rule, char maxlen[24])
{
    add_text(c, "XADD");
    add(c, m->topic.name, m->topic.name_len);
    if (rule->maxlen) {
        snprintf(maxlen, 24, "%llu", (unsigned long long)rule->maxlen);
        add_text(c, "MAXLEN");
        add_text(c, "~");
        add_text(c, maxlen);
    }
    add_text(c, "*");
    add_text(c, rule->payload);
    add(c, m->payload, m->payload_len);
    if (m->key) {
        add_text(c, rule->key);
        add(c, m->key, m->key_len);
    }
    for (uint32_t i = 0; i < m->header_count; i++) {
        add(c, m->headers[i].name, m->headers[i].name_len);
        add(c, m->headers[i].value, m->headers[i].value_len);
    }
}

static int send_message(struct redis_publish *all, struct publish *p, const struct wsbus_publish *m,
                        const struct redis_rule *rule)
{
    size_t most = 10 + 2 * (size_t)m->header_count;
    const char **argv = mem_alloc(most * sizeof(const char *));
    size_t *len = mem_alloc(most * sizeof(*len));
    struct command c = {.argv = argv, .len = len};
    char maxlen[24];
    if (rule->stream)
        build_xadd(&c, m, rule, maxlen);
    else
        build_publish(&c, m);
    int rc = link_send(all->link, &p->call, c.argc, argv, len);
    free(argv);
    free(len);
    return rc;
}

void publish_send(struct redis_publish *all, uint64_t token, const struct wsbus_publish *m)
{
    struct redis_rule rule = redis_rule(m->topic.rule);
    char words[REPLY_WORDS];
    const char *wrong = rule.stream ? objection(m, &rule, words) : NULL;
    if (m->partition > 0) wrong = "channels and streams of Redis have one partition, 0";
    if (wrong || !m->payload) {
        say(all, token, wrong ? WSBUS_BAD_REQUEST : WSBUS_UNSUPPORTED, wrong);
        return;
    }
    struct publish *p = mem_zero(sizeof(*p));
    p->call.done = on_done;
    p->call.keep = true;
    p->all = all;
    p->token = token;
    p->stream = rule.stream;
    p->due = all->host->ticks(all->host) + all->config->publish_timeout;
    if (send_message(all, p, m, &rule) < 0) {
        free(p);
        say(all, token, WSBUS_BUSY, "too much waits for Redis");
        return;
    }
    if (list_empty(&all->pending)) all->host->timer_set(all->timer, all->config->publish_timeout);
    list_append(&all->pending, &p->node);
    all->count++;
}

/* ---- life cycle --------------------------------------------------------------------------- */

void publish_drain(struct redis_publish *all, uint64_t deadline_ms, void (*done)(void *arg),
                   void *arg)
{
    uint64_t due = all->host->ticks(all->host) + deadline_ms;
    bool ready = link_ready(all->link);
    struct list turn;
    list_init(&turn);
    list_move(&turn, &all->pending);
    struct list *n;
    while ((n = list_pop(&turn))) {
        struct publish *p = LIST_ITEM(n, struct publish, node);
        if (p->due > due) p->due = due;
        list_append(&all->pending, n);
        if (!ready) (void)take_back(p);
    }
    all->drained = done;
    all->drained_arg = arg;
    on_timer(all);
}

size_t publish_pending(const struct redis_publish *all)
{
    return all->count;
}

struct redis_publish *publish_new(const struct wsbus_host *host, const struct redis_config *config,
                                  struct redis_link *commands)
{
    struct redis_publish *all = mem_zero(sizeof(*all));
    all->host = host;
    all->config = config;
    all->link = commands;
    all->timer = host->timer(host, on_timer, all);
    list_init(&all->pending);
    return all;
}

void publish_free(struct redis_publish *all)
{
    if (!all) return;
    all->host->timer_free(all->timer);
    free(all);
}
