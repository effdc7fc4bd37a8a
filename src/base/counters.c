#include "base/counters.h"

#define LIMIT_HELP "What was refused, closed or dropped because of a limit, by limit"
#define LIMIT(label)                                                 \
    {                                                                \
        "limit_hits_total", "limit=\"limits." label "\"", LIMIT_HELP \
    }
#define HTTP(label)                                   \
    {                                                 \
        "http_answers_total", "status=\"" label "\"", \
            "Answers over HTTP, by status "           \
            "(101 is a handshake)"                    \
    }
#define TLS(label)                                                                       \
    {                                                                                    \
        "tls_handshakes_total", "outcome=\"" label "\"", "Handshakes of TLS, by outcome" \
    }
#define GAP(label)                                                                \
    {                                                                             \
        "gaps_total", "reason=\"" label "\"", "Gap frames for clients, by reason" \
    }
#define COMPRESSED(way, whose, label)                                    \
    {                                                                    \
        "compressed_bytes_" way "_total", "form=\"" label "\"",          \
            "Bytes of compressed messages " whose                        \
            ", as they were sent (wire) and without compression (plain)" \
    }

const struct counter_row counter_rows[COUNTER_COUNT] = {
    [COUNTER_ACCEPTED] = {"connections_accepted_total", NULL, "Connections that were accepted"},
    [COUNTER_DROPPED_CONNECTIONS] = {"connections_dropped_total", NULL,
                                     "Connections that were closed at once, without an answer"},
    [COUNTER_HTTP_2XX] = HTTP("2xx"),
    [COUNTER_HTTP_3XX] = HTTP("3xx"),
    [COUNTER_HTTP_4XX] = HTTP("4xx"),
    [COUNTER_HTTP_5XX] = HTTP("5xx"),
    [COUNTER_HANDSHAKES] = {"handshakes_total", NULL, "Connections that became a WebSocket"},
    [COUNTER_TLS_WHOLE] = TLS("whole"),
    [COUNTER_TLS_RESUMED] = TLS("resumed"),
    [COUNTER_TLS_FAILED] = TLS("failed"),
    [COUNTER_SESSIONS] = {"sessions", NULL, "Open WebSockets"},
    [COUNTER_SUBSCRIPTIONS] = {"subscriptions", NULL, "Subscriptions of clients"},
    [COUNTER_FRAMES_IN] = {"frames_in_total", NULL, "WebSocket messages of clients"},
    [COUNTER_BYTES_IN] = {"bytes_in_total", NULL, "Bytes in WebSocket messages of clients"},
    [COUNTER_PUBLISHES] = {"messages_in_total", NULL, "Messages of clients given to a bus"},
    [COUNTER_MESSAGES_OUT] = {"messages_out_total", NULL,
                              "Messages of channels queued for clients (without pages of history)"},
    [COUNTER_FRAMES_OUT] = {"frames_out_total", NULL, "WebSocket frames written to clients"},
    [COUNTER_BYTES_OUT] = {"bytes_out_total", NULL, "Bytes of frames written to clients"},
    [COUNTER_PACKED_FRAMES_IN] = {"compressed_frames_in_total", NULL,
                                  "Compressed WebSocket messages of clients"},
    [COUNTER_PACKED_BYTES_IN] = COMPRESSED("in", "of clients", "wire"),
    [COUNTER_PACKED_PLAIN_IN] = COMPRESSED("in", "of clients", "plain"),
    [COUNTER_PACKED_FRAMES_OUT] = {"compressed_frames_out_total", NULL,
                                   "Compressed WebSocket frames written to clients"},
    [COUNTER_PACKED_BYTES_OUT] = COMPRESSED("out", "for clients", "wire"),
    [COUNTER_PACKED_PLAIN_OUT] = COMPRESSED("out", "for clients", "plain"),
    [COUNTER_QUEUE_BYTES] = {"queue_bytes", NULL, "Bytes that wait for clients"},
    [COUNTER_DROPPED_SLOW] = {"messages_dropped_total", "reason=\"slow\"",
                              "Messages that clients did not get, by reason (a gap tells them)"},
    [COUNTER_ERRORS] = {"errors_total", NULL, "Error frames to clients"},
    [COUNTER_REQUESTS_BUSY] = {"requests_busy_total", NULL,
                               "Requests refused with busy: a queue was full"},
    [COUNTER_BUS_MESSAGES] = {"bus_messages_total", NULL, "Messages that came from a bus"},
    [COUNTER_FEEDS] = {"bus_feeds", NULL, "Topics that are followed on a bus"},
    [COUNTER_FOLLOWERS] = {"bus_followers", NULL, "Subscriptions that a bus serves"},
    [COUNTER_GAPS_SLOW] = GAP("slow"),
    [COUNTER_GAPS_BUS] = GAP("bus"),
    [COUNTER_GAPS_EXPIRED] = GAP("expired"),
    [COUNTER_GAPS_LIMIT] = GAP("limit"),
    [COUNTER_GAPS_OTHER] = GAP("other"),
    [COUNTER_LIMIT_CONNECTIONS] = LIMIT("connections"),
    [COUNTER_LIMIT_ADDRESS_CONNECTIONS] = LIMIT("address_connections"),
    [COUNTER_LIMIT_HANDSHAKES] = LIMIT("handshakes_per_second"),
    [COUNTER_LIMIT_ADDRESS_HANDSHAKES] = LIMIT("address_handshakes_per_second"),
    [COUNTER_LIMIT_HANDSHAKE_MS] = LIMIT("handshake_ms"),
    [COUNTER_LIMIT_HALF_OPEN] = LIMIT("half_open"),
    [COUNTER_LIMIT_HEADER_BYTES] = LIMIT("header_bytes"),
    [COUNTER_LIMIT_FRAME_BYTES] = LIMIT("frame_bytes"),
    [COUNTER_LIMIT_FRAGMENTS] = LIMIT("fragments"),
    [COUNTER_LIMIT_INFLATE_RATIO] = LIMIT("inflate_ratio"),
    [COUNTER_LIMIT_MESSAGE_MS] = LIMIT("message_ms"),
    [COUNTER_LIMIT_MESSAGE_BYTES] = LIMIT("message_bytes"),
    [COUNTER_LIMIT_FRAMES] = LIMIT("frames_per_second"),
    [COUNTER_LIMIT_BYTES] = LIMIT("bytes_per_second"),
    [COUNTER_LIMIT_PUBLISHES] = LIMIT("publishes_per_second"),
    [COUNTER_LIMIT_SUBSCRIBES] = LIMIT("subscribes_per_second"),
    [COUNTER_LIMIT_SUBSCRIPTIONS] = LIMIT("subscriptions"),
    [COUNTER_LIMIT_CHANNEL_BYTES] = LIMIT("channel_bytes"),
    [COUNTER_LIMIT_ERRORS] = LIMIT("errors"),
    [COUNTER_LIMIT_QUEUE] = LIMIT("queue_bytes"),
    [COUNTER_LIMIT_PONG_MS] = LIMIT("pong_ms"),
    [COUNTER_LIMIT_MEMORY] = LIMIT("memory_bytes"),
};
