/* A worker's sessions without sockets and without buses: the transport keeps what is written to
 * it, the inboxes of the buses are read by the test, time stands still. */
#ifndef TESTS_UNIT_SESSION_RIG_H
#define TESTS_UNIT_SESSION_RIG_H

#include "base/timers.h"
#include "config/config.h"
#include "hub/mail.h"
#include "session/session.h"

#define WIRE_FRAMES 4096

/* The far end of one connection. */
struct wire {
    struct transport transport;
    enum transport_result result; /* of the next writes */
    uint32_t waiting;             /* what it says is below the queue, once it is choked */
    unsigned writes, pings;
    size_t largest;            /* bytes of one write */
    char *frames[WIRE_FRAMES]; /* text frames, oldest first */
    size_t count, read;
    unsigned binaries; /* binary frames, which are not kept */
    int code;          /* 0: open */
    char reason[128];
    struct session *session;
};

struct rig {
    struct config config;
    struct config_bus buses[2];
    struct config_rule rules[6];
    struct route_table *routes;
    struct access *access;
    struct timers timers;
    struct inbox inbox, bus[2];
    struct inbox_item *waiting[2]; /* taken from a bus's inbox, not yet looked at */
    struct session_worker *worker;
};

/* Channels: log.* (bus 0, can do everything), keyed.{k} (bus 0, by key), plain.* (bus 1, can do
 * nothing), mute.* (no publish, no history), secret.* (access says no). */
void rig_init(struct rig *r);
void rig_start(struct rig *r); /* after changes to r->config */
void rig_done(struct rig *r);

void wire_prepare(struct wire *w);             /* for a session that the test opens itself */
void wire_open(struct rig *r, struct wire *w); /* opens a session and reads its welcome */
void wire_free(struct wire *w);
void wire_gone(struct rig *r, struct wire *w);
void wire_send(struct rig *r, struct wire *w, const char *text);
/* The next frame must hold this text. */
void wire_expect(struct wire *w, const char *part);
void wire_expect_none(struct wire *w);

/* The oldest item for a bus, which must be of this kind: the caller frees it. */
struct inbox_item *rig_mail(struct rig *r, unsigned bus, enum mail_kind kind);
void rig_no_mail(struct rig *r, unsigned bus);
/* The number of the oldest item, which is freed. */
uint64_t rig_number(struct rig *r, unsigned bus, enum mail_kind kind);
/* Mail from a bus; then the worker has a turn. */
void rig_say(struct rig *r, struct inbox_item *item);
void rig_turn(struct rig *r);
void rig_wait(struct rig *r, uint64_t ms); /* time goes by in steps of at most 100 ms */

/* What buses say. */
void rig_subscribed(struct rig *r, uint64_t id, uint64_t channel);
void rig_refused(struct rig *r, uint64_t id);
void rig_live(struct rig *r, uint64_t channel, const char *text);
void rig_frame(struct rig *r, uint64_t id, struct span text);
void rig_chunk(struct rig *r, uint64_t id, uint64_t channel);
void rig_left(struct rig *r, uint64_t id, const char *reason); /* NULL: an answer */
void rig_done_mail(struct rig *r, enum mail_kind kind, uint64_t id, const char *text);

#endif
