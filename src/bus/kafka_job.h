/* Requests about the past, private to kafka_past.c, kafka_read.c and kafka_locate.c.
 *
 *     ASKING ──extent──▶ QUEUED ──a reader is free──▶ READING ──range over, or enough──▶ answered
 *        ▲                                              │ ▲
 *        └── retention or a new log was in the way ─────┤ │
 *                                                       ▼ │
 *                                                    PROVING (does the log really end here?)
 *
 * A job asks where the partitions begin and end, sets its range, is given a reader by turns, looks at
 * one message after the other, and answers. kafka_past.c keeps jobs and readers. */
#ifndef BUS_KAFKA_JOB_H
#define BUS_KAFKA_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

#include "base/list.h"
#include "bus/kafka_meta.h"
#include "bus/kafka_past.h"
#include "bus/kafka_range.h"
#include "bus/kafka_reader.h"

struct past_job;

struct past_kind {
    /* The topic is as follows (WSBUS_OK): sets job->range and calls past_pass(), or answers. */
    void (*extent)(struct past_job *j, const struct kafka_topic *topic);
    /* A message of the range. False: enough. */
    bool (*look)(struct past_job *j, const rd_kafka_message_t *m);
    /* The range is over (open is 0), or it was enough, or time is up: calls past_pass() for another
     * range, or answers. */
    void (*over)(struct past_job *j);
    /* Is there something to answer with before the range is over? */
    bool (*partial)(const struct past_job *j);
    void (*fail)(struct past_job *j, const struct wsbus_answer *a); /* answers */
    void (*free)(struct past_job *j);                               /* its own, and the job */
};

enum past_state { PAST_ASKING, PAST_QUEUED, PAST_READING, PAST_PROVING };

struct past_job {
    struct list node; /* past.queue, or past.busy */
    struct kafka_past *past;
    const struct past_kind *kind;
    enum past_state state;
    uint64_t token;
    uint64_t due; /* without progress until then it fails */
    bool moved;   /* progress since the last tick */
    size_t bytes; /* that it holds while it waits, about */
    unsigned retries;
    enum kafka_want want;
    int64_t time;
    struct meta_call meta;
    struct past_slot *slot;    /* READING, PROVING */
    struct kafka_range *range; /* what is being looked at */
    int64_t *began;            /* where each partition of it began */
    struct span topic;
    char *key; /* NULL: all */
    size_t key_len;
};

/* A reader and who has it. */
struct past_slot {
    struct list node;
    struct kafka_past *past;
    struct kafka_reader *reader;
    struct past_job *job;  /* NULL: free */
    bool replace;          /* place it anew where its job is */
    bool proven;           /* let it go on */
    unsigned ignored;      /* messages since it was placed that nobody wanted */
    uint64_t used, placed; /* ticks; `placed`: it was continued then and nothing came yet */
    bool silent;
    char *words; /* last complaint of the handle */
};

enum past_pace { PACE_NONE, PACE_SLOW, PACE_FAST };

struct kafka_past {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    struct kafka_crew *crew;
    struct kafka_meta *meta;
    struct list queue; /* jobs that wait for a reader */
    struct list busy;  /* all other jobs */
    struct list slots;
    size_t jobs, bytes, slot_count;
    struct wsbus_timer *kick, *tick;
    enum past_pace pace; /* the tick is set */
    bool stopped;
};

/* Jobs are allocated by their kinds, zeroed. Takes it over; with job->range set it goes straight to a
 * reader, if one stands there; otherwise asks for `want` first. `bytes`: what it holds. */
void past_add(struct kafka_past *p, struct past_job *j, const struct wsbus_topic *topic,
              struct span key);
void past_ask(struct past_job *j);  /* asks for the extent (again) */
void past_pass(struct past_job *j); /* looks at job->range, which has something open */
void past_done(struct past_job *j); /* it was answered: frees it */
void past_refuse(struct past_job *j, enum wsbus_status status, const char *words);
void past_set_range(struct past_job *j, struct kafka_range *range); /* takes it over */
/* Does a free reader stand where the range begins? */
bool past_stands(struct kafka_past *p, struct span topic, const struct kafka_range *range);

#endif
