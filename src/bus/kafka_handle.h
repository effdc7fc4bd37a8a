/* A handle of librdkafka (rd_kafka_t) whose events come to the bus thread.
 *
 * librdkafka signals an eventfd when its queue gets something; the loop then takes what is there, in
 * portions, so that one busy handle does not keep the others waiting. Nothing here blocks. A handle
 * reconnects by itself for as long as it lives, with the pauses of librdkafka.
 *
 * What librdkafka has to say goes to the log of the bus, each line once in a while; what a handle is
 * told about its brokers goes to ops->error, a connection that was closed while it was in use too.
 *
 * Destroying a handle can take long, so kafka_handle_free() only hands it to a thread of its own
 * (kafka_crew.h). A helper thread that uses the rd_kafka_t holds it meanwhile: the last to let go
 * destroys it. Bus thread, except kafka_hold_rk() and kafka_hold_drop(). */
#ifndef BUS_KAFKA_HANDLE_H
#define BUS_KAFKA_HANDLE_H

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

#include "bus/kafka_config.h"
#include "bus/kafka_crew.h"

struct kafka_handle;
struct kafka_hold;

/* The callee may call anything of this module, kafka_handle_free() too. */
struct kafka_handle_ops {
    /* Consumer: a message, or the error of one partition (m->err), of which PARTITION_EOF is one:
     * m->offset is then the offset of the next message to come. Producer: a delivery report. Lent.
     * Returns false to stop the flow (after this one) until kafka_handle_resume(). */
    bool (*message)(void *owner, const rd_kafka_message_t *m);
    /* About the handle as a whole: no broker can be reached, the login was refused, … With
     * RD_KAFKA_RESP_ERR__FATAL the handle is of no more use. May be NULL. */
    void (*error)(void *owner, rd_kafka_resp_err_t err, const char *words);
};

struct kafka_handle_spec {
    const struct wsbus_host *host;
    const struct kafka_config *config;
    enum kafka_role role;
    struct kafka_crew *crew; /* lent */
    const struct kafka_handle_ops *ops;
    void *owner;
};

/* NULL with one sentence in `err`: something in the configuration, or no threads. */
struct kafka_handle *kafka_handle_new(const struct kafka_handle_spec *spec, char *err,
                                      size_t err_size);
/* No callback after it. NULL is fine. */
void kafka_handle_free(struct kafka_handle *h);
/* For calls that do not block: rd_kafka_producev(), rd_kafka_assign() takes microseconds but waits
 * for librdkafka's main thread, so it goes to the crew. */
rd_kafka_t *kafka_handle_rk(struct kafka_handle *h);
/* Stops the flow from the loop, as ops->message does from inside. */
void kafka_handle_pause(struct kafka_handle *h);
/* Message flow again, after ops->message returned false; from the loop, not from inside. */
void kafka_handle_resume(struct kafka_handle *h);

/* For a job of the crew: keeps the rd_kafka_t alive beyond kafka_handle_free(). */
struct kafka_hold *kafka_handle_hold(struct kafka_handle *h);
rd_kafka_t *kafka_hold_rk(struct kafka_hold *hold);
void kafka_hold_drop(struct kafka_hold *hold); /* any thread */
/* For a job of the crew, before it changes what is assigned: what the last change began has ended.
 * librdkafka (2.0.2, 2.8.0) aborts the process if a partition is taken away for a second time while its
 * first stop is under way ("rktp_started"). Takes microseconds. */
void kafka_hold_settle(struct kafka_hold *hold);

#endif
