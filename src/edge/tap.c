#include "edge/tap.h"

#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

struct watch {
    tap_reader *reader;
    void *who;
};

/* Of one thread, by descriptor. */
static _Thread_local struct watch *watches;
static _Thread_local size_t watch_count;

typedef ssize_t recv_function(int fd, void *p, size_t n, int flags);
typedef int ssl_read_function(SSL *ssl, void *p, int n);

/* ---- the real ones --------------------------------------------------------------------------- */

/* A pointer to a function is none to an object in C; POSIX has them of one size. */
static void find(const char *name, void *ret_function)
{
    void *p = dlsym(RTLD_NEXT, name);
    if (!p) abort(); /* the program could not have been started without it */
    memcpy(ret_function, &p, sizeof(p));
}

static ssize_t real_recv(int fd, void *p, size_t n, int flags)
{
    static _Atomic(recv_function *) known;
    recv_function *f = atomic_load_explicit(&known, memory_order_relaxed);
    if (!f) {
        find("recv", &f);
        atomic_store_explicit(&known, f, memory_order_relaxed);
    }
    return f(fd, p, n, flags);
}

static int real_ssl_read(SSL *ssl, void *p, int n)
{
    static _Atomic(ssl_read_function *) known;
    ssl_read_function *f = atomic_load_explicit(&known, memory_order_relaxed);
    if (!f) {
        find("SSL_read", &f);
        atomic_store_explicit(&known, f, memory_order_relaxed);
    }
    return f(ssl, p, n);
}

ssize_t tap_read(const struct tap_source *from, void *p, size_t n)
{
    if (!from->ssl) return real_recv(from->fd, p, n, 0);
    return real_ssl_read(from->ssl, p, (int)n);
}

ssize_t tap_peek(const struct tap_source *from, void *p, size_t n)
{
    if (!from->ssl) return real_recv(from->fd, p, n, MSG_PEEK);
    return SSL_peek(from->ssl, p, (int)n);
}

void tap_goodbye(struct ssl_st *ssl)
{
    if (ssl) (void)SSL_shutdown(ssl);
}

/* ---- in their place -------------------------------------------------------------------------- */

static const struct watch *watch_of(int fd)
{
    if (fd < 0 || (size_t)fd >= watch_count || !watches[fd].reader) return NULL;
    return &watches[fd];
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    const struct watch *w = flags == 0 ? watch_of(fd) : NULL;
    if (!w) return real_recv(fd, p, n, flags);
    return w->reader(w->who, &(struct tap_source){.fd = fd}, p, n);
}

int SSL_read(SSL *ssl, void *p, int n)
{
    int fd = watch_count > 0 && n > 0 ? SSL_get_fd(ssl) : -1;
    const struct watch *w = watch_of(fd);
    if (!w) return real_ssl_read(ssl, p, n);
    return (int)w->reader(w->who, &(struct tap_source){fd, ssl}, p, (size_t)n);
}

/* ---- who watches ----------------------------------------------------------------------------- */

void tap_watch(int fd, tap_reader *reader, void *who)
{
    if ((size_t)fd >= watch_count) {
        size_t count = watch_count ? watch_count : 256;
        while (count <= (size_t)fd)
            count *= 2;
        watches = mem_grow(watches, count * sizeof(*watches));
        memset(watches + watch_count, 0, (count - watch_count) * sizeof(*watches));
        watch_count = count;
    }
    watches[fd] = (struct watch){reader, who};
}

void tap_forget(int fd, const void *who)
{
    if (fd < 0 || (size_t)fd >= watch_count || watches[fd].who != who) return;
    watches[fd] = (struct watch){NULL, NULL};
}

void tap_done(void)
{
    free(watches);
    watches = NULL;
    watch_count = 0;
}
