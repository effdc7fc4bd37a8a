/* The fan-out table of one worker: channel number -> the members on this worker. One thread.
 *
 * A member is a struct inside the subscription. Membership begins and ends with the items of the
 * worker's inbox, in their order: that, and nothing else, makes the splice exact. A member may be set
 * aside: it is one of the channel all the same, but not on the list that a message walks over.
 *
 * That list is of seats: they lie side by side and say all that a message needs to know of a member.
 * Members lie far apart, so that of many subscriptions hardly one is in the processor's cache. */
#ifndef HUB_FANOUT_H
#define HUB_FANOUT_H

#include <stdint.h>

#include "base/list.h"
#include "base/map.h"

struct fanout {
    struct map groups;
    uint64_t members;
};

struct fan_member {
    struct fan_group *group; /* NULL: not a member */
    uint32_t index;          /* on the list; FAN_ASIDE: set aside */
};

#define FAN_ASIDE UINT32_MAX

struct fan_seat {
    struct fan_member *member;
    void *owner; /* this and what follows: the caller's */
    uint32_t tag;
    uint32_t flags;
};

/* The members of one channel, and the place where those of them wait whose sockets are to be
 * written (session/flush.h). */
struct fan_group {
    struct map_node node;
    uint64_t channel;
    struct fan_seat *list;
    struct fan_seat only; /* the list, as long as it has never been longer */
    uint32_t count, size;
    uint32_t aside; /* members that are not on the list */
    uint32_t waiting_count;
    struct list waiting; /* sessions */
    struct list turn;    /* on the list of groups with waiting sessions */
    struct backlog
        *backlog; /* what has come since for those who stall (session/backlog.h), or NULL */
    bool busy;    /* being walked: not freed now */
    bool held;    /* its sessions wait for more (session/flush.h) */
};

void fanout_init(struct fanout *f);
void fanout_done(struct fanout *f);                                 /* must be empty of members */
struct fan_group *fanout_group(struct fanout *f, uint64_t channel); /* or NULL */
void fanout_join(struct fanout *f, uint64_t channel, struct fan_seat seat);
void fanout_leave(struct fanout *f, struct fan_member *m); /* no member: nothing happens */
/* Off the list, and on it again. */
void fanout_aside(struct fan_member *m);
void fanout_back(struct fan_seat seat);
/* Frees the group if it has neither members nor waiting sessions. */
void fanout_release(struct fanout *f, struct fan_group *g);

#endif
