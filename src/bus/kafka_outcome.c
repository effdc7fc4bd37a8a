#include "bus/kafka_outcome.h"

#include <string.h>

#include "bus/kafka_message.h"

struct wsbus_answer kafka_outcome(rd_kafka_resp_err_t err, rd_kafka_msg_status_t status,
                                  bool retried)
{
    /* The partition was there before: the topic is another one now, or none. */
    if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        return (struct wsbus_answer){WSBUS_UNKNOWN_TOPIC,
                                     rd_kafka_err2str(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)};
    struct wsbus_answer a = {kafka_status(err), rd_kafka_err2str(err)};
    if (err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        a = (struct wsbus_answer){WSBUS_UNAVAILABLE, "no broker answered in time"};
    if (retried || status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED) a.status = WSBUS_OUTCOME_UNKNOWN;
    return a;
}

/* librdkafka writes behind a complaint how far the connection was. */
bool kafka_outcome_breaks(rd_kafka_resp_err_t err, const char *words)
{
    static const char up[] = " in state UP";
    const char *state = strstr(words, " in state ");
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) return false;
    return !state || strncmp(state, up, sizeof(up) - 1) == 0;
}
