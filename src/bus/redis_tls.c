#include "bus/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/tls_error.h"

struct redis_tls {
    SSL_CTX *ctx;
    char *name;
    bool is_address; /* the name */
    bool verify;
};

struct tls_stream {
    const struct redis_tls *tls;
    SSL *ssl;
    char words[256];
};

static int refuse(char *err, size_t err_size, const char *what, const char *file)
{
    snprintf(err, err_size, "%s%s%s%s: %s", what, file ? " \"" : "", file ? file : "",
             file ? "\"" : "", tls_error());
    ERR_clear_error();
    return -1;
}

static int load_authorities(SSL_CTX *ctx, const char *file, char *err, size_t err_size)
{
    if (file && SSL_CTX_load_verify_file(ctx, file) != 1)
        return refuse(err, err_size, "no trusted certificates can be read from", file);
    if (!file && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return refuse(err, err_size, "the system's trusted certificates cannot be read", NULL);
    return 0;
}

static int load_own(SSL_CTX *ctx, const struct redis_tls_spec *spec, char *err, size_t err_size)
{
    if (!spec->cert && !spec->key) return 0;
    if (!spec->cert || !spec->key) {
        snprintf(err, err_size, "\"cert\" and \"key\" need each other");
        return -1;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, spec->cert) != 1)
        return refuse(err, err_size, "no certificate can be read from", spec->cert);
    if (SSL_CTX_use_PrivateKey_file(ctx, spec->key, SSL_FILETYPE_PEM) != 1)
        return refuse(err, err_size, "no private key of the certificate can be read from",
                      spec->key);
    return 0;
}

/* Nobody is there to type it in; OpenSSL would ask the terminal. */
static int no_passphrase(char *ret, int size, int writing, void *arg)
{
    (void)ret;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int set_up(SSL_CTX *ctx, const struct redis_tls_spec *spec, char *err, size_t err_size)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_verify(ctx, spec->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (load_authorities(ctx, spec->ca, err, err_size) < 0) return -1;
    return load_own(ctx, spec, err, err_size);
}

static bool is_address(const char *name)
{
    struct in6_addr any;
    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

struct redis_tls *redis_tls_new(const struct redis_tls_spec *spec, char *err, size_t err_size)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        refuse(err, err_size, "TLS is not available", NULL);
        return NULL;
    }
    if (set_up(ctx, spec, err, err_size) < 0) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    struct redis_tls *t = mem_zero(sizeof(*t));
    t->ctx = ctx;
    t->name = mem_dup(spec->name, strlen(spec->name));
    t->is_address = is_address(spec->name);
    t->verify = spec->verify;
    return t;
}

void redis_tls_free(struct redis_tls *t)
{
    if (!t) return;
    SSL_CTX_free(t->ctx);
    free(t->name);
    free(t);
}

/* ---- streams ------------------------------------------------------------------------------ */

/* An address is never sent as the name that is asked for (RFC 6066 section 3). */
static bool expect_name(SSL *ssl, const struct redis_tls *t)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (t->is_address) return X509_VERIFY_PARAM_set1_ip_asc(param, t->name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, t->name, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, t->name) == 1;
}

struct tls_stream *tls_stream_new(const struct redis_tls *t, int fd)
{
    struct tls_stream *s = mem_zero(sizeof(*s));
    s->tls = t;
    ERR_clear_error();
    s->ssl = SSL_new(t->ctx);
    if (!s->ssl || !expect_name(s->ssl, t) || SSL_set_fd(s->ssl, fd) != 1) {
        snprintf(s->words, sizeof(s->words), "TLS: %s", tls_error());
        SSL_free(s->ssl);
        s->ssl = NULL;
        return s;
    }
    SSL_set_connect_state(s->ssl);
    return s;
}

/* No farewell is said: the socket is closed next, and a reply that is under way is not waited for. */
void tls_stream_free(struct tls_stream *s)
{
    if (!s) return;
    SSL_free(s->ssl);
    free(s);
}

static void put_words(struct tls_stream *s, int error, int number)
{
    size_t size = sizeof(s->words);
    long verdict = SSL_get_verify_result(s->ssl);
    if (s->tls->verify && verdict != X509_V_OK && !SSL_is_init_finished(s->ssl))
        snprintf(s->words, size, "TLS: the certificate is not accepted for %s: %s", s->tls->name,
                 X509_verify_cert_error_string(verdict));
    else if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_WRONG_VERSION_NUMBER)
        snprintf(s->words, size,
                 "TLS: the server answers in plain text, or not at all as TLS does");
    else if (ERR_peek_error())
        snprintf(s->words, size, "TLS: %s", tls_error());
    else if (error == SSL_ERROR_SYSCALL && number)
        snprintf(s->words, size, "%s", strerror(number));
    else
        snprintf(s->words, size, "the server closed the connection");
    ERR_clear_error();
}

static enum tls_step step(struct tls_stream *s, int rc)
{
    int number = errno;
    int error = SSL_get_error(s->ssl, rc);
    if (error == SSL_ERROR_WANT_READ) return TLS_WANTS_READ;
    if (error == SSL_ERROR_WANT_WRITE) return TLS_WANTS_WRITE;
    put_words(s, error, number);
    return TLS_FAILED;
}

/* OpenSSL's queue of errors belongs to the thread, which has others to serve. */
static void begin(void)
{
    ERR_clear_error();
    errno = 0;
}

enum tls_step tls_handshake(struct tls_stream *s)
{
    if (!s->ssl) return TLS_FAILED;
    begin();
    int rc = SSL_do_handshake(s->ssl);
    return rc == 1 ? TLS_OK : step(s, rc);
}

enum tls_step tls_read(struct tls_stream *s, void *p, size_t *n)
{
    begin();
    int rc = SSL_read_ex(s->ssl, p, *n, n);
    return rc == 1 ? TLS_OK : step(s, rc);
}

enum tls_step tls_write(struct tls_stream *s, const void *p, size_t *n)
{
    begin();
    int rc = SSL_write_ex(s->ssl, p, *n, n);
    return rc == 1 ? TLS_OK : step(s, rc);
}

const char *tls_words(const struct tls_stream *s)
{
    return s->words;
}
