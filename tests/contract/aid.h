/* What the cases have in common: new topics, numbered messages, requests that must succeed.
 *
 * Every function fails the running case where an answer is missing or not WSBUS_OK. Events belong
 * to the harness. */
#ifndef CONTRACT_AID_H
#define CONTRACT_AID_H

#include "harness.h"
#include "suite.h"

#define MANY 100    /* messages of an ordinary case; at most for contract_publish_many() */
#define SPLICE 5000 /* messages of the case that joins past and feed */

extern const struct contract_fixture *contract_fixture; /* the one that runs */

/* Skips the case if the fixture lacks one of these capabilities. */
void contract_need(unsigned caps);
/* An instance with the fixture's options. */
struct harness *contract_begin(void);
/* Another name for each call, in memory that stays. */
struct wsbus_topic contract_topic(void);
struct wsbus_topic contract_topic_of(
    unsigned partitions); /* the case is skipped where there are none */
/* A publish of this text, which is lent. */
struct wsbus_publish contract_text(const struct wsbus_topic *topic, const char *payload);
/* Publishes a number as text, with a key or NULL; returns the token. */
uint64_t contract_number(struct harness *h, const struct wsbus_topic *topic, unsigned n,
                         const char *key);
unsigned contract_number_of(const struct wsbus_message *m);
/* Waits for the acknowledgement. */
struct wsbus_pos contract_published(struct harness *h, uint64_t token);
/* 0, 1, … count - 1, of which every third has the key "a" and the others "b". */
void contract_publish_many(struct harness *h, const struct wsbus_topic *topic, unsigned count,
                           struct wsbus_pos *ret_pos);
/* To be freed with cursor_free(). */
struct wsbus_cursor *contract_cursor(struct wsbus_pos pos);
const struct event *contract_locate(struct harness *h, const struct wsbus_locate *l);
const struct event *contract_read(struct harness *h, const struct wsbus_read *r);
/* A request for all there is, in one piece. */
struct wsbus_read contract_read_all(const struct wsbus_topic *topic);
/* Reads from the request's `from` in as many pieces as it takes; the numbers must be `first`,
 * first + step, … Returns how many there were. */
unsigned contract_read_numbers(struct harness *h, struct wsbus_read r, unsigned first,
                               unsigned step);
/* The number of the first message after a place, or -1. */
int contract_number_after(struct harness *h, const struct wsbus_topic *topic,
                          const struct wsbus_cursor *place, const char *key);

#endif
