/* TLS to a server with a certificate that is right, or wrong in one way or another. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "bus/redis_tls.h"

#define TURNS 1000

/* Files of one certificate that signs itself. */
struct identity {
    char cert[64], key[64];
};

struct bench {
    char folder[32];
    struct identity server, other;
    SSL_CTX *ctx;
    int fd[2]; /* ours, the server's */
    SSL *peer;
    struct tls_stream *stream;
};

/* ---- certificates ------------------------------------------------------------------------- */

static void write_file(const char *path, EVP_PKEY *key, X509 *cert)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (key) assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    if (cert) assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
}

static void make_identity(struct identity *id, const char *folder, const char *name)
{
    snprintf(id->cert, sizeof(id->cert), "%s/%s.pem", folder, name);
    snprintf(id->key, sizeof(id->key), "%s/%s.key", folder, name);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_true(key && cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:redis.test,IP:127.0.0.1,IP:::1");
    assert_non_null(names);
    X509_add_ext(cert, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    write_file(id->cert, NULL, cert);
    write_file(id->key, key, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* ---- the two sides ------------------------------------------------------------------------ */

static void begin(struct bench *b)
{
    *b = (struct bench){.folder = "/tmp/wsbus-tls-XXXXXX"};
    assert_non_null(mkdtemp(b->folder));
    make_identity(&b->server, b->folder, "server");
    make_identity(&b->other, b->folder, "other");
    b->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_file(b->ctx, b->server.cert, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(b->ctx, b->server.key, SSL_FILETYPE_PEM), 1);
}

static void end(struct bench *b)
{
    SSL_CTX_free(b->ctx);
    const char *const files[] = {b->server.cert, b->server.key, b->other.cert, b->other.key};
    for (size_t i = 0; i < 4; i++)
        unlink(files[i]);
    assert_int_equal(rmdir(b->folder), 0);
}

static void close_both(struct bench *b)
{
    tls_stream_free(b->stream);
    SSL_free(b->peer);
    close(b->fd[0]);
    if (b->fd[1] >= 0) close(b->fd[1]);
    b->stream = NULL;
    b->peer = NULL;
}

static struct redis_tls *open_both(struct bench *b, const struct redis_tls_spec *spec)
{
    char err[256] = "";
    struct redis_tls *t = redis_tls_new(spec, err, sizeof(err));
    if (!t) fail_msg("%s", err);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b->fd), 0);
    b->stream = tls_stream_new(t, b->fd[0]);
    b->peer = SSL_new(b->ctx);
    SSL_set_fd(b->peer, b->fd[1]);
    SSL_set_accept_state(b->peer);
    return t;
}

static enum tls_step shake_hands(struct bench *b)
{
    for (int i = 0; i < TURNS; i++) {
        enum tls_step step = tls_handshake(b->stream);
        int rc = SSL_do_handshake(b->peer);
        if (step == TLS_FAILED || (step == TLS_OK && rc == 1)) return step;
    }
    return TLS_WANTS_READ;
}

/* The outcome of a handshake; with `word`, it fails and the words have it. */
static void check(struct bench *b, const struct redis_tls_spec *spec, const char *word)
{
    struct redis_tls *t = open_both(b, spec);
    enum tls_step step = shake_hands(b);
    if (step != TLS_OK && step != TLS_FAILED) fail_msg("the handshake does not end");
    if ((step == TLS_FAILED) != (word != NULL)) fail_msg("%s", tls_words(b->stream));
    if (word && !strstr(tls_words(b->stream), word)) fail_msg("%s", tls_words(b->stream));
    close_both(b);
    redis_tls_free(t);
}

/* ---- cases -------------------------------------------------------------------------------- */

static void names_are_checked(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.server.cert, .verify = true};
    check(&b, &spec, NULL);
    spec.name = "127.0.0.1";
    check(&b, &spec, NULL);
    spec.name = "::1";
    check(&b, &spec, NULL);
    spec.name = "other.test";
    check(&b, &spec, "not accepted for other.test: hostname mismatch");
    spec.name = "127.0.0.2";
    check(&b, &spec, "IP address mismatch");
    spec.verify = false;
    check(&b, &spec, NULL);
    end(&b);
}

static void authorities_are_checked(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.other.cert, .verify = true};
    check(&b, &spec, "certificate");
    spec.ca = NULL;
    check(&b, &spec, "certificate");
    spec.verify = false;
    check(&b, &spec, NULL);
    end(&b);
}

static void shows_its_own_certificate(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    assert_int_equal(SSL_CTX_load_verify_file(b.ctx, b.other.cert), 1);
    SSL_CTX_set_verify(b.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION); /* 1.3 tells it later */
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.server.cert, .verify = true};
    check(&b, &spec, "handshake failure");
    spec.cert = b.other.cert;
    spec.key = b.other.key;
    check(&b, &spec, NULL);
    char err[256] = "";
    spec.key = b.server.key;
    assert_null(redis_tls_new(&spec, err, sizeof(err)));
    assert_non_null(strstr(err, "private key"));
    end(&b);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    SSL_CTX_set_security_level(b.ctx, 0);
    SSL_CTX_set_min_proto_version(b.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_1_VERSION);
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.server.cert, .verify = true};
    check(&b, &spec, "TLS");
    end(&b);
}

static void a_server_without_tls_is_told(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.server.cert, .verify = true};
    struct redis_tls *t = open_both(&b, &spec);
    assert_int_equal(tls_handshake(b.stream), TLS_WANTS_READ);
    static const char answer[] = "-ERR unknown command\r\n";
    assert_int_equal(write(b.fd[1], answer, sizeof(answer) - 1), sizeof(answer) - 1);
    assert_int_equal(tls_handshake(b.stream), TLS_FAILED);
    assert_non_null(strstr(tls_words(b.stream), "plain text"));
    close_both(&b);
    redis_tls_free(t);
    t = open_both(&b, &spec);
    assert_int_equal(tls_handshake(b.stream), TLS_WANTS_READ);
    close(b.fd[1]);
    b.fd[1] = -1;
    assert_int_equal(tls_handshake(b.stream), TLS_FAILED);
    assert_true(*tls_words(b.stream));
    close_both(&b);
    redis_tls_free(t);
    end(&b);
}

/* More than fits into the pipe, both ways. */
static void carries_bytes(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    struct bench b;
    begin(&b);
    struct redis_tls_spec spec = {.name = "redis.test", .ca = b.server.cert, .verify = true};
    struct redis_tls *t = open_both(&b, &spec);
    assert_int_equal(shake_hands(&b), TLS_OK);
    char *data = malloc(SIZE), *back = malloc(SIZE);
    assert_true(data && back);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 31 + (i >> 8));
    size_t sent = 0, got = 0, held = 0;
    static char piece[4096];
    for (int i = 0; i < TURNS * 100 && got < SIZE; i++) {
        size_t n = SIZE - sent;
        if (n && tls_write(b.stream, data + sent, &n) == TLS_OK) sent += n;
        if (!held && SSL_read_ex(b.peer, piece, sizeof(piece), &held) != 1) held = 0;
        size_t put = 0;
        if (held && SSL_write_ex(b.peer, piece, held, &put) == 1) {
            assert_int_equal(put, held);
            held = 0;
        }
        n = SIZE - got;
        if (tls_read(b.stream, back + got, &n) == TLS_OK) got += n;
    }
    assert_int_equal(got, SIZE);
    assert_memory_equal(data, back, SIZE);
    free(data);
    free(back);
    close(b.fd[1]);
    b.fd[1] = -1;
    size_t n = sizeof(piece);
    assert_int_equal(tls_read(b.stream, piece, &n), TLS_FAILED);
    close_both(&b);
    redis_tls_free(t);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(authorities_are_checked),
        cmocka_unit_test(shows_its_own_certificate),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(a_server_without_tls_is_told),
        cmocka_unit_test(carries_bytes),
    };
    signal(SIGPIPE, SIG_IGN); /* as on the bus thread */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
