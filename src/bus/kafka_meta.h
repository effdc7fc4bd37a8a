/* What the brokers know of a topic: its partitions, and the first and the last offset of each.
 *
 * Asked by a helper thread (kafka_crew.h) on a handle for questions only, so that an answer never
 * waits behind a fetch. Questions that are alike and have not begun share one look-up; an answer is
 * never older than its question. Every question is answered once, within about twice
 * config->request_timeout, unless it is cancelled.
 *
 * The same handle tells whether the bus is up. All handles bring here what they are told about brokers:
 * it is the reason that is given when the bus goes down, or, while others answer, said once for each
 * broker and outage. Bus thread. */
#ifndef BUS_KAFKA_META_H
#define BUS_KAFKA_META_H

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

#include "base/list.h"
#include "base/span.h"
#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"

struct kafka_meta;
struct look;

enum kafka_want {
    KAFKA_WANT_PARTITIONS, /* how many there are */
    KAFKA_WANT_EXTENT,     /* and where each begins and ends */
    KAFKA_WANT_TIME,       /* and the first offset with a time stamp >= `time` */
};

struct kafka_extent {
    int64_t first; /* offset of the oldest message there is, or of the next one in an empty log */
    int64_t end;   /* after the last one that may be read now: with read_committed the last stable
                      offset. `end` >= `first` */
    int64_t at;    /* KAFKA_WANT_TIME: or `end` if there is none */
};

struct kafka_topic {
    /* WSBUS_OK; WSBUS_UNKNOWN_TOPIC; WSBUS_FORBIDDEN; WSBUS_REFUSED; or WSBUS_UNAVAILABLE: nobody
     * answered, or a partition has no leader now; the same question may be asked again. */
    struct wsbus_answer answer;
    int32_t count;               /* partitions 0 … count - 1; at least 1 with WSBUS_OK */
    struct kafka_extent *extent; /* of each; NULL with KAFKA_WANT_PARTITIONS */
};

/* Part of the caller's struct, zeroed at first. `done` may ask again and may free the struct; `topic`
 * is lent. */
struct meta_call {
    struct list node;        /* the module's */
    struct kafka_meta *meta; /* the module's */
    struct look *look;       /* the module's */
    bool open;               /* asked and not answered */
    void (*done)(struct meta_call *c, const struct kafka_topic *topic);
};

struct kafka_meta *kafka_meta_new(const struct wsbus_host *host, const struct kafka_config *config,
                                  struct kafka_crew *crew, char *err, size_t err_size);
/* Never answered from inside. `time` counts with KAFKA_WANT_TIME. */
void kafka_meta_ask(struct kafka_meta *m, struct meta_call *c, struct span topic,
                    enum kafka_want want, int64_t time);
void kafka_meta_cancel(struct meta_call *c); /* not open: nothing happens */
size_t kafka_meta_open(const struct kafka_meta *m);
bool kafka_meta_up(const struct kafka_meta *m); /* did a broker answer lately? */
/* Another handle was told this about itself; see kafka_handle_ops.error. */
void kafka_meta_trouble(struct kafka_meta *m, rd_kafka_resp_err_t err, const char *words);
/* Forgets its questions without an answer: cancel or count them before. */
void kafka_meta_free(struct kafka_meta *m);

#endif
