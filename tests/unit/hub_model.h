/* Workers for the tests of hub/: inboxes that the test's thread looks into when it likes, and for
 * each subscription what may come next, so that a hole, a duplicate or disorder fails the test at
 * the message that shows it. */
#ifndef HUB_MODEL_H
#define HUB_MODEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "fake_bus.h"
#include "hub/mail.h"

#define WORKERS 3
#define SUBS 400
#define POSITIONS 60000

enum sub_state { SUB_NONE, SUB_ASKED, SUB_REPLAY, SUB_LIVE, SUB_GONE };

struct sub {
    enum sub_state state;
    uint64_t id, channel;
    unsigned worker;
    int key;                      /* -1: the whole topic */
    bool past;                    /* `live` is due, once */
    size_t next[FAKE_PARTITIONS]; /* index of the next message of each partition */
    unsigned messages, lives, gaps, lefts, answers;
    bool pulling;
    enum error_code refused;
    bool uncounted; /* without positions nothing can be compared */
    char last_text[300], last_gap[300];
    char cursor[200];
};

struct side {
    struct inbox inbox;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool awake;
    struct inbox_item *pending;
};

extern struct side model_sides[WORKERS];
extern struct sub model_subs[SUBS];
extern unsigned model_sub_count;
extern struct config model_config; /* may be changed before the first subscribe */
extern struct config_rule model_whole_rule;
extern size_t model_inbox_cap;          /* of the workers; 0: large */
extern uint64_t model_lo_of[POSITIONS]; /* position of each message of the fake log */
extern struct sub *model_watched;       /* whom the model_has_… conditions look at */
extern unsigned model_wanted_count;
extern struct model_pages { /* answers to model_history() */
    unsigned count;
    enum error_code error; /* of the last one */
} model_pages;

void model_positions(void);
int model_setup(void **state);
int model_setup_tiny(void **state); /* inboxes that hold a handful of messages */
int model_teardown(void **state);

void model_post(struct inbox_item *item);
struct sub *model_subscribe(unsigned worker, int key, enum from_kind from, int64_t number,
                            const char *cursor);
/* The next one that subscribes is of the same client and channel as this one, which has left. */
void model_behind(const struct sub *s);
void model_unsubscribe(struct sub *s);
void model_pull(struct sub *s);
void model_history(unsigned worker); /* of the whole topic, from the beginning */
/* Deals with at most `max` items of a worker; returns how many there were. */
unsigned model_take(unsigned worker, unsigned max);
bool model_wait(struct side *s, unsigned ms); /* false: nothing came */
bool model_type_is(struct span frame, const char *type);

/* Works all inboxes, pulling wherever a replay has room, until the condition holds. */
void model_work_until(bool (*done)(void));
void model_await(struct sub *s, enum sub_state state);
void model_await_messages(struct sub *s, unsigned count);
bool model_has_messages(void);
bool model_has_gap(void);
bool model_has_left(void);
bool model_unsubscribed_upstream(void);
bool model_subscribed_twice(void);

#endif
