#include "edge/tls_set.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "base/tls_error.h"

/* Mozilla's "intermediate" of Server Side TLS 5.7, but for the suites with DHE: they cost the server
 * most, at the wish of anybody, and no browser with WebSockets needs them. */
static const char suites_12[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char suites_13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const char groups_new[] = "X25519MLKEM768:X25519:P-256:P-384"; /* OpenSSL 3.5 has it */

struct name {
    struct name *next;
    char text[]; /* "a.example", "*.example" */
};

struct pair {
    SSL_CTX *ctx;
    struct name *names;
};

struct tls_set {
    atomic_uint refs;
    size_t count;
    int64_t end;
    struct pair pairs[];
};

int tls_set_rules(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Clients without AES in hardware know best what costs them least. */
    SSL_CTX_clear_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    bool good = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
                SSL_CTX_set_cipher_list(ctx, suites_12) == 1 &&
                SSL_CTX_set_ciphersuites(ctx, suites_13) == 1 &&
                (SSL_CTX_set1_groups_list(ctx, groups_new) == 1 ||
                 SSL_CTX_set1_groups_list(ctx, groups) == 1);
    ERR_clear_error();
    return good ? 0 : -1;
}

/* ---- errors --------------------------------------------------------------------------------- */

struct out {
    char *err;
    size_t size;
};

static bool refuse(const struct out *o, const char *what, const char *file)
{
    snprintf(o->err, o->size, "%s %s: %s", what, file, tls_error());
    ERR_clear_error();
    return false;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void add_name(struct pair *p, struct span text)
{
    struct name *n = mem_alloc(sizeof(*n) + text.n + 1);
    memcpy(n->text, text.p, text.n);
    n->text[text.n] = '\0';
    n->next = p->names;
    p->names = n;
}

/* Those in the certificate (subjectAltName; the common name counts no more). */
static void add_certified(struct pair *p, X509 *cert)
{
    GENERAL_NAMES *list = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(list, i);
        if (g->type != GEN_DNS) continue;
        const char *text = (const char *)ASN1_STRING_get0_data(g->d.dNSName);
        int n = ASN1_STRING_length(g->d.dNSName);
        if (n > 0 && !memchr(text, '\0', (size_t)n)) add_name(p, span_of(text, (size_t)n));
    }
    GENERAL_NAMES_free(list);
}

static bool name_fits(const char *pattern, struct span name)
{
    if (pattern[0] == '*' && pattern[1] == '.') {
        const char *dot = memchr(name.p, '.', name.n);
        if (!dot || dot == name.p) return false;
        name = span_of(dot, name.n - (size_t)(dot - name.p));
        pattern++;
    }
    return strlen(pattern) == name.n && strncasecmp(pattern, name.p, name.n) == 0;
}

static bool pair_fits(const struct pair *p, struct span name)
{
    for (const struct name *n = p->names; n; n = n->next)
        if (name_fits(n->text, name)) return true;
    return false;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* Nobody is there to type it in; OpenSSL would ask the terminal. */
static int no_passphrase(char *ret, int size, int writing, void *arg)
{
    (void)ret;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* "http/1.1" or nothing (RFC 7301: a client that offers only others is told so). */
static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len,
                       const unsigned char *offered, unsigned n, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, ret_len, ours, sizeof(ours) - 1, offered, n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool load_pair(SSL_CTX *ctx, const struct config_tls *t, const struct out *o)
{
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
        return refuse(o, "no certificate can be read from", t->cert);
    /* A key of another kind than the certificate's is accepted by the first of these. */
    if (SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return refuse(o, "no private key for the certificate can be read from", t->key);
    return true;
}

/* What clients' certificates are judged by, and the digest that goes into the session's context:
 * whoever was let in under other authorities is not resumed under these. */
static bool load_authorities(SSL_CTX *ctx, const struct config_listen *l, EVP_MD_CTX *digest,
                             const struct out *o)
{
    if (!l->client_ca) return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(l->client_ca);
    if (!names || SSL_CTX_load_verify_file(ctx, l->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return refuse(o, "no authorities can be read from", l->client_ca);
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    STACK_OF(X509) *certs = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(ctx));
    for (int i = 0; i < sk_X509_num(certs); i++) {
        unsigned char print[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        if (X509_digest(sk_X509_value(certs, i), EVP_sha256(), print, &n) == 1)
            EVP_DigestUpdate(digest, print, n);
    }
    sk_X509_pop_free(certs, X509_free);
    int mode = SSL_VERIFY_PEER;
    if (!l->client_cert_optional) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    EVP_DigestUpdate(digest, &mode, sizeof mode);
    return true;
}

static bool set_up(SSL_CTX *ctx, const struct config_listen *l, unsigned site, const struct out *o)
{
    unsigned char id[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, &site, sizeof site) == 1;
    if (!good) refuse(o, "TLS", "cannot be set up");
    if (good) good = load_authorities(ctx, l, digest, o);
    if (good) good = EVP_DigestFinal_ex(digest, id, &n) == 1;
    EVP_MD_CTX_free(digest);
    if (!good) return false;
    SSL_CTX_set_session_id_context(ctx, id, n);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    return true;
}

static int64_t end_of(const X509 *cert)
{
    struct tm end;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) != 1) return 0;
    return timegm(&end);
}

static bool add_pair(struct tls_set *s, const struct config_listen *l, unsigned site,
                     const struct out *o)
{
    const struct config_tls *t = &l->tls[s->count];
    struct pair *p = &s->pairs[s->count];
    p->ctx = SSL_CTX_new(TLS_server_method());
    if (!p->ctx) return refuse(o, "TLS is not available for", t->cert);
    s->count++;
    if (tls_set_rules(p->ctx) < 0) return refuse(o, "OpenSSL lacks what is needed for", t->cert);
    if (!load_pair(p->ctx, t, o) || !set_up(p->ctx, l, site, o)) return false;
    X509 *cert = SSL_CTX_get0_certificate(p->ctx);
    int64_t end = end_of(cert);
    if (s->count == 1 || end < s->end) s->end = end;
    for (size_t i = 0; i < t->names.count; i++)
        add_name(p, span_str(t->names.list[i]));
    if (!t->names.list) add_certified(p, cert);
    return true;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct tls_set *tls_set_load(const struct config_listen *l, unsigned site, char *err,
                             size_t err_size)
{
    struct tls_set *s = mem_zero(sizeof(*s) + l->tls_count * sizeof(s->pairs[0]));
    const struct out o = {err, err_size};
    atomic_init(&s->refs, 1);
    ERR_clear_error();
    for (size_t i = 0; i < l->tls_count; i++) {
        if (add_pair(s, l, site, &o)) continue;
        tls_set_unref(s);
        return NULL;
    }
    return s;
}

struct tls_set *tls_set_ref(struct tls_set *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_set_unref(struct tls_set *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1) return;
    for (size_t i = 0; i < s->count; i++) {
        SSL_CTX_free(s->pairs[i].ctx);
        while (s->pairs[i].names) {
            struct name *next = s->pairs[i].names->next;
            free(s->pairs[i].names);
            s->pairs[i].names = next;
        }
    }
    free(s);
}

SSL_CTX *tls_set_find(const struct tls_set *s, struct span name)
{
    for (size_t i = 0; name.n && i < s->count; i++)
        if (pair_fits(&s->pairs[i], name)) return s->pairs[i].ctx;
    return s->pairs[0].ctx;
}

int64_t tls_set_end(const struct tls_set *s)
{
    return s->end;
}
