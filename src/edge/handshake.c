/* The WebSocket handshake.
 *
 * Headers are read with lws_hdr_copy() only: the pointer that comes with the callback may dangle,
 * and libwebsockets 4.1 would take h2c (whose parser has known holes), any version, any key and
 * any method. What it would refuse by hanging up is refused here, with a status. */
#include "edge/handshake.h"

#include <libwebsockets.h>
#include <string.h>
#include <strings.h>

#include "edge/head.h"
#include "edge/http.h"
#include "edge/raw.h"

#define FORWARDED_MAX 2048 /* X-Forwarded-For */

static const struct http_answer fine = {0, NULL, NULL};
static const struct http_answer no_websocket = {404, NULL, "There are no WebSockets here."};

static struct http_answer bad(const char *text)
{
    return (struct http_answer){.status = 400, .text = text};
}

static bool header_is(struct lws *wsi, enum lws_token_indexes token, const char *want,
                      bool any_case)
{
    char value[64] = "";
    if (lws_hdr_copy(wsi, value, sizeof(value), token) <= 0) return false;
    return any_case ? strcasecmp(value, want) == 0 : strcmp(value, want) == 0;
}

static bool key_valid(struct lws *wsi)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[32] = "";
    if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) != 24) return false;
    if (lws_hdr_copy(wsi, key, sizeof(key), WSI_TOKEN_KEY) != 24) return false;
    return strspn(key, base64) == 22 && strcmp(key + 22, "==") == 0;
}

/* The request line. */
static struct http_answer check_request(struct lws *wsi, bool *ret_raw)
{
    char path[16] = "";
    if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) <= 0)
        return (struct http_answer){405, "Allow: GET\r\n", "A WebSocket is asked for with GET."};
    bool fits = lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) >= 0;
    *ret_raw = fits && strcmp(path, "/raw") == 0;
    if (!*ret_raw && (!fits || strcmp(path, "/ws") != 0))
        return (struct http_answer){404, NULL, "There is no WebSocket at this path: try /ws."};
    if (!header_is(wsi, WSI_TOKEN_HTTP, "HTTP/1.1", false))
        return bad("A WebSocket needs HTTP/1.1.");
    return fine;
}

/* The headers of RFC 6455, section 4.2.1. */
static struct http_answer check_upgrade(struct lws *wsi, bool raw)
{
    static const char version[] = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    if (!header_is(wsi, WSI_TOKEN_UPGRADE, "websocket", true))
        return (struct http_answer){426, version, "Only an upgrade to websocket is possible."};
    if (!header_is(wsi, WSI_TOKEN_VERSION, "13", false))
        return (struct http_answer){426, version, "Only version 13 of WebSocket is spoken here."};
    if (!header_is(wsi, WSI_TOKEN_CONNECTION, "upgrade", false)) /* head_strip() */
        return bad("The Connection header must contain Upgrade.");
    if (!key_valid(wsi)) return bad("Sec-WebSocket-Key must be 16 bytes in base64.");
    if (lws_hdr_total_length(wsi, WSI_TOKEN_HOST) <= 0) return bad("The Host header is missing.");
    if (lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) <= 0) return fine;
    if (raw) return bad("There is no subprotocol at /raw.");
    if (header_is(wsi, WSI_TOKEN_PROTOCOL, HEAD_SUBPROTOCOL, false)) return fine;
    return bad("The only subprotocol spoken here is " HEAD_SUBPROTOCOL ".");
}

/* A header as access wants it: p NULL if there is none. False if it is too long to be real. */
static bool take(struct lws *wsi, enum lws_token_indexes token, char *room, int size,
                 struct span *ret)
{
    *ret = (struct span){NULL, 0};
    if (lws_hdr_total_length(wsi, token) <= 0) return true;
    int n = lws_hdr_copy(wsi, room, size, token);
    if (n < 0) return false;
    *ret = span_of(room, (size_t)n);
    return true;
}

/* Who is behind a proxy that is trusted, and may there be one more of them? */
static struct http_answer forwarded(struct conn *c)
{
    char room[FORWARDED_MAX];
    struct span header;
    if (c->http->refusal == ARRIVAL_WELCOME && c->http->proxied) {
        if (!take(c->wsi, WSI_TOKEN_X_FORWARDED_FOR, room, sizeof(room), &header))
            return bad("X-Forwarded-For is too long.");
        struct address client = trust_client(c->edge->trust, &c->address, header);
        conn_forwarded(c, &client);
    }
    return c->http->refusal == ARRIVAL_WELCOME ? fine : *http_refusal(c);
}

static struct http_answer check_access(struct conn *c)
{
    static const struct http_answer foreign = {
        403, NULL, "This Origin or Host may not connect (see access.origins)."};
    char origin[512], host[512];
    struct span o, h;
    if (!take(c->wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin), &o) ||
        !take(c->wsi, WSI_TOKEN_HOST, host, sizeof(host), &h))
        return foreign;
    const struct access_way way = {.loopback = c->http->loopback, .tls = c->tls != NULL};
    if (!access_origin(c->edge->access, o, h, way)) return foreign;
    if (atomic_load(&c->edge->admission->draining))
        return (struct http_answer){503, "Retry-After: 5\r\n", "This server is going down."};
    return forwarded(c);
}

/* ---- compressed messages --------------------------------------------------------------------- */

static struct http_answer check_extensions(struct conn *c)
{
    if (!c->edge->inflater || c->http->offered == OFFER_NONE) return fine;
    if (c->http->offered == OFFER_MALFORMED) return bad("Sec-WebSocket-Extensions is malformed.");
    c->transport.window_bits = c->http->offer.window_bits;
    return fine;
}

/* libwebsockets asks also for answers to plain requests, where there was no offer. */
void handshake_answer(struct conn *c, struct lws_process_html_args *args)
{
    char line[OFFER_ANSWER_MAX];
    if (c->transport.window_bits == 0) return;
    size_t n = offer_answer(&c->http->offer, line);
    if (args->max_len < 0 || (size_t)args->max_len < n) {
        c->transport.window_bits = 0; /* nobody has been told */
        return;
    }
    memcpy(args->p, line, n);
    args->p += n;
    args->max_len -= (int)n;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int handshake_check(struct conn *c)
{
    static const struct http_answer unseen = {500, NULL,
                                              "This program is not linked as it must be."};
    if (!guard_saw_upgrade(c)) return http_send(c, &unseen);
    bool raw = false;
    struct http_answer a = c->admin ? no_websocket : check_request(c->wsi, &raw);
    if (a.status == 0) a = check_upgrade(c->wsi, raw);
    if (a.status == 0) a = check_extensions(c);
    if (a.status == 0) a = check_access(c);
    if (a.status != 0) return http_send(c, &a);
    return raw ? raw_check(c) : 0;
}
