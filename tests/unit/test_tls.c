/* Certificates, names, tickets and reload: real handshakes between two ends in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/mem.h"
#include "edge/tls.h"
#include "edge/tls_front.h"
#include "edge/tls_keys.h"
#include "edge/tls_set.h"

static const struct address nobody;
static char folder[] = "/tmp/wsbus-tls-XXXXXX";

/* ---- certificates --------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

/* NAME.pem and NAME.key, self-signed, for `names` ("DNS:a.example,DNS:b.example"). */
static void make_pair(const char *name, const char *names, long days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -86400L * 30);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * days + 60);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    if (names) add_extension(cert, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    FILE *f = fopen(path_of(file), "w");
    assert_non_null(f);
    PEM_write_X509(f, cert);
    fclose(f);
    snprintf(file, sizeof file, "%s.key", name);
    f = fopen(path_of(file), "w");
    assert_non_null(f);
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct config_tls pair(const char *name)
{
    char file[64];
    struct config_tls t = {.names.list = NULL};
    snprintf(file, sizeof file, "%s.pem", name);
    t.cert = mem_dup(path_of(file), strlen(path_of(file)));
    snprintf(file, sizeof file, "%s.key", name);
    t.key = mem_dup(path_of(file), strlen(path_of(file)));
    return t;
}

static void drop_pair(struct config_tls *t)
{
    free((void *)(uintptr_t)t->cert);
    free((void *)(uintptr_t)t->key);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    make_pair("a", "DNS:a.example,DNS:*.w.example,IP:127.0.0.1", 90);
    make_pair("b", "DNS:b.example", 90);
    make_pair("old", "DNS:old.example", -1);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    static const char *const names[] = {"a.pem",      "a.key",     "b.pem",   "b.key",
                                        "old.pem",    "old.key",   "new.pem", "new.key",
                                        "second.pem", "second.key"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

/* ---- a listener with two certificates, two workers ------------------------------------------ */

struct rig {
    struct config_tls tls[2];
    struct config_listen listen[2]; /* the second one is plain */
    struct config config;
    struct tls *all;
    SSL_CTX *workers[2]; /* as libwebsockets makes them */
    struct tls_front fronts[2];
    struct counters counters;
    struct tls_arrival arrival;
    SSL_CTX *client;
    char err[512];
};

static void rig_open(struct rig *r)
{
    memset(r, 0, sizeof *r);
    r->tls[0] = pair("a");
    r->tls[1] = pair("b");
    r->listen[0] = (struct config_listen){.text = "127.0.0.1:1", .tls = r->tls, .tls_count = 2};
    r->listen[1] = (struct config_listen){.text = "127.0.0.1:2"};
    r->config = (struct config){.listen = r->listen, .listen_count = 2};
    r->client = SSL_CTX_new(TLS_client_method());
}

static void rig_start(struct rig *r)
{
    if (tls_open(&r->config, &r->all, r->err, sizeof r->err) < 0) fail_msg("%s", r->err);
    for (size_t i = 0; i < 2; i++) {
        r->workers[i] = SSL_CTX_new(TLS_server_method());
        assert_int_equal(tls_front_set_up(r->workers[i]), 0);
        r->fronts[i].counters = &r->counters;
    }
}

static void rig_close(struct rig *r)
{
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(r->workers[i]);
    SSL_CTX_free(r->client);
    tls_close(r->all);
    drop_pair(&r->tls[0]);
    drop_pair(&r->tls[1]);
}

struct talk {
    SSL *client, *server;
    bool done;
};

static void carry(SSL *from, SSL *to)
{
    char data[65536];
    int n = BIO_read(SSL_get_wbio(from), data, sizeof data);
    if (n > 0) assert_int_equal(BIO_write(SSL_get_rbio(to), data, n), n);
}

static SSL *end(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    assert_non_null(ssl);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return ssl;
}

/* A client that asks for `name` (NULL: for none), and may come with a session, at this worker. */
static struct talk talk_at(struct rig *r, unsigned worker, const char *name, SSL_SESSION *session)
{
    struct talk t = {.client = end(r->client)};
    r->arrival = (struct tls_arrival){
        .site = tls_site(r->all, 0), .front = &r->fronts[worker], .peer = &nobody};
    tls_front_announce(&r->arrival);
    t.server = end(r->workers[worker]);
    tls_front_announce(NULL);
    SSL_set_connect_state(t.client);
    SSL_set_accept_state(t.server);
    if (name) SSL_set_tlsext_host_name(t.client, name);
    if (session) SSL_set_session(t.client, session);
    for (int i = 0; i < 20 && !t.done; i++) {
        (void)SSL_do_handshake(t.client);
        carry(t.client, t.server);
        (void)SSL_do_handshake(t.server);
        carry(t.server, t.client);
        t.done = SSL_is_init_finished(t.client) && SSL_is_init_finished(t.server);
    }
    char none[1];
    if (t.done) (void)SSL_read(t.client, none, sizeof none); /* takes the tickets in */
    return t;
}

static void talk_end(struct talk *t)
{
    /* As if both had said goodbye: otherwise OpenSSL would not resume the session. */
    SSL_set_shutdown(t->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->client);
    SSL_free(t->server);
}

static void expect_name(struct rig *r, const char *asked, const char *want)
{
    char name[64] = "";
    struct talk t = talk_at(r, 0, asked, NULL);
    assert_true(t.done);
    X509 *cert = SSL_get1_peer_certificate(t.client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof name);
    if (strcmp(name, want) != 0) fail_msg("%s got %s, not %s", asked, name, want);
    X509_free(cert);
    talk_end(&t);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_start(&r);
    assert_null(tls_site(r.all, 1));
    assert_null(tls_site(NULL, 0));
    expect_name(&r, NULL, "a");
    expect_name(&r, "a.example", "a");
    expect_name(&r, "b.example", "b");
    expect_name(&r, "B.Example", "b");
    expect_name(&r, "b.example.", "b");
    expect_name(&r, "b.example..", "a");
    expect_name(&r, ".", "a");
    expect_name(&r, "x.w.example", "a");
    expect_name(&r, "unknown.example", "a");
    rig_close(&r);
}

/* Names of the configuration count, and those in the certificate then do not. */
static void test_given_names(void **state)
{
    (void)state;
    static const char *const names[] = {"*.c.example", "d.example"};
    struct rig r;
    rig_open(&r);
    r.tls[1].names = (struct config_patterns){names, 2};
    rig_start(&r);
    struct tls_set *set = tls_site_set(tls_site(r.all, 0));
    SSL_CTX *first = tls_set_find(set, span_of("", 0)), *second;
    second = tls_set_find(set, SPAN("d.example"));
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(tls_set_find(set, SPAN("x.c.example")), second);
    assert_ptr_equal(tls_set_find(set, SPAN("X.C.EXAMPLE")), second);
    assert_ptr_equal(tls_set_find(set, SPAN("c.example")), first);
    assert_ptr_equal(tls_set_find(set, SPAN(".c.example")), first);
    assert_ptr_equal(tls_set_find(set, SPAN("x.y.c.example")), first);
    assert_ptr_equal(tls_set_find(set, SPAN("d.example\0.c.example")), first);
    assert_ptr_equal(tls_set_find(set, SPAN("b.example")), first);
    assert_ptr_equal(tls_set_find(set, SPAN("w.example")), first);
    tls_set_unref(set);
    rig_close(&r);
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        int version;
        bool works;
    } cases[] = {{TLS1_VERSION, false},
                 {TLS1_1_VERSION, false},
                 {TLS1_2_VERSION, true},
                 {TLS1_3_VERSION, true}};
    struct rig r;
    rig_open(&r);
    rig_start(&r);
    SSL_CTX_set_security_level(r.client, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SSL_CTX_set_min_proto_version(r.client, cases[i].version);
        SSL_CTX_set_max_proto_version(r.client, cases[i].version);
        struct talk t = talk_at(&r, 0, NULL, NULL);
        assert_int_equal(t.done, cases[i].works);
        if (t.done) assert_int_equal(SSL_version(t.client), cases[i].version);
        talk_end(&t);
    }
    SSL_CTX_set_max_proto_version(r.client, TLS1_2_VERSION);
    SSL_CTX_set_min_proto_version(r.client, TLS1_2_VERSION);
    assert_int_equal(SSL_CTX_set_cipher_list(r.client, "ECDHE+AESCCM:ECDHE+SHA:ECDHE+SHA256"), 1);
    struct talk t = talk_at(&r, 0, NULL, NULL);
    assert_false(t.done);
    talk_end(&t);
    rig_close(&r);
}

static void test_alpn(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        bool works;
        const char *chosen;
    } cases[] = {{"\x08http/1.1", true, "http/1.1"},
                 {"\x02h2\x08http/1.1", true, "http/1.1"},
                 {"\x02h2", false, ""},
                 {NULL, true, ""}};
    struct rig r;
    rig_open(&r);
    rig_start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *p = (const unsigned char *)cases[i].offer, *chosen = NULL;
        unsigned n = p ? (unsigned)strlen(cases[i].offer) : 0;
        SSL_CTX_set_alpn_protos(r.client, p, n);
        struct talk t = talk_at(&r, 0, NULL, NULL);
        assert_int_equal(t.done, cases[i].works);
        SSL_get0_alpn_selected(t.client, &chosen, &n);
        assert_int_equal(n, strlen(cases[i].chosen));
        if (n) assert_memory_equal(chosen, cases[i].chosen, n);
        talk_end(&t);
    }
    rig_close(&r);
}

/* A session from one worker is resumed at another, until its key is gone. */
static void resume(int version)
{
    struct rig r;
    clock_freeze(1000, clock_wall());
    rig_open(&r);
    rig_start(&r);
    SSL_CTX_set_max_proto_version(r.client, version);
    struct talk t = talk_at(&r, 0, "a.example", NULL);
    assert_true(t.done);
    assert_false(SSL_session_reused(t.server));
    SSL_SESSION *session = SSL_get1_session(t.client);
    talk_end(&t);
    for (unsigned worker = 0; worker < 2; worker++) {
        t = talk_at(&r, worker, "a.example", session);
        assert_true(t.done && SSL_session_reused(t.server));
        talk_end(&t);
    }
    clock_advance(TLS_TICKET_S * 1000ULL);
    t = talk_at(&r, 1, "a.example", session);
    assert_true(t.done && SSL_session_reused(t.server));
    talk_end(&t);
    clock_advance(TLS_TICKET_S * 1000ULL);
    t = talk_at(&r, 1, "a.example", session);
    assert_true(t.done);
    assert_false(SSL_session_reused(t.server));
    talk_end(&t);
    assert_int_equal(counter_get(&r.counters, COUNTER_TLS_WHOLE), 2);
    assert_int_equal(counter_get(&r.counters, COUNTER_TLS_RESUMED), 3);
    SSL_SESSION_free(session);
    rig_close(&r);
    clock_thaw();
}

static void test_resume(void **state)
{
    (void)state;
    resume(TLS1_3_VERSION);
    resume(TLS1_2_VERSION);
}

/* Whoever was let in under other rules is not resumed. */
static void test_no_resume(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    r.listen[0].client_ca = r.tls[0].cert;
    r.listen[0].client_cert_optional = true;
    rig_start(&r);
    struct talk t = talk_at(&r, 0, NULL, NULL);
    assert_true(t.done);
    SSL_SESSION *session = SSL_get1_session(t.client);
    talk_end(&t);
    t = talk_at(&r, 0, NULL, session);
    assert_true(SSL_session_reused(t.server));
    talk_end(&t);
    r.listen[0].client_ca = r.tls[1].cert;
    tls_reload(r.all, true);
    t = talk_at(&r, 0, NULL, session);
    assert_true(t.done);
    assert_false(SSL_session_reused(t.server));
    talk_end(&t);
    SSL_SESSION_free(session);
    rig_close(&r);
}

static void test_client_cert(void **state)
{
    (void)state;
    static const struct {
        bool optional;
        const char *cert; /* of the client */
        bool works;
    } cases[] = {{false, NULL, false}, {false, "b", true}, {false, "a", false},
                 {true, NULL, true},   {true, "b", true},  {true, "a", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rig r;
        rig_open(&r);
        r.listen[0].client_ca = r.tls[1].cert;
        r.listen[0].client_cert_optional = cases[i].optional;
        rig_start(&r);
        if (cases[i].cert) {
            const struct config_tls *own = &r.tls[cases[i].cert[0] - 'a'];
            SSL_CTX_use_certificate_file(r.client, own->cert, SSL_FILETYPE_PEM);
            SSL_CTX_use_PrivateKey_file(r.client, own->key, SSL_FILETYPE_PEM);
        }
        struct talk t = talk_at(&r, 0, NULL, NULL);
        if (t.done != cases[i].works) fail_msg("case %zu", i);
        talk_end(&t);
        rig_close(&r);
    }
}

static void copy(const char *from, const char *to)
{
    char data[8192];
    FILE *in = fopen(path_of(from), "r"), *out = fopen(path_of(to), "w");
    assert_true(in && out);
    size_t n = fread(data, 1, sizeof data, in);
    assert_int_equal(fwrite(data, 1, n, out), n);
    fclose(in);
    fclose(out);
}

static void test_reload(void **state)
{
    (void)state;
    struct rig r;
    copy("a.pem", "new.pem");
    copy("a.key", "new.key");
    rig_open(&r);
    copy("b.pem", "second.pem");
    copy("b.key", "second.key");
    drop_pair(&r.tls[0]);
    drop_pair(&r.tls[1]);
    r.tls[0] = pair("new");
    r.tls[1] = pair("second");
    rig_start(&r);
    struct talk open = talk_at(&r, 0, NULL, NULL);
    assert_true(open.done);

    copy("b.pem", "new.pem"); /* the key does not fit */
    tls_reload(r.all, true);
    expect_name(&r, NULL, "a");
    unlink(path_of("new.pem"));
    tls_reload(r.all, false);
    expect_name(&r, NULL, "a");

    copy("b.pem", "new.pem"); /* it is the other one whose key does not fit */
    copy("b.key", "new.key");
    copy("a.key", "second.key");
    tls_reload(r.all, true);
    expect_name(&r, NULL, "a");
    expect_name(&r, "b.example", "b");

    copy("b.key", "second.key");
    tls_reload(r.all, true);
    expect_name(&r, NULL, "b");
    struct tls_set *before = tls_site_set(tls_site(r.all, 0));
    tls_reload(r.all, true); /* nothing has changed */
    struct tls_set *after = tls_site_set(tls_site(r.all, 0));
    assert_ptr_equal(before, after);
    tls_set_unref(before);
    tls_set_unref(after);

    /* The connection from before goes on. */
    char word[8] = "";
    assert_int_equal(SSL_write(open.server, "still", 5), 5);
    carry(open.server, open.client);
    assert_int_equal(SSL_read(open.client, word, sizeof word), 5);
    talk_end(&open);
    rig_close(&r);
}

static void expect_refusal(const struct config_listen *l, const char *words)
{
    char err[512] = "";
    assert_null(tls_set_load(l, 0, err, sizeof err));
    if (!strstr(err, words)) fail_msg("not \"%s\": %s", words, err);
}

static void test_refusals(void **state)
{
    (void)state;
    struct config_tls t = pair("a"), other = pair("b"), old = pair("old");
    struct config_tls wrong = t;
    struct config_listen l = {.text = "127.0.0.1:1", .tls = &wrong, .tls_count = 1};
    wrong.cert = "/nowhere/c.pem";
    expect_refusal(&l, "no certificate can be read from /nowhere/c.pem: No such file");
    wrong = t;
    wrong.key = other.key;
    expect_refusal(&l, "no private key for the certificate can be read from ");
    expect_refusal(&l, "key values mismatch");
    wrong.key = t.cert;
    expect_refusal(&l, ".pem: ");
    wrong = t;
    wrong.cert = t.key;
    expect_refusal(&l, "no certificate can be read from ");
    wrong = t;
    l.client_ca = t.key;
    expect_refusal(&l, "no authorities can be read from ");
    l.client_ca = NULL;
    wrong = old;
    char err[512] = "";
    struct tls_set *set = tls_set_load(&l, 0, err, sizeof err);
    assert_non_null(set); /* it is told, but whoever wants to serve with it may */
    assert_true(tls_set_end(set) < clock_wall() / 1000);
    tls_set_unref(set);

    struct config config = {.listen = &l, .listen_count = 1};
    struct tls *all = NULL;
    wrong = t;
    wrong.key = "/nowhere/k.pem";
    assert_int_equal(tls_open(&config, &all, err, sizeof err), -1);
    assert_non_null(strstr(err, "cannot speak TLS on 127.0.0.1:1: no private key"));
    assert_null(all);
    l.tls = NULL;
    assert_int_equal(tls_open(&config, &all, err, sizeof err), 0);
    assert_null(all);
    drop_pair(&t);
    drop_pair(&other);
    drop_pair(&old);
}

/* What is no TLS at all, and hellos cut off and bent in every place. */
static void test_garbage(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r);
    rig_start(&r);
    SSL *client = end(r.client);
    unsigned char hello[4096], bent[4096];
    SSL_set_connect_state(client);
    SSL_set_tlsext_host_name(client, "a.example");
    (void)SSL_do_handshake(client);
    int n = BIO_read(SSL_get_wbio(client), hello, sizeof hello);
    assert_true(n > 0);
    SSL_free(client);
    for (int i = 0; i < n; i++) {
        for (int kind = 0; kind < 3; kind++) {
            memcpy(bent, hello, (size_t)n);
            bent[i] = (unsigned char)(kind == 0 ? 0xff : kind == 1 ? 0 : bent[i] ^ 1);
            r.arrival = (struct tls_arrival){
                .site = tls_site(r.all, 0), .front = &r.fronts[0], .peer = &nobody};
            tls_front_announce(&r.arrival);
            SSL *server = end(r.workers[0]);
            tls_front_announce(NULL);
            SSL_set_accept_state(server);
            BIO_write(SSL_get_rbio(server), bent, kind == 2 ? i : n);
            (void)SSL_do_handshake(server);
            SSL_free(server);
        }
    }
    /* One line in ten seconds, whatever comes. */
    assert_true(r.fronts[0].untold > 100);
    assert_int_equal(counter_get(&r.counters, COUNTER_TLS_FAILED), r.fronts[0].untold + 1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_given_names),
        cmocka_unit_test(test_versions),    cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_resume),      cmocka_unit_test(test_no_resume),
        cmocka_unit_test(test_client_cert), cmocka_unit_test(test_reload),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
