/* A publish or a history request that its bus has not answered yet. History requests of one
 * session go to the bus one at a time; the others wait here, with their mail ready. */
#ifndef SESSION_ERRAND_H
#define SESSION_ERRAND_H

#include "session/inside.h"

enum errand_kind { ERRAND_PUBLISH, ERRAND_HISTORY };

struct errand {
    struct map_node by_number;
    struct list node; /* of the session */
    struct session *session;
    uint64_t number;
    struct mail_ask *held; /* history that waits for its turn */
    uint16_t bus;
    uint8_t kind; /* enum errand_kind */
    uint8_t channel_len;
    uint16_t id_len; /* 0: the frame had none */
    char text[];     /* channel, id */
};

struct errand *errand_new(struct session *s, enum errand_kind kind, struct span channel,
                          struct span id);
struct errand *errand_find(struct session_worker *w, uint64_t number);
struct span errand_channel(const struct errand *e);
struct span errand_id(const struct errand *e); /* p NULL: none */
void errand_free(struct errand *e);

/* Takes the mail over and posts it when its turn has come; `busy` is answered if the bus has no
 * room then. */
void errand_history(struct errand *e, unsigned bus, struct mail_ask *mail);
/* There may be room for the next page, or the last one is answered. */
void errands_history(struct session *s);
void errands_forget(struct session *s); /* all, without answers */
void errands_fail(struct session *s);   /* answers all: the session cannot wait any longer */

#endif
