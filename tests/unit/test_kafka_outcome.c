#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/kafka_outcome.h"

#define NOT RD_KAFKA_MSG_STATUS_NOT_PERSISTED
#define PERHAPS RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED

static void unknown_where_it_may_be_stored(void **state)
{
    static const struct row {
        rd_kafka_resp_err_t err;
        rd_kafka_msg_status_t status;
        bool retried;
        enum wsbus_status expected;
    } rows[] = {
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, NOT, false, WSBUS_UNAVAILABLE},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, NOT, true, WSBUS_OUTCOME_UNKNOWN},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, PERHAPS, false, WSBUS_OUTCOME_UNKNOWN},
        {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, PERHAPS, false, WSBUS_OUTCOME_UNKNOWN},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, NOT, false, WSBUS_FORBIDDEN},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, NOT, true, WSBUS_OUTCOME_UNKNOWN},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, NOT, false, WSBUS_TOO_LARGE},
        {RD_KAFKA_RESP_ERR__QUEUE_FULL, NOT, false, WSBUS_BUSY},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, NOT, true, WSBUS_UNKNOWN_TOPIC},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct wsbus_answer a = kafka_outcome(rows[i].err, rows[i].status, rows[i].retried);
        assert_int_equal(a.status, rows[i].expected);
        assert_non_null(a.words);
    }
}

static void what_breaks(void **state)
{
    (void)state;
    const rd_kafka_resp_err_t transport = RD_KAFKA_RESP_ERR__TRANSPORT;
    assert_true(kafka_outcome_breaks(transport, "b:1/1: Disconnected (after 5ms in state UP)"));
    assert_true(kafka_outcome_breaks(transport, "b:1/1: Disconnected (after 5ms in state UPDATE)"));
    assert_true(kafka_outcome_breaks(transport, "words of another version"));
    assert_false(kafka_outcome_breaks(
        transport, "b:1/1: Connect failed: Connection refused (after 0ms in state CONNECT)"));
    assert_false(kafka_outcome_breaks(RD_KAFKA_RESP_ERR__AUTHENTICATION,
                                      "b:1/1: no (after 3ms in state AUTH_REQ)"));
    assert_false(kafka_outcome_breaks(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "1/1 are down"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_where_it_may_be_stored),
        cmocka_unit_test(what_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
