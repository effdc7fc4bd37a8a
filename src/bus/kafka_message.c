#include "bus/kafka_message.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bus/kafka_pos.h"

#define FEW_HEADERS 16

/* In order; the names and values stay librdkafka's. */
static void take_headers(const rd_kafka_headers_t *from, size_t count, struct wsbus_header *to)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = "";
        const void *value = NULL;
        size_t size = 0;
        if (rd_kafka_header_get_all(from, i, &name, &value, &size)) break;
        to[i] = (struct wsbus_header){
            .name = name,
            .name_len = (uint32_t)strlen(name),
            .value = value ? value : "",
            .value_len = value ? (uint32_t)size : 0,
        };
    }
}

struct wsbus_message *kafka_message_new(const rd_kafka_message_t *m)
{
    struct wsbus_header few[FEW_HEADERS], *headers = few;
    rd_kafka_headers_t *from = NULL;
    size_t count = 0;
    if (rd_kafka_message_headers(m, &from) == RD_KAFKA_RESP_ERR_NO_ERROR && from)
        count = rd_kafka_header_cnt(from);
    if (count > FEW_HEADERS) headers = mem_alloc(count * sizeof(*headers));
    if (count > 0) take_headers(from, count, headers);
    rd_kafka_timestamp_type_t kind;
    int64_t ts = rd_kafka_message_timestamp(m, &kind);
    const struct wsbus_message lent = {
        .header_count = (uint32_t)count,
        .pos = kafka_pos_before(m->partition, m->offset + 1),
        .ts = ts < 0 ? 0 : ts,
        .key = m->key,
        .payload = m->payload,
        .key_len = m->key ? (uint32_t)m->key_len : 0,
        .payload_len = m->payload ? (uint32_t)m->len : 0,
        .headers = headers,
    };
    struct wsbus_message *copy = wsbus_message_new(&lent);
    if (headers != few) free(headers);
    return copy;
}

bool kafka_message_matches(const rd_kafka_message_t *m, const char *key, size_t key_len)
{
    if (!key) return true;
    return m->key && m->key_len == key_len && (key_len == 0 || memcmp(m->key, key, key_len) == 0);
}

bool kafka_passes(rd_kafka_resp_err_t err)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE: return true;
    default: return false;
    }
}

enum wsbus_status kafka_status(rd_kafka_resp_err_t err)
{
    if (kafka_passes(err)) return WSBUS_UNAVAILABLE;
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return WSBUS_OK;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION: return WSBUS_UNKNOWN_TOPIC;
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return WSBUS_BAD_REQUEST;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: return WSBUS_FORBIDDEN;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE: return WSBUS_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return WSBUS_BUSY;
    default: return WSBUS_REFUSED;
    }
}
