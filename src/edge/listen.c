/* Listening sockets. */
#include "edge/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

#define BACKLOG 4096 /* the kernel cuts it to somaxconn */

struct place {
    struct sockaddr_storage addr;
    socklen_t len;
};

static int fail(char *err, size_t size, const char *where, const char *why)
{
    snprintf(err, size, "cannot listen on %s: %s", where, why);
    return -1;
}

static void set_int(int fd, int level, int option, int value)
{
    /* What the kernel does not take is no reason not to serve. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void close_quietly(int fd)
{
    if (fd >= 0) close(fd);
}

static int resolve(const struct config_listen *l, struct place *ret, char *err, size_t err_size)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)l->port);
    int rc = getaddrinfo(l->host, port, &hints, &list);
    if (rc != 0) return fail(err, err_size, l->text, gai_strerror(rc));
    memcpy(&ret->addr, list->ai_addr, list->ai_addrlen);
    ret->len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static void name_address(const struct place *p, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (p->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&p->addr;
        inet_ntop(AF_INET6, &a->sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, (unsigned)ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&p->addr;
        inet_ntop(AF_INET, &a->sin_addr, host, sizeof(host));
        snprintf(out, size, "%s:%u", host, (unsigned)ntohs(a->sin_port));
    }
}

/* One TCP socket at `p`, which is filled in with the port that the kernel chose. The first of a
 * port becomes one of a SO_REUSEPORT group only after its bind: until then a port that another
 * program has is an error. Returns the descriptor or -1 with errno. */
static int open_tcp(struct place *p, bool first, const struct config *config)
{
    int fd = new_socket(p->addr.ss_family);
    if (fd < 0) return -1;
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!first) set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (p->addr.ss_family == AF_INET6) set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, (const struct sockaddr *)&p->addr, p->len) < 0) goto out;
    if (first) set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (config->limits.send_buffer > 0)
        set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)config->limits.send_buffer);
    if (config->limits.unsent_bytes > 0)
        set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)config->limits.unsent_bytes);
    if (listen(fd, BACKLOG) < 0) goto out;
    if (getsockname(fd, (struct sockaddr *)&p->addr, &p->len) < 0) goto out;
    return fd;
out:;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* Frees the way for a unix socket. 0, or an errno. */
static int clear_path(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) < 0) return errno == ENOENT ? 0 : errno;
    if (!S_ISSOCK(st.st_mode)) return EEXIST;
    int fd = new_socket(AF_UNIX);
    if (fd < 0) return errno;
    int why = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ? EADDRINUSE : errno;
    close(fd);
    if (why == ENOENT) return 0;
    if (why == EAGAIN) return EADDRINUSE; /* its backlog is full: somebody serves it */
    if (why != ECONNREFUSED) return why;
    return unlink(a->sun_path) < 0 && errno != ENOENT ? errno : 0;
}

static int open_unix(const struct config_listen *l, uint64_t send_buffer, char *err,
                     size_t err_size)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(l->path) >= sizeof(a.sun_path))
        return fail(err, err_size, l->text, "the path is too long for a unix socket");
    memcpy(a.sun_path, l->path, strlen(l->path));
    int why = clear_path(&a);
    if (why == EEXIST) return fail(err, err_size, l->text, "the path exists and is not a socket");
    if (why != 0) return fail(err, err_size, l->text, strerror(why));
    int fd = new_socket(AF_UNIX);
    if (fd >= 0 && send_buffer > 0) set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)send_buffer);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0) {
        fail(err, err_size, l->text, strerror(errno));
        close_quietly(fd);
        return -1;
    }
    return fd;
}

struct opening {
    const struct config *config;
    unsigned workers;
    struct listener *list;
};

/* Opens address `i` for all workers. */
static int open_address(const struct opening *o, size_t i, char *err, size_t err_size)
{
    const struct config_listen *l = &o->config->listen[i];
    uint64_t send_buffer = o->config->limits.send_buffer;
    struct place place = {.len = 0};
    if (l->host && resolve(l, &place, err, err_size) < 0) return -1;
    for (unsigned w = 0; w < o->workers; w++) {
        struct listener *one = &o->list[w * o->config->listen_count + i];
        /* No page can rebind a name to a unix socket, and the proxy in front may pass any Host. */
        one->loopback = l->loopback && l->host;
        one->proxy_protocol = l->proxy_protocol;
        one->shared = !l->host;
        if (l->host) {
            one->fd = open_tcp(&place, w == 0, o->config);
            if (one->fd < 0) return fail(err, err_size, l->text, strerror(errno));
            name_address(&place, one->address, sizeof(one->address));
        } else {
            one->fd = w == 0 ? open_unix(l, send_buffer, err, err_size) : o->list[i].fd;
            if (one->fd < 0) return -1;
            snprintf(one->address, sizeof(one->address), "unix:%s", l->path);
        }
    }
    return 0;
}

int listen_open(const struct config *config, unsigned workers, struct listener **ret, char *err,
                size_t err_size)
{
    size_t count = config->listen_count * workers;
    struct listener *list = mem_zero((count ? count : 1) * sizeof(*list));
    const struct opening o = {config, workers, list};
    for (size_t i = 0; i < count; i++)
        list[i].fd = -1;
    for (size_t i = 0; i < config->listen_count; i++) {
        if (open_address(&o, i, err, err_size) < 0) {
            listen_close(list, count);
            return -1;
        }
    }
    *ret = list;
    return 0;
}

int listen_open_admin(const struct config *config, struct listener **ret, char *err,
                      size_t err_size)
{
    struct config one = *config;
    struct config_listen address = config->admin;
    *ret = NULL;
    if (!address.text) return 0;
    one.listen = &address;
    one.listen_count = 1;
    if (listen_open(&one, 1, ret, err, err_size) < 0) return -1;
    (*ret)->admin = true;
    return 0;
}

void listen_close(struct listener *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int fd = list[i].fd;
        if (fd < 0) continue;
        for (size_t k = i + 1; list[i].shared && k < count; k++)
            if (list[k].fd == fd) list[k].fd = -1;
        if (list[i].shared) unlink(list[i].address + strlen("unix:"));
        close(fd);
    }
    free(list);
}
