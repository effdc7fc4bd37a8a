/* CLIENT UNBLOCK: how a reader whose XREAD waits hears of a stream that was added to it. */
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "bus/redis_reader.h"

#define WAKE_MAX_MS 500

struct wake {
    struct link_call call;
    struct reader *reader; /* NULL: gone */
    uint64_t serial;       /* of the XREAD that is to end */
};

static void unblock_is_denied(struct reader *r, const char *words)
{
    const struct wsbus_host *host = r->tail->host;

    if (r->tail->unblock_denied) return;
    r->tail->unblock_denied = true;
    host->log(host, WSBUS_LOG_WARN,
              "CLIENT UNBLOCK is refused (%s): a stream that is followed anew is heard of up to %d "
              "ms late; allow the user +client|unblock and +client|id",
              words, READER_UNWOKEN_MS);
}

static void on_woken(struct link_call *call, enum call_fate fate, const struct redisReply *reply)
{
    struct wake *w = CONTAINER_OF(call, struct wake, call);
    struct reader *r = w->reader;
    uint64_t serial = w->serial;

    free(w);
    if (!r) return;
    r->wake = NULL;
    if (fate == CALL_ANSWERED && reply->type == REDIS_REPLY_ERROR) {
        unblock_is_denied(r, reply->str);
        return;
    }
    if (r->state != READER_WAITING || !r->stale) return;
    if (fate == CALL_ANSWERED && r->serial != serial) {
        reader_wake(r); /* another XREAD has been sent since, and a stream was added since that */
        return;
    }
    if (fate == CALL_ANSWERED && reply->integer == 1) return;
    /* It came before the XREAD that it was to end. */
    r->tail->host->timer_set(r->again, r->wake_after);
    if (r->wake_after < WAKE_MAX_MS) r->wake_after *= 2;
}

void reader_rouse(struct reader *r)
{
    char id[24];
    const char *argv[] = {"CLIENT", "UNBLOCK", id};
    size_t lens[] = {6, 7, 0};

    if (r->wake || r->tail->unblock_denied) return;
    if (link_client_id(r->link) == 0) {
        unblock_is_denied(r, "the number of the connection is not known");
        return;
    }
    r->wake = mem_zero(sizeof *r->wake);
    r->wake->call.done = on_woken;
    r->wake->reader = r;
    r->wake->serial = r->serial;
    lens[2] = (size_t)snprintf(id, sizeof id, "%lld", link_client_id(r->link));
    if (link_send(r->tail->commands, &r->wake->call, 3, argv, lens) == 0) return;
    free(r->wake);
    r->wake = NULL;
    r->tail->host->timer_set(r->again, WAKE_MAX_MS);
}

void reader_wake(struct reader *r)
{
    if (link_cancel(r->link, &r->call))
        reader_read(r);
    else
        reader_rouse(r);
}

void reader_unrouse(struct reader *r)
{
    if (r->wake) r->wake->reader = NULL;
    r->wake = NULL;
}
