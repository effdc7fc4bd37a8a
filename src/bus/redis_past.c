#include "bus/redis_past.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "bus/redis_reply.h"

#define RUNNING_MAX 16 /* each holds a piece or two */
#define JOBS_MAX 100000
#define QUEUE_BYTES (64 << 20)
#define TICK_MS 250
#define ESTIMATE_UNKNOWN 16384
#define COUNT_MAX 256 /* sizes are only guessed */
#define LOSSES_MAX 6  /* while one command is under way; it may be to blame by too large a reply */

/* ---- the size of pieces --------------------------------------------------------------------------- */

size_t past_estimate(const struct past_job *j)
{
    uint64_t hash = hash_span(j->name);
    const struct redis_past *p = j->past;

    if (p->estimates[hash % PAST_ESTIMATES].hash != hash) return ESTIMATE_UNKNOWN;
    return p->estimates[hash % PAST_ESTIMATES].bytes;
}

/* Quickly up, slowly down: a piece that is too large is worse than one more. */
void past_learn(struct past_job *j, size_t bytes)
{
    uint64_t hash = hash_span(j->name);
    struct redis_past *p = j->past;
    size_t *at = &p->estimates[hash % PAST_ESTIMATES].bytes;

    if (p->estimates[hash % PAST_ESTIMATES].hash != hash) {
        p->estimates[hash % PAST_ESTIMATES].hash = hash;
        *at = bytes;
    } else {
        *at = bytes > *at ? bytes : *at - (*at - bytes) / 8;
    }
}

uint64_t past_count(const struct past_job *j, uint64_t bytes, uint64_t most)
{
    uint64_t count = bytes / (past_estimate(j) + 1) + 1;

    if (count > most) count = most;
    if (count > COUNT_MAX) count = COUNT_MAX;
    count >>= 2 * j->losses;
    return count ? count : 1;
}

bool past_matches(const struct past_job *j, const struct redis_entry *e)
{
    struct span key;

    if (!j->key) return true;
    key = entry_key(e, &j->rule);
    return key.p && span_eq(key, span_of(j->key, j->key_len));
}

/* ---- jobs ------------------------------------------------------------------------------------------- */

static uint64_t ticks(const struct redis_past *p)
{
    return p->host->ticks(p->host);
}

static void keep_ticking(struct redis_past *p)
{
    if (p->ticking || list_empty(&p->waiting)) return;
    p->ticking = true;
    p->host->timer_set(p->tick, TICK_MS);
}

static void job_waits(struct past_job *j)
{
    struct redis_past *p = j->past;

    if (j->running) p->running_count--;
    j->running = false;
    list_del(&j->node);
    list_append(&p->waiting, &j->node);
    keep_ticking(p);
}

/* Those that wait, as many as may run. A job may end within its first step, which comes back here. */
static void run_some(struct redis_past *p)
{
    if (p->dispatching) return;
    p->dispatching = true;
    while (!p->stopped && link_ready(p->link) && p->running_count < RUNNING_MAX) {
        struct list *n = list_pop(&p->waiting);
        struct past_job *j;
        if (!n) break;
        j = LIST_ITEM(n, struct past_job, node);
        j->running = true;
        p->running_count++;
        list_append(&p->running, &j->node);
        j->kind->next(j);
    }
    p->dispatching = false;
}

void past_done(struct past_job *j)
{
    struct redis_past *p = j->past;

    if (j->running) p->running_count--;
    list_del(&j->node);
    p->count--;
    free((char *)(uintptr_t)j->name.p);
    free(j->key);
    j->kind->free(j);
    run_some(p);
}

void past_refuse(struct past_job *j, enum wsbus_status status, const char *words)
{
    struct wsbus_answer a = {.status = status, .words = words};

    j->kind->fail(j, &a);
    past_done(j);
}

static void refuse_with_error(struct past_job *j, const struct redisReply *error)
{
    char words[REPLY_WORDS];

    past_refuse(j, reply_status(error), reply_words(error, words));
}

static bool says_no_key(const struct redisReply *r)
{
    struct redis_info i;

    return info_parse(r, &i) == 0; /* the only error that it understands */
}

static void on_reply(struct link_call *call, enum call_fate fate, const struct redisReply *reply)
{
    struct past_job *j = CONTAINER_OF(call, struct past_job, call);

    if (fate == CALL_LOST && j->losses++ == LOSSES_MAX) {
        past_refuse(j, WSBUS_UNAVAILABLE, "the connection to Redis was lost again and again");
    } else if (fate != CALL_ANSWERED) {
        j->due = ticks(j->past) + j->past->config->timeout;
        job_waits(j);
    } else if (reply->type == REDIS_REPLY_ERROR && !says_no_key(reply)) {
        refuse_with_error(j, reply);
    } else {
        j->losses = 0;
        j->kind->take(j, reply);
    }
}

void past_send(struct past_job *j, int argc, const char *const *argv)
{
    size_t lens[8];

    for (int i = 0; i < argc; i++)
        lens[i] = argv[i] == j->name.p ? j->name.n : strlen(argv[i]);
    j->call = (struct link_call){.done = on_reply};
    if (link_send(j->past->link, &j->call, argc, argv, lens) < 0)
        past_refuse(j, WSBUS_BUSY, "too much is waiting for Redis; ask again later");
}

void past_send_info(struct past_job *j)
{
    const char *argv[] = {"XINFO", "STREAM", j->name.p};

    past_send(j, 3, argv);
}

void past_again(struct past_job *j)
{
    j->kind->next(j);
}

static void on_up(void *owner)
{
    run_some(owner);
}

static void on_down(void *owner, const char *words)
{
    (void)owner, (void)words; /* jobs wait until their time is over; the link logs */
}

static const struct link_ops past_ops = {.up = on_up, .down = on_down};

static void on_tick(void *arg)
{
    struct redis_past *p = arg;
    struct list turn, *n;

    p->ticking = false;
    list_init(&turn);
    list_move(&turn, &p->waiting);
    while ((n = list_pop(&turn))) {
        struct past_job *j = LIST_ITEM(n, struct past_job, node);
        list_append(&p->waiting, n);
        if (!link_ready(p->link) && ticks(p) >= j->due) past_refuse(j, WSBUS_UNAVAILABLE, NULL);
    }
    run_some(p);
    keep_ticking(p);
}

void past_add(struct redis_past *p, struct past_job *j, const struct wsbus_topic *topic,
              struct span key)
{
    j->past = p;
    j->name = span_of(mem_dup(topic->name, topic->name_len), topic->name_len);
    j->rule = redis_rule(topic->rule);
    if (key.p) j->key = mem_dup(key.p, key.n);
    j->key_len = key.n;
    j->due = ticks(p) + p->config->timeout;
    list_init(&j->node);
    p->count++;
    if (!p->started) {
        p->started = true;
        link_start(p->link);
    }
    if (p->stopped || p->count > JOBS_MAX) {
        past_refuse(j, p->stopped ? WSBUS_UNAVAILABLE : WSBUS_BUSY, NULL);
        return;
    }
    job_waits(j);
    run_some(p);
}

/* ---- life cycle --------------------------------------------------------------------------------- */

struct redis_past *past_new(const struct wsbus_host *host, const struct redis_config *config)
{
    struct redis_past *p = mem_zero(sizeof *p);
    struct link_spec spec = {
        .host = host,
        .config = config,
        .name = "history",
        .ops = &past_ops,
        .owner = p,
        .queue_bytes = QUEUE_BYTES,
        .patient = true,
    };

    p->host = host;
    p->config = config;
    list_init(&p->waiting);
    list_init(&p->running);
    p->link = link_new(&spec);
    p->tick = host->timer(host, on_tick, p);
    return p;
}

void past_stop(struct redis_past *p)
{
    p->stopped = true;
    p->host->timer_stop(p->tick);
    p->ticking = true;  /* for good */
    link_stop(p->link); /* those that run wait then */
    while (!list_empty(&p->waiting))
        past_refuse(LIST_ITEM(p->waiting.next, struct past_job, node), WSBUS_UNAVAILABLE,
                    "the bridge is stopping");
}

void past_free(struct redis_past *p)
{
    p->host->timer_free(p->tick);
    link_free(p->link);
    entry_room_done(&p->room);
    free(p);
}
