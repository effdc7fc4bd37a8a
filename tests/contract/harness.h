/* One instance of a backend on a real bus thread, with a handler that writes down everything.
 *
 * Operations are asked for from the test's thread, through the thread's inbox; what comes back is
 * kept in order and can be waited for, with a deadline and without sleeping. harness_stop() checks
 * what holds for every backend in every case: each token answered exactly once, nothing for a feed
 * before its confirmation or after its end, positions that only grow. */
#ifndef CONTRACT_HARNESS_H
#define CONTRACT_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

enum event_kind {
    EVENT_SUBSCRIBED,
    EVENT_MESSAGE,
    EVENT_GAP,
    EVENT_PROGRESS,
    EVENT_ENDED,
    EVENT_UNSUBSCRIBED,
    EVENT_PUBLISHED,
    EVENT_LOCATED,
    EVENT_CHUNK,
};

/* Cursors are NULL where there was none. Messages are copies. */
struct event {
    enum event_kind kind;
    uint64_t token;
    enum wsbus_status status;
    struct wsbus_pos pos;
    int64_t receivers;
    struct wsbus_cursor *cursor;
    enum wsbus_lost lost;
    struct wsbus_cursor *lost_until;
    bool limited, end;
    struct wsbus_message **messages;
    size_t count;
};

struct harness;

struct harness *harness_start(const struct wsbus_backend *backend,
                              const struct wsbus_value *values);
/* Closes, checks, frees. */
void harness_stop(struct harness *h);
/* Closes and checks; what was written down can still be looked at until harness_stop(). */
void harness_close(struct harness *h);

/* Each returns the token, without waiting for the answer. */
uint64_t harness_subscribe(struct harness *h, const struct wsbus_topic *topic);
void harness_unsubscribe(struct harness *h, uint64_t feed);
uint64_t harness_publish(struct harness *h, const struct wsbus_publish *p);
uint64_t harness_locate(struct harness *h, const struct wsbus_locate *l);
uint64_t harness_read(struct harness *h, const struct wsbus_read *r);

/* The first event of this kind for the token; fails the test after ten seconds. */
const struct event *harness_wait(struct harness *h, enum event_kind kind, uint64_t token);
/* Waits until the feed has got so many messages. */
void harness_wait_messages(struct harness *h, uint64_t feed, size_t count);
/* The place of the token's event number `index` of this kind among all events; it must have come. */
size_t harness_place(struct harness *h, enum event_kind kind, uint64_t token, size_t index);
/* Events so far. */
size_t harness_count(struct harness *h, enum event_kind kind, uint64_t token);
/* The feed's message number `index`, which must have come. */
const struct wsbus_message *harness_message(struct harness *h, uint64_t feed, size_t index);

#endif
