/* libwebsockets: context, protocols, callbacks. */
#include "edge/wire.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/conn.h"
#include "edge/handshake.h"
#include "edge/head.h"
#include "edge/http.h"
#include "edge/listen.h"

/* Long enough never to act: deadlines are kept by the worker's own wheel. */
#define NEVER_S (24 * 3600)

/* A hang-up time of 0 switches libwebsockets' own pings off (by default they cannot be); each of
 * them would be a node in a sorted list, which costs time linear in the number of sockets. */
static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0, .secs_since_valid_hangup = 0};

/* ---- callbacks ------------------------------------------------------------------------------ */

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    struct conn *c = wsi ? lws_get_opaque_user_data(wsi) : NULL;
    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
        return tls_front_set_up(user); /* the virtual host's SSL_CTX */
    if (reason == LWS_CALLBACK_WSI_CREATE) {
        /* The connection is not bound to it yet. */
        struct wire *w = lws_context_user(lws_get_context(wsi));
        w->adopted = true;
        return 0;
    }
    if (!c) return 0;
    switch (reason) {
    case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED: c->wsi = wsi; return 0;
    case LWS_CALLBACK_HTTP: return http_request(c);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return handshake_check(c);
    case LWS_CALLBACK_RAW_ADOPT: return http_garbage(c);
    case LWS_CALLBACK_ADD_HEADERS: handshake_answer(c, in); return 0;
    case LWS_CALLBACK_ESTABLISHED: conn_established(c); return 0;
    case LWS_CALLBACK_RECEIVE: return conn_receive(c, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE: conn_writable(c); return 0;
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL: conn_closing(c); return 0;
    case LWS_CALLBACK_CLOSED: conn_gone(c); return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        lws_set_opaque_user_data(wsi, NULL);
        conn_free(c);
        return 0;
    case LWS_CALLBACK_HTTP_WRITEABLE: return response_writable(c);
    case LWS_CALLBACK_RAW_RX:
    case LWS_CALLBACK_HTTP_BODY:
    case LWS_CALLBACK_HTTP_BODY_COMPLETION: return -1; /* every answer ends its connection */
    default: return 0;
    }
}

/* One socket in two roles: plain HTTP and clients that name no subprotocol are bound to the
 * first. Its name cannot be in a Sec-WebSocket-Protocol header, or a client could ask for it.
 * The byte for each session makes libwebsockets tell when it begins to close by itself (it sends
 * ..._DROP_PROTOCOL only where there is user space). */
#define PROTOCOL(label)                                                                           \
    {                                                                                             \
        .name = (label), .callback = on_event, .per_session_data_size = 1, .rx_buffer_size = 512, \
        .tx_packet_size = WIRE_TX_PACKET                                                          \
    }
static const struct lws_protocols protocols[] = {
    PROTOCOL("plain http"),
    PROTOCOL(HEAD_SUBPROTOCOL),
    {.name = NULL},
};

/* ---- log ------------------------------------------------------------------------------------ */

static void emit(int level, const char *line)
{
    (void)level;
    size_t n = strcspn(line, "\n");
    log_debug(log_event("libwebsockets"), log_span("text", span_of(line, n)));
}

/* ---- life ----------------------------------------------------------------------------------- */

/* One virtual host serves both kinds of listeners: a socket says how it is adopted. Of several,
 * libwebsockets would choose another one by the Host header, and in 4.1 lose count of their users. */
static uint64_t tls_options(const struct edge *edge)
{
    if (!edge->tls) return 0;
    return LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
}

_Static_assert(HEAD_PIECES + 16 <= WSI_TOKEN_COUNT, "what passes the guard fits its table");

/* What is larger has been refused (edge/guard.h). Beside values libwebsockets keeps a few bytes of its
 * own for each header. */
static unsigned short header_room(const struct config *config)
{
    uint64_t room = config->limits.header_bytes + 16 * (uint64_t)HEAD_FIELDS;
    return room < UINT16_MAX ? (unsigned short)room : UINT16_MAX;
}

int wire_open(struct wire *w, uv_loop_t *loop, struct edge *edge, char *err, size_t err_size)
{
    void *loops[] = {loop};
    memset(w, 0, sizeof(*w));
    w->edge = edge;
    w->front.counters = session_worker_counters(edge->sessions);
    lws_set_log_level(log_wanted(LOG_DEBUG) ? LLL_ERR | LLL_WARN : 0, emit);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .vhost_name = "wsbus",
        .alpn = "http/1.1",
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG | tls_options(edge),
        .foreign_loops = loops,
        .pcontext = &w->context,
        .user = w,
        .pt_serv_buf_size = WIRE_TX_PACKET,
        .max_http_header_data = header_room(edge->config),
        .timeout_secs = NEVER_S,
        .keepalive_timeout = NEVER_S,
        .retry_and_idle_policy = &no_pings,
        .provided_client_ssl_ctx = edge->tls ? tls_front_client(&w->front) : NULL,
    };
#if LWS_LIBRARY_VERSION_NUMBER >= 4003000
    /* The default one is shared by all contexts of the process and counts its users without a
     * lock: workers that end at the same time make an assertion of libwebsockets fail. */
    lws_log_cx_t *log = mem_zero(sizeof(*log));
    log->u.emit = emit;
    log->lll_flags = log_wanted(LOG_DEBUG) ? LLL_ERR | LLL_WARN : 0;
    info.log_cx = w->log = log;
#endif
    w->context = lws_create_context(&info);
    if (!w->context) {
        snprintf(err, err_size,
                 "libwebsockets could not be started (is its libuv plugin installed?)");
        return -1;
    }
    w->vhost = lws_create_vhost(w->context, &info);
    if (!w->vhost) {
        snprintf(err, err_size, "libwebsockets could not make its virtual host");
        return -1;
    }
    return 0;
}

bool wire_close(struct wire *w)
{
    if (w->context) lws_context_destroy(w->context);
    if (w->context) return false;
    tls_front_done(&w->front);
    free(w->log);
    w->log = NULL;
    return true;
}

void wire_adopt(struct wire *w, const struct arrival *a)
{
    bool tls = a->listener->tls != NULL;
    struct conn *c = conn_new(w->edge, a);
    lws_adopt_desc_t desc = {
        .vh = w->vhost,
        .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (tls ? LWS_ADOPT_ALLOW_SSL : 0),
        .fd = {.sockfd = a->fd},
        .opaque = c,
    };
    w->adopted = false;
    if (tls) c->tls = tls_arrival_new(&w->front, a->listener->tls, &c->address);
    tls_front_announce(c->tls);
    struct lws *wsi = lws_adopt_descriptor_vhost_via_info(&desc);
    tls_front_announce(NULL);
    if (wsi)
        lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
    else if (!w->adopted)
        conn_free(c); /* otherwise it goes with its struct lws */
}
