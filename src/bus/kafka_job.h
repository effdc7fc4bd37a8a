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

struct kafka_job;

struct kafka_job_kind {
    /* The topic is as follows (WSBUS_OK): sets job->range and calls kafka_job_read(), or answers. */
    void (*extent)(struct kafka_job *j, const struct kafka_topic *topic);
    /* A message of the range. False: enough. */
    bool (*look)(struct kafka_job *j, const rd_kafka_message_t *m);
    /* The range is over (open is 0), or it was enough, or time is up: calls kafka_job_read() for another
     * range, or answers. */
    void (*over)(struct kafka_job *j);
    /* Is there something to answer with before the range is over? */
    bool (*partial)(const struct kafka_job *j);
    void (*fail)(struct kafka_job *j, const struct wsbus_answer *a); /* answers */
    void (*free)(struct kafka_job *j);                               /* its own, and the job */
};

enum kafka_job_state { JOB_ASKING, JOB_QUEUED, JOB_READING, JOB_PROVING };

struct kafka_job {
    struct list node; /* past.queue, or past.busy */
    struct kafka_past *past;
    const struct kafka_job_kind *kind;
    enum kafka_job_state state;
    uint64_t token;
    uint64_t due; /* without progress until then it fails */
    bool moved;   /* progress since the last tick */
    size_t bytes; /* that it holds while it waits, about */
    unsigned retries;
    enum kafka_want want;
    int64_t time;
    struct meta_call meta;
    struct kafka_slot *slot;   /* READING, PROVING */
    struct kafka_range *range; /* what is being looked at */
    int64_t *began;            /* where each partition of it began */
    struct span topic;
    char *key; /* NULL: all */
    size_t key_len;
};

/* A reader and who has it. */
struct kafka_slot {
    struct list node;
    struct kafka_past *past;
    struct kafka_reader *reader;
    struct kafka_job *job; /* NULL: free */
    bool replace;          /* place it anew where its job is */
    bool proven;           /* let it go on */
    unsigned ignored;      /* messages since it was placed that nobody wanted */
    uint64_t used, placed; /* ticks; `placed`: it was continued then and nothing came yet */
    bool silent;
    char *words; /* last complaint of the handle */
};

enum kafka_pace { PACE_NONE, PACE_SLOW, PACE_FAST };

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
    enum kafka_pace pace; /* the tick is set */
    bool stopped;
};

/* Jobs are allocated by their kinds, zeroed. Takes it over; with job->range set it goes straight to a
 * reader, if one stands there; otherwise asks for `want` first. `bytes`: what it holds. */
void kafka_job_add(struct kafka_past *p, struct kafka_job *j, const struct wsbus_topic *topic,
                   struct span key);
void kafka_job_ask(struct kafka_job *j);  /* asks for the extent (again) */
void kafka_job_read(struct kafka_job *j); /* looks at job->range, which has something open */
void kafka_job_done(struct kafka_job *j); /* it was answered: frees it */
void kafka_job_refuse(struct kafka_job *j, enum wsbus_status status, const char *words);
void kafka_job_set_range(struct kafka_job *j, struct kafka_range *range); /* takes it over */
/* Does a free reader stand where the range begins? */
bool kafka_past_stands(struct kafka_past *p, struct span topic, const struct kafka_range *range);

#endif
