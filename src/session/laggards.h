/* Laggards: the sessions of a worker whose sockets take less than is said, by how much waits for
 * them. When the process is at its memory ceiling (base/ceiling.h) those who are the most behind go
 * first: messages that may be lost are dropped, and where that is not enough the connection is
 * closed with 4000. Lists by powers of two: a session moves only when its queue has doubled or
 * halved, and the greatest is found at once. Worker thread. */
#ifndef SESSION_LAGGARDS_H
#define SESSION_LAGGARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define LAGGARD_LEAST 16384u /* bytes; who is less behind is none */
#define LAGGARD_LISTS 24u

struct session;

struct laggards {
    struct list lists[LAGGARD_LISTS]; /* the first holds those from LAGGARD_LEAST on */
    uint32_t some;                    /* a bit for each list that may have members */
};

struct laggard {
    struct list node;
    uint8_t weight; /* 1 + its list; 0: on none */
};

void laggards_init(struct laggards *l);
void laggard_init(struct laggard *n);
/* So many bytes wait for it. */
void laggard_weigh(struct laggards *l, struct laggard *n, size_t bytes);
void laggard_drop(struct laggard *n);
/* One of those who are the most behind; NULL: nobody is. */
struct laggard *laggards_worst(struct laggards *l);

#endif
