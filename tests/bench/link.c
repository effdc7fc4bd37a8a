#include "link.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

static SSL_CTX *context;
static bool serving;

static void prepare(const SSL_METHOD *method)
{
    context = SSL_CTX_new(method);
    if (!context) wire_die("TLS");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void link_use_tls(void)
{
    prepare(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
}

void link_serve_tls(const char *cert, const char *key)
{
    prepare(TLS_server_method());
    serving = true;
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        wire_die(cert);
}

void link_begin(struct link *l, int fd)
{
    *l = (struct link){.fd = fd};
    if (!context) return;
    l->ssl = SSL_new(context);
    if (!l->ssl || SSL_set_fd(l->ssl, fd) != 1) wire_die("TLS");
    if (serving)
        SSL_set_accept_state(l->ssl);
    else
        SSL_set_connect_state(l->ssl);
}

bool link_ready(struct link *l)
{
    return !l->ssl || SSL_is_init_finished(l->ssl) || SSL_do_handshake(l->ssl) == 1;
}

/* What a failed call means: 0 or -1, as in the header. */
static ssize_t outcome(struct link *l, int result)
{
    int why = SSL_get_error(l->ssl, result);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t plain(ssize_t n)
{
    if (n > 0) return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

ssize_t link_read(struct link *l, void *to, size_t n)
{
    if (!l->ssl) return plain(recv(l->fd, to, n, MSG_DONTWAIT));
    int got = SSL_read(l->ssl, to, (int)n);
    return got > 0 ? got : outcome(l, got);
}

ssize_t link_write(struct link *l, const void *from, size_t n)
{
    if (!l->ssl) return plain(send(l->fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT));
    int put = SSL_write(l->ssl, from, (int)n);
    return put > 0 ? put : outcome(l, put);
}

void link_write_all(struct link *l, const char *from, size_t n)
{
    while (n > 0) {
        ssize_t done = link_write(l, from, n);
        if (done < 0) return; /* reading will tell */
        from += done;
        n -= (size_t)done;
    }
}

void link_end(struct link *l)
{
    if (l->ssl) SSL_free(l->ssl);
    if (l->fd >= 0) close(l->fd);
    *l = (struct link){.fd = -1};
}
