#include "edge/tls_front.h"

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/tls_keys.h"
#include "edge/tls_set.h"

#define TELL_MS 10000 /* from one failed handshake that is told to the next */
#define REKEYS_S 1    /* new keys that a client may ask for in a second */

static int arrival_index = -1;
static _Thread_local struct tls_arrival *announced;

static struct tls_arrival *arrival_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, arrival_index);
}

/* ---- failures ------------------------------------------------------------------------------- */

/* Somebody speaks HTTP where TLS is expected: told in its own tongue, as libwebsockets would only
 * close. What it has sent is taken off first, or the answer would be lost in a reset. */
static void answer_plain(const SSL *ssl)
{
    static const char text[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 43\r\nConnection: close\r\n\r\n"
        "This port speaks TLS only: https and wss.\r\n";
    char rest[4096];
    int fd = SSL_get_fd(ssl);
    if (fd < 0) return;
    for (int i = 0; i < 16; i++)
        if (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) <= 0) break;
    (void)send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static const char *words_of(const SSL *ssl, unsigned long error)
{
    long verdict = SSL_get_verify_result(ssl);
    if (verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
    const char *words = ERR_reason_error_string(error);
    return words ? words : "unknown error";
}

static void tell(const struct tls_arrival *a, const char *words)
{
    char peer[ADDRESS_TEXT_MAX];
    struct tls_front *front = a->front;
    uint64_t now = clock_ticks();
    address_write(a->peer, peer);
    if (now < front->quiet_until) {
        front->untold++;
        log_debug(log_event("tls_handshake_failed"), log_s("peer", peer), log_s("reason", words));
        return;
    }
    log_info(log_event("tls_handshake_failed"), log_s("peer", peer), log_s("reason", words),
             log_i("untold", front->untold));
    front->quiet_until = now + TELL_MS;
    front->untold = 0;
}

/* New keys (TLS 1.3), or a new handshake, which is refused (1.2). OpenSSL takes any number of them in
 * one SSL_read(), as fast as they come, and everybody else would wait. To it, the client has said
 * goodbye then. */
static void asked_again(const SSL *ssl, struct tls_arrival *a)
{
    uint64_t now = clock_ticks() * BUCKET_MS;
    if (bucket_take(&a->rekeyed, bucket_cost(REKEYS_S), now)) return;
    if (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) return;
    SSL_set_shutdown((SSL *)ssl, SSL_RECEIVED_SHUTDOWN);
    tell(a, "it asked for new keys again and again");
}

static void succeeded(const SSL *ssl, struct tls_arrival *a)
{
    bool resumed = SSL_session_reused(ssl);
    a->whole = true;
    counter_add(a->front->counters, resumed ? COUNTER_TLS_RESUMED : COUNTER_TLS_WHOLE, 1);
}

static void on_info(const SSL *ssl, int where, int result)
{
    struct tls_arrival *a = arrival_of(ssl);
    if (!a) return;
    bool refused = where == SSL_CB_WRITE_ALERT && (result & 0xff) == SSL_AD_NO_RENEGOTIATION;
    if (refused || (where == SSL_CB_ACCEPT_EXIT && result > 0 && a->whole)) asked_again(ssl, a);
    if (where != SSL_CB_ACCEPT_EXIT || a->whole) return;
    if (result > 0) {
        succeeded(ssl, a);
        return;
    }
    unsigned long error = ERR_peek_error();
    int why = ERR_GET_REASON(error);
    /* Without an error it only waits. Whoever connects and goes again, as probes do, is no news. */
    if (error == 0 || why == SSL_R_UNEXPECTED_EOF_WHILE_READING) return;
    if (why == SSL_R_HTTP_REQUEST) answer_plain(ssl);
    counter_add(a->front->counters, COUNTER_TLS_FAILED, 1);
    tell(a, words_of(ssl, error));
}

/* ---- hello ---------------------------------------------------------------------------------- */

/* The host name in the extension of RFC 6066, section 3: a list (of one) in a list. */
static struct span asked_name(SSL *ssl)
{
    const unsigned char *p = NULL;
    size_t n = 0;
    const struct span none = {NULL, 0};
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5) return none;
    size_t list = (size_t)(p[0] << 8 | p[1]), name = (size_t)(p[3] << 8 | p[4]);
    if (list != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name || name > n - 5) return none;
    /* A dot that ends it is none of the name's: who types one into a browser sends it. */
    if (name > 0 && p[5 + name - 1] == '.') name--;
    return span_of((const char *)p + 5, name);
}

/* Here and not in the callback for the name: a ticket is looked at before that one is called, and
 * which ticket is good depends on the set. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_arrival *a = arrival_of(ssl);
    (void)arg;
    if (!a) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    struct tls_set *set = tls_site_set(a->site);
    SSL_CTX *ctx = tls_set_find(set, asked_name(ssl));
    SSL_set_SSL_CTX(ssl, ctx);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx), NULL);
    SSL_set_info_callback(ssl, on_info); /* it was that of the first context */
    tls_set_unref(set);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int sealing)
{
    const struct tls_ticket ticket = {name, iv, cipher, mac};
    struct tls_arrival *a = arrival_of(ssl);
    if (!a) return -1;
    struct tls_keys *keys = tls_site_keys(a->site);
    return sealing ? tls_keys_seal(keys, &ticket) : tls_keys_open(keys, &ticket);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void on_new(void *ssl, void *none, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)ssl;
    (void)none;
    (void)argl;
    (void)argp;
    if (announced) CRYPTO_set_ex_data(data, index, announced);
}

int tls_front_init(void)
{
    if (arrival_index < 0) arrival_index = SSL_get_ex_new_index(0, NULL, on_new, NULL, NULL);
    return arrival_index < 0 ? -1 : 0;
}

SSL_CTX *tls_front_client(struct tls_front *front)
{
    if (!front->client) front->client = SSL_CTX_new(TLS_client_method());
    return front->client;
}

void tls_front_done(struct tls_front *front)
{
    SSL_CTX_free(front->client);
    front->client = NULL;
}

struct tls_arrival *tls_arrival_new(struct tls_front *front, struct tls_site *site,
                                    const struct address *peer)
{
    struct tls_arrival *a = mem_zero(sizeof(*a));
    a->front = front;
    a->site = site;
    a->peer = peer;
    return a;
}

void tls_front_announce(struct tls_arrival *a)
{
    announced = a;
}

int tls_front_set_up(SSL_CTX *ctx)
{
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets need none */
    SSL_CTX_set_timeout(ctx, TLS_TICKET_S);
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, NULL); /* libwebsockets' own */
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    SSL_CTX_set_info_callback(ctx, on_info);
    return tls_set_rules(ctx);
}
