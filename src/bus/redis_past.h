/* Requests about the past, private to redis_past.c, redis_locate.c and redis_range.c.
 *
 * A request is a job that takes one command after the other. redis_past.c keeps the jobs: at most so
 * many are under way at a time, the others wait; after a loss of the connection the command is given
 * again, which changes nothing, because all of them only read. */
#ifndef BUS_REDIS_PAST_H
#define BUS_REDIS_PAST_H

#include "base/list.h"
#include "base/span.h"
#include "bus/redis_entry.h"
#include "bus/redis_info.h"
#include "bus/redis_stream.h"

#define PAST_PIECE (256 << 10) /* bytes of entries that are asked for at once, about */
#define PAST_ESTIMATES 1024

struct redisReply;
struct past_job;

struct redis_past {
    const struct wsbus_host *host;
    const struct redis_config *config;
    struct redis_link *link;
    bool started;
    struct list waiting, running;
    size_t count, running_count;
    struct wsbus_timer *tick;
    bool ticking, stopped, dispatching;
    struct entry_room room;
    /* How large the entries of a stream are, for the size of pieces; forgotten by chance. */
    struct {
        uint64_t hash;
        size_t bytes;
    } estimates[PAST_ESTIMATES];
};

/* What a kind of request does. */
struct past_kind {
    void (*next)(struct past_job *j); /* sends a command by past_send() */
    /* Its reply; the only error is that there is no such key. Calls past_again(), or answers and calls
     * past_done(), or past_refuse(). */
    void (*take)(struct past_job *j, const struct redisReply *reply);
    void (*fail)(struct past_job *j, const struct wsbus_answer *a); /* answers */
    void (*free)(struct past_job *j);
};

struct past_job {
    struct list node;
    struct link_call call;
    struct redis_past *past;
    const struct past_kind *kind;
    bool running;
    uint64_t token;
    uint64_t due;    /* while it waits */
    unsigned losses; /* of the connection, while the command that is under way was */
    struct span name;
    struct redis_rule rule;
    char *key; /* NULL: all */
    size_t key_len;
};

/* Jobs are allocated by their kinds, zeroed, and freed by them. Takes the job over. */
void past_add(struct redis_past *p, struct past_job *j, const struct wsbus_topic *topic,
              struct span key);
/* At most 8 words; the stream's is j->name.p itself. */
void past_send(struct past_job *j, int argc, const char *const *argv);
void past_send_info(struct past_job *j); /* XINFO STREAM */
void past_again(struct past_job *j);     /* on with the next command */
void past_done(struct past_job *j);      /* it was answered: frees it */
void past_refuse(struct past_job *j, enum wsbus_status status, const char *words);

/* Does the entry count: has it the key that is asked for? */
bool past_matches(const struct past_job *j, const struct redis_entry *e);
/* Bytes of an entry of this stream, about; what was seen of it. */
size_t past_estimate(const struct past_job *j);
void past_learn(struct past_job *j, size_t bytes);
/* So many entries are about `bytes`; at least 1, at most `most` and 256. */
uint64_t past_count(const struct past_job *j, uint64_t bytes, uint64_t most);

#endif
