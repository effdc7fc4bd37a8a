/* Plain HTTP. */
#include "edge/http.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "edge/page.h"
#include "edge/scrape.h"

#define GREETING                                                          \
    "This is wsbus: a bridge between WebSockets and a message bus.\n"     \
    "Connect to /ws and send one JSON object per message, for instance\n" \
    "  websocat %s://%s/ws\n"                                             \
    "  {\"type\":\"subscribe\",\"id\":1,\"channel\":\"quotes.EURUSD\"}\n" \
    "or, in the console of a browser that is on this page,\n"             \
    "  ws = new WebSocket(`%s://${location.host}/ws`)\n"                  \
    "  ws.onmessage = (m) => console.log(m.data)\n"                       \
    "  ws.onopen = () => ws.send('{\"type\":\"subscribe\",\"id\":1,"      \
    "\"channel\":\"quotes.EURUSD\"}')"

static const char *reason_phrase(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "Error";
    }
}

static void write_answer(struct conn *c, const struct http_answer *a, const char *type, bool body)
{
    unsigned char room[LWS_PRE + 6144];
    char peer[ADDRESS_TEXT_MAX];
    char *out = (char *)room + LWS_PRE;
    size_t size = sizeof(room) - LWS_PRE;
    int n = snprintf(out, size,
                     "HTTP/1.1 %u %s\r\n"
                     "Content-Type: %s\r\n"
                     "Content-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n"
                     "X-Content-Type-Options: nosniff\r\n"
                     "%s"
                     "Connection: %sclose\r\n\r\n"
                     "%s%s",
                     a->status, reason_phrase(a->status), type, strlen(a->text) + 1,
                     a->headers ? a->headers : "", a->status == 426 ? "Upgrade, " : "",
                     body ? a->text : "", body ? "\n" : "");
    if (n > 0 && (size_t)n < size)
        (void)lws_write(c->wsi, (unsigned char *)out, (size_t)n, LWS_WRITE_RAW);
    if (a->status >= 200 && a->status < 600)
        counter_add(session_worker_counters(c->edge->sessions),
                    (enum counter)(COUNTER_HTTP_2XX + a->status / 100 - 2), 1);
    if (a->status >= 400)
        log_debug(log_event("refused"), log_s("peer", conn_peer(c, peer)),
                  log_i("status", a->status), log_s("text", a->text));
}

int http_send(struct conn *c, const struct http_answer *a)
{
    return http_send_as(c, a, "text/plain; charset=utf-8");
}

int http_send_as(struct conn *c, const struct http_answer *a, const char *type)
{
    write_answer(c, a, type, lws_hdr_total_length(c->wsi, WSI_TOKEN_HEAD_URI) <= 0);
    return -1;
}

const struct http_answer *http_refusal(const struct conn *c)
{
    static const struct http_answer answers[] = {
        [ARRIVAL_FULL] = {503, "Retry-After: 5\r\n", "This server is full (limits.connections)."},
        [ARRIVAL_MEMORY] = {503, "Retry-After: 5\r\n",
                            "This server has no memory left (limits.memory_bytes)."},
        [ARRIVAL_RATE] =
            {503, "Retry-After: 1\r\n",
             "Too many new connections at this moment (limits.handshakes_per_second)."},
        [ARRIVAL_ADDRESS_CONNECTIONS] = {429, "Retry-After: 5\r\n",
                                         "Too many connections from this address "
                                         "(limits.address_connections)."},
        [ARRIVAL_ADDRESS_RATE] = {429, "Retry-After: 1\r\n",
                                  "Too many new connections from this address "
                                  "(limits.address_handshakes_per_second)."},
    };
    return &answers[c->http->refusal];
}

void http_refuse(struct conn *c, const struct http_answer *a)
{
    if (c->state != CONN_HTTP) return;
    if (a->status == 431)
        counter_add(session_worker_counters(c->edge->sessions), COUNTER_LIMIT_HEADER_BYTES, 1);
    write_answer(c, a, "text/plain; charset=utf-8", true);
    conn_linger(c);
}

static bool ready(const struct edge *e)
{
    if (atomic_load(&e->admission->draining)) return false;
    if (atomic_load(&e->admission->open) >= e->admission->limit) return false;
    for (unsigned i = 0; i < hub_bus_count(e->hub); i++)
        if (hub_bus_up(e->hub, i)) return true;
    return false;
}

static int greet(struct conn *c)
{
    char host[256] = "";
    char text[1280];
    if (lws_hdr_copy(c->wsi, host, sizeof(host), WSI_TOKEN_HOST) <= 0)
        snprintf(host, sizeof(host), "localhost");
    const char *scheme = c->tls ? "wss" : "ws";
    snprintf(text, sizeof(text), GREETING, scheme, host, scheme);
    return http_send(c, &(struct http_answer){.status = 200, .text = text});
}

static int health(struct conn *c, bool good, const char *bad)
{
    struct http_answer a = {.status = 200, .text = "ok"};
    if (!good) a = (struct http_answer){503, "Retry-After: 1\r\n", bad};
    return http_send(c, &a);
}

static int live(struct conn *c)
{
    return health(c, true, NULL);
}

static int readiness(struct conn *c)
{
    return health(c, ready(c->edge), "Not ready: draining, full, or no bus is up.");
}

static int no_upgrade(struct conn *c)
{
    static const struct http_answer a = {
        426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "This is the place for WebSocket connections: ask for an upgrade to websocket."};
    return http_send(c, &a);
}

static bool has(struct conn *c, enum lws_token_indexes token)
{
    return lws_hdr_total_length(c->wsi, token) > 0;
}

/* A page is asked for without a body. One that comes nevertheless is not read: where it ends and
 * the next request begins would be for libwebsockets to say. */
static bool has_body(struct conn *c)
{
    char length[8] = "";
    if (has(c, WSI_TOKEN_HTTP_TRANSFER_ENCODING)) return true;
    if (!has(c, WSI_TOKEN_HTTP_CONTENT_LENGTH)) return false;
    int n = lws_hdr_copy(c->wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH);
    return n < 0 || strcmp(length, "0") != 0;
}

/* On a loopback address only for who calls it by a name of that: no page of a browser may read it
 * under a name of its own (DNS rebinding). */
static int metrics(struct conn *c)
{
    static const struct http_answer foreign = {403, NULL, "This Host is not this machine."};
    static const struct http_answer body = {400, NULL, "A GET has no body here."};
    char host[256] = "";
    int n = lws_hdr_copy(c->wsi, host, sizeof(host), WSI_TOKEN_HOST);
    struct span h = span_of(host, n > 0 ? (size_t)n : 0);
    const struct access_way way = {.loopback = true};
    if (c->http->loopback && !access_origin(c->edge->access, span_of(NULL, 0), h, way))
        return http_send(c, &foreign);
    if (has_body(c)) return http_send(c, &body);
    return scrape_request(c);
}

struct place {
    const char *path;
    int (*answer)(struct conn *c);
};

static const struct place *place_find(const char *path, bool admin)
{
    static const struct place places[] = {
        {"/ws", no_upgrade},    {"/raw", no_upgrade}, {"/livez", live},
        {"/readyz", readiness}, {NULL, NULL},
    };
    static const struct place admin_places[] = {
        {"/metrics", metrics},
        {"/livez", live},
        {"/readyz", readiness},
        {NULL, NULL},
    };
    const struct place *p = admin ? admin_places : places;

    while (p->path && strcmp(p->path, path) != 0)
        p++;
    return p->path ? p : NULL;
}

static int page_answer(struct conn *c, const char *path, bool reads)
{
    static const struct http_answer no_method = {405, "Allow: GET, HEAD\r\n",
                                                 "Only GET is possible here."};
    static const struct http_answer body = {400, NULL, "A GET has no body here."};
    struct page page;
    page_find(c->edge, path, &page);
    bool greets = page.result == FOLDER_NONE && c->edge->root < 0 && strcmp(path, "/") == 0;
    if (page.result == FOLDER_NONE && !greets) return page_send(c, &page, path);
    if (reads && !has_body(c)) return greets ? greet(c) : page_send(c, &page, path);
    page_drop(&page);
    return http_send(c, reads ? &body : &no_method);
}

/* What libwebsockets (4.1 to 4.3) has made of the path when it gets here, none of which is relied
 * upon: %xx is decoded, once; then "//", "/./" and "/../" are folded, "+" has become a space, and
 * an undecoded "&" or ";" a NUL, which here makes it a path that is nowhere. A slash that came as
 * %2f is a slash. The query is gone. */
int http_request(struct conn *c)
{
    static const struct http_answer no_method = {405, "Allow: GET, HEAD\r\n",
                                                 "Only GET is possible here."};
    static const struct http_answer not_found = {404, NULL, "There is nothing at this path."};
    static const struct http_answer too_long = {400, NULL, "The path is too long."};
    char path[FOLDER_PATH_MAX] = "";
    char *uri = NULL;
    int len = 0;
    /* The method's place in libwebsockets' own list; below 0: none that it knows. */
    int method = lws_http_get_uri_and_method(c->wsi, &uri, &len);
    if (method < 0 || !uri) return http_send(c, &no_method);
    if ((size_t)len >= sizeof(path)) return http_send(c, &too_long);
    memcpy(path, uri, (size_t)len);
    if (strlen(path) != (size_t)len) return http_send(c, &not_found);
    bool reads = has(c, WSI_TOKEN_GET_URI) || has(c, WSI_TOKEN_HEAD_URI);
    const struct place *place = place_find(path, c->admin);
    if (!place && c->admin) return http_send(c, &not_found);
    if (!place) return page_answer(c, path, reads);
    return reads ? place->answer(c) : http_send(c, &no_method);
}

int http_garbage(struct conn *c)
{
    return http_send(
        c, &(struct http_answer){.status = 400, .text = "This request cannot be understood."});
}
