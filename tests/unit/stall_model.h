/* Clients that stall and wake, and a reference that remembers for each of their subscriptions all
 * that was said to it: what is delivered, what a gap tells, who is closed and when, what the
 * metrics say. Everything by chance, the same for the same seed. */
#ifndef TESTS_UNIT_STALL_MODEL_H
#define TESTS_UNIT_STALL_MODEL_H

#include "session/inside.h"
#include "session/stall.h"
#include "session_rig.h"

#define STALL_WIRES 6
#define STALL_CHANNELS 4 /* log.0, log.1: two partitions; plain.2, mute.3: one */

struct stall_item { /* that was said to a subscription */
    bool message;
    unsigned number, partition;
    int place; /* in its partition */
    size_t bytes;
    uint64_t at;
};

struct stall_sub {
    bool open, leaving, drop;
    uint64_t id;
    struct stall_item *items;
    size_t count, size;
    size_t message, other; /* the next ones to come */
    size_t taken;          /* items that were written or lost */
};

struct stall_end {
    struct wire wire;
    struct stall_sub subs[STALL_CHANNELS];
    uint64_t choked_at;
    bool choked;
    size_t below; /* items' bytes that wait, of a single subscription */
};

extern struct rig stall_rig;
extern struct stall_end stall_ends[STALL_WIRES];
extern uint64_t stall_resident; /* of the process, as a test pretends; 0: there is no ceiling */

void stall_model_begin(uint64_t queue_bytes, uint64_t queue_ms, uint64_t seed);
/* Something happens, and what must hold is looked at. `most`: the longest message, or nearly. */
void stall_model_step(uint32_t most);
void stall_model_finish(void); /* all read to the end, and go */

void stall_model_subscribe(struct stall_end *e, unsigned channel);
void stall_model_unsubscribe(struct stall_end *e, unsigned channel);
void stall_model_post(unsigned channel, unsigned times);
/* It takes what waits, or one write of it. */
void stall_model_flow(struct stall_end *e, bool to_the_end);
void stall_model_look(void); /* who is choked now? */
void stall_model_read(void);
/* Takes all mail to the buses; of which the last of this kind is for this number. */
uint64_t stall_model_mail(enum mail_kind kind);

#endif
