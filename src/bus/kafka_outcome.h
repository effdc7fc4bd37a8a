/* What became of a message that was given to librdkafka and not stored, as an answer to its publisher.
 *
 * librdkafka (2.0.2) can say of a message that is on its way for a second time that it was never stored,
 * although the first attempt may have stored it. So that is believed only of messages that were given
 * after the last connection broke. Bus thread. */
#ifndef BUS_KAFKA_OUTCOME_H
#define BUS_KAFKA_OUTCOME_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include <wsbus/backend.h>

/* `retried`: a connection broke since it was given. The words are not to be freed. */
struct wsbus_answer kafka_outcome(rd_kafka_resp_err_t err, rd_kafka_msg_status_t status,
                                  bool retried);
/* May what a producer is told (kafka_handle_ops.error) mean that messages under way lose their answer?
 * Not if it is about a connection that was not made yet. */
bool kafka_outcome_breaks(rd_kafka_resp_err_t err, const char *words);

#endif
