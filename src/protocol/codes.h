/* Error codes and close codes of the wire protocol, version 1: each in one row of one table. */
#ifndef PROTOCOL_CODES_H
#define PROTOCOL_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include <wsbus/backend.h>

enum error_code {
    ERR_NONE,
    ERR_BAD_REQUEST,
    ERR_UNKNOWN_TYPE,
    ERR_TOO_LARGE,
    ERR_UNAUTHENTICATED,
    ERR_TOKEN_EXPIRED,
    ERR_FORBIDDEN,
    ERR_UNKNOWN_CHANNEL,
    ERR_ALREADY_SUBSCRIBED,
    ERR_NOT_SUBSCRIBED,
    ERR_UNSUPPORTED,
    ERR_LIMIT,
    ERR_RATE_LIMITED,
    ERR_BUSY,
    ERR_BUS_UNAVAILABLE,
    ERR_BUS_ERROR,
    ERR_OUTCOME_UNKNOWN,
    ERR_INTERNAL,
};

const char *error_name(enum error_code code); /* "bad_request" */
bool error_retry(enum error_code code);       /* may the same frame be sent again later? */
/* Could the client have known beforehand? Otherwise it is not held against it. */
bool error_avoidable(enum error_code code);
const char *error_default(enum error_code code);      /* one plain sentence, for want of a better */
enum error_code error_of_status(enum wsbus_status s); /* WSBUS_OK: ERR_NONE */

enum close_code {
    CLOSE_NORMAL = 1000,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_PROTOCOL = 1002,
    CLOSE_UNSUPPORTED_DATA = 1003,
    CLOSE_NO_CODE = 1005, /* never on the wire: a close frame without a code */
    CLOSE_NOT_UTF8 = 1007,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_SERVER_ERROR = 1011,
    CLOSE_RESTART = 1012,
    CLOSE_SLOW = 4000,
    CLOSE_NO_PONG = 4001,
    CLOSE_TOKEN_EXPIRED = 4002,
    CLOSE_TOO_OLD = 4003,
    CLOSE_UNAUTHENTICATED = 4500,
    CLOSE_ERRORS = 4501,
    CLOSE_LIMIT = 4502,
};

const char *close_reason(enum close_code code); /* the text that goes with it */

#endif
