#include "bus/redis_reply.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ROOM 16384             /* of the piece that is kept */
#define ELEMENTS_MAX (1 << 20) /* of one array */
#define UNUSED_MAX (1 << 18)   /* bytes of an empty buffer that hiredis may keep */

/* A piece for what does not fit into the room; gone with its reply. */
struct extra {
    struct extra *next;
    alignas(max_align_t) char p[];
};

struct reply_reader {
    redisReader *reader;
    size_t max;
    size_t used;  /* of the room */
    size_t total; /* bytes of this reply, with the extras */
    bool given;   /* the reply that lies here was handed out */
    struct extra *extras;
    alignas(max_align_t) char room[ROOM];
};

static void *take(struct reply_reader *r, size_t n)
{
    size_t padded = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (padded < n || padded > r->max - r->total) return NULL;
    r->total += padded;
    if (padded <= ROOM - r->used) {
        void *p = r->room + r->used;
        r->used += padded;
        return p;
    }
    struct extra *e = malloc(sizeof(*e) + n);
    if (!e) return NULL;
    e->next = r->extras;
    r->extras = e;
    return e->p;
}

static void clear(struct reply_reader *r)
{
    while (r->extras) {
        struct extra *e = r->extras;
        r->extras = e->next;
        free(e);
    }
    r->used = r->total = 0;
    r->given = false;
}

/* ---- hiredis' callbacks: NULL is out of memory, which ends the reading --------------------- */

static struct redisReply *make(const redisReadTask *task)
{
    struct redisReply *reply = take(task->privdata, sizeof(*reply));
    if (!reply) return NULL;
    *reply = (struct redisReply){.type = task->type};
    if (task->parent) {
        struct redisReply *parent = task->parent->obj;
        parent->element[task->idx] = reply;
    }
    return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t n)
{
    char *copy = take(task->privdata, n + 1);
    struct redisReply *reply = copy ? make(task) : NULL;
    if (!reply) return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    reply->str = copy;
    reply->len = n;
    return reply;
}

#if HIREDIS_MAJOR < 1
static void *make_array(const redisReadTask *task, int announced)
#else
static void *make_array(const redisReadTask *task, size_t announced)
#endif
{
    if (announced > ELEMENTS_MAX) return NULL;
    size_t n = (size_t)announced;
    struct redisReply **element = take(task->privdata, n * sizeof(struct redisReply *));
    struct redisReply *reply = element ? make(task) : NULL;
    if (!reply) return NULL;
    if (n > 0) memset(element, 0, n * sizeof(struct redisReply *));
    reply->elements = n;
    reply->element = element;
    return reply;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct redisReply *reply = make(task);
    if (reply) reply->integer = value;
    return reply;
}

/* The task has the type of what is missing. */
static void *make_nil(const redisReadTask *task)
{
    struct redisReply *reply = make(task);
    if (reply) reply->type = REDIS_REPLY_NIL;
    return reply;
}

#if HIREDIS_MAJOR >= 1
/* RESP3, which nobody has asked for. Without a function hiredis would give a number for a pointer. */
static void *refuse_double(const redisReadTask *task, double value, char *text, size_t n)
{
    (void)task;
    (void)value;
    (void)text;
    (void)n;
    return NULL;
}

static void *refuse_bool(const redisReadTask *task, int value)
{
    (void)task;
    (void)value;
    return NULL;
}
#endif

/* All of a reply goes at once, in clear(). */
static void let_go(void *reply)
{
    (void)reply;
}

static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
    .createNil = make_nil,
    .freeObject = let_go,
#if HIREDIS_MAJOR >= 1
    .createDouble = refuse_double,
    .createBool = refuse_bool,
#endif
};

/* ---- reading ------------------------------------------------------------------------------ */

struct reply_reader *reply_reader_new(size_t max)
{
    struct reply_reader *r = mem_alloc(sizeof(*r));
    r->reader = redisReaderCreateWithFunctions(&functions);
    if (!r->reader) abort();
    r->reader->privdata = r;
    r->reader->maxbuf = UNUSED_MAX;
    r->max = max;
    r->extras = NULL;
    clear(r);
    return r;
}

void reply_reader_free(struct reply_reader *r)
{
    if (!r) return;
    clear(r);
    redisReaderFree(r->reader);
    free(r);
}

int reply_reader_feed(struct reply_reader *r, const char *p, size_t n)
{
    return redisReaderFeed(r->reader, p, n) == REDIS_OK ? 0 : -1;
}

int reply_reader_next(struct reply_reader *r, const struct redisReply **ret)
{
    if (r->given) clear(r);
    void *reply = NULL;
    if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) return -1;
    *ret = reply;
    r->given = reply != NULL;
    if (!reply && r->reader->len - r->reader->pos > r->max) return -1;
    return r->given;
}

const char *reply_reader_words(const struct reply_reader *r)
{
    if (r->reader->err == REDIS_ERR_OOM || r->reader->err == 0) return "a reply is too large";
    return r->reader->errstr;
}

bool reply_is_hopeless(const struct redisReply *r)
{
    static const char *const words[] = {"NOAUTH",     "WRONGPASS", "LOADING",
                                        "MASTERDOWN", "BUSY",      "DENIED"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strncmp(r->str, words[i], strlen(words[i])) == 0) return true;
    return strncmp(r->str, "ERR max number of clients", 25) == 0;
}

const char *reply_words(const struct redisReply *error, char words[REPLY_WORDS])
{
    bool moved = strncmp(error->str, "MOVED ", 6) == 0;
    snprintf(words, REPLY_WORDS, "%s%s", error->str,
             moved ? " (Redis Cluster is not supported yet)" : "");
    return words;
}

enum wsbus_status reply_status(const struct redisReply *r)
{
    static const struct {
        const char *word;
        enum wsbus_status status;
    } words[] = {
        {"LOADING ", WSBUS_UNAVAILABLE},
        {"CLUSTERDOWN ", WSBUS_UNAVAILABLE},
        {"MASTERDOWN ", WSBUS_UNAVAILABLE},
        {"TRYAGAIN ", WSBUS_UNAVAILABLE},
        {"BUSY ", WSBUS_BUSY},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strncmp(r->str, words[i].word, strlen(words[i].word)) == 0) return words[i].status;
    return WSBUS_REFUSED;
}
