/* Laggards: the sessions of a worker whose sockets take less than is said, by how much waits for
 * them. When the process is at its memory ceiling (base/ceiling.h) those who are the most behind go
 * first: messages that may be lost are dropped, and where that is not enough the connection is
 * closed with 4000. Lists by powers of two: a session moves only when its queue has doubled or
 * halved, and the greatest is found at once. Worker thread.
 *
 * The most behind of the process may be at another worker: each tells the others how far its own worst
 * is (laggards_tell(), once a turn), and lets those go first whose worst is further behind. */
#ifndef SESSION_LAGGARDS_H
#define SESSION_LAGGARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define LAGGARD_LEAST 16384u /* bytes; who is less behind is none */
#define LAGGARD_LISTS 24u
#define LAGGARD_WORKERS 256u

struct session;

struct laggards {
    struct list lists[LAGGARD_LISTS]; /* the first holds those from LAGGARD_LEAST on */
    uint32_t some;                    /* a bit for each list that may have members */
    unsigned worker;                  /* below LAGGARD_WORKERS */
    uint8_t told;                     /* the weight that the others know */
};

struct laggard {
    uint8_t weight; /* 1 + its list; 0: on none */
    struct list node;
};

void laggards_init(struct laggards *l, unsigned worker);
void laggard_init(struct laggard *n);
/* So many bytes wait for it. */
void laggard_weigh(struct laggards *l, struct laggard *n, size_t bytes);
/* Its list stays the same up to so many bytes. */
size_t laggard_most(const struct laggard *n);
void laggard_drop(struct laggard *n);
/* One of those who are the most behind; NULL: nobody is. */
struct laggard *laggards_worst(struct laggards *l);
void laggards_tell(struct laggards *l); /* also before `l` goes, when it is empty */
/* Has another worker one that is further behind than all of these, as it told? */
bool laggards_yield(struct laggards *l);

#endif
