#include "protocol/codes.h"

#include <stddef.h>

struct error_row {
    const char *name;
    bool retry;
    const char *text;
};

static const struct error_row errors[] = {
    [ERR_NONE] = {"none", false, "There is no error."},
    [ERR_BAD_REQUEST] = {"bad_request", false, "The frame is not as the protocol wants it."},
    [ERR_UNKNOWN_TYPE] = {"unknown_type", false, "There is no frame of this type."},
    [ERR_TOO_LARGE] = {"too_large", false, "The message is larger than the server accepts."},
    [ERR_UNAUTHENTICATED] = {"unauthenticated", false, "A login is needed first."},
    [ERR_TOKEN_EXPIRED] = {"token_expired", false, "The token has expired."},
    [ERR_FORBIDDEN] = {"forbidden", false, "This is not allowed."},
    [ERR_UNKNOWN_CHANNEL] = {"unknown_channel", false, "There is no such channel."},
    [ERR_ALREADY_SUBSCRIBED] = {"already_subscribed", false,
                                "This connection has subscribed to the channel already."},
    [ERR_NOT_SUBSCRIBED] = {"not_subscribed", false,
                            "This connection has not subscribed to the channel."},
    [ERR_UNSUPPORTED] = {"unsupported", false, "This cannot be done here."},
    [ERR_LIMIT] = {"limit", false, "A limit of the server has been reached."},
    [ERR_RATE_LIMITED] = {"rate_limited", true, "Too many frames in too short a time."},
    [ERR_BUSY] = {"busy", true, "The server has too much to do at the moment."},
    [ERR_BUS_UNAVAILABLE] = {"bus_unavailable", true,
                             "The bus cannot be reached; nothing has been done."},
    [ERR_BUS_ERROR] = {"bus_error", false, "The bus has refused."},
    [ERR_OUTCOME_UNKNOWN] = {"outcome_unknown", false,
                             "The bus has not answered in time; the message may be in the log."},
    [ERR_INTERNAL] = {"internal", false, "The server has made a mistake."},
};

struct close_row {
    enum close_code code;
    const char *reason;
};

static const struct close_row closes[] = {
    {CLOSE_NORMAL, "normal closure"},
    {CLOSE_GOING_AWAY, "going away"},
    {CLOSE_PROTOCOL, "protocol error"},
    {CLOSE_UNSUPPORTED_DATA, "unsupported data"},
    {CLOSE_NOT_UTF8, "text is not UTF-8"},
    {CLOSE_POLICY, "policy violation"},
    {CLOSE_TOO_BIG, "message too big"},
    {CLOSE_SERVER_ERROR, "internal error"},
    {CLOSE_RESTART, "service restart"},
    {CLOSE_SLOW, "slow consumer"},
    {CLOSE_NO_PONG, "no pong"},
    {CLOSE_TOKEN_EXPIRED, "token expired"},
    {CLOSE_TOO_OLD, "connection too old"},
    {CLOSE_UNAUTHENTICATED, "unauthenticated"},
    {CLOSE_ERRORS, "too many errors"},
    {CLOSE_LIMIT, "limit of the connection"},
};

static const struct error_row *error_row(enum error_code code)
{
    size_t i = (size_t)code;
    return &errors[i < sizeof(errors) / sizeof(errors[0]) ? i : ERR_INTERNAL];
}

const char *error_name(enum error_code code)
{
    return error_row(code)->name;
}

bool error_retry(enum error_code code)
{
    return error_row(code)->retry;
}

bool error_avoidable(enum error_code code)
{
    switch (code) {
    case ERR_BUSY:
    case ERR_BUS_UNAVAILABLE:
    case ERR_BUS_ERROR:
    case ERR_OUTCOME_UNKNOWN:
    case ERR_INTERNAL: return false;
    default: return true;
    }
}

const char *error_default(enum error_code code)
{
    return error_row(code)->text;
}

enum error_code error_of_status(enum wsbus_status s)
{
    switch (s) {
    case WSBUS_OK: return ERR_NONE;
    case WSBUS_BAD_REQUEST: return ERR_BAD_REQUEST;
    case WSBUS_UNKNOWN_TOPIC: return ERR_UNKNOWN_CHANNEL;
    case WSBUS_FORBIDDEN: return ERR_FORBIDDEN;
    case WSBUS_TOO_LARGE: return ERR_TOO_LARGE;
    case WSBUS_UNSUPPORTED: return ERR_UNSUPPORTED;
    case WSBUS_BUSY: return ERR_BUSY;
    case WSBUS_UNAVAILABLE: return ERR_BUS_UNAVAILABLE;
    case WSBUS_REFUSED: return ERR_BUS_ERROR;
    case WSBUS_OUTCOME_UNKNOWN: return ERR_OUTCOME_UNKNOWN;
    }
    return ERR_INTERNAL;
}

const char *close_reason(enum close_code code)
{
    for (size_t i = 0; i < sizeof(closes) / sizeof(closes[0]); i++)
        if (closes[i].code == code) return closes[i].reason;
    return "";
}
