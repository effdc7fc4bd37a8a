#include "redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define PATIENCE_MS 10000
#define PORT_TRIES 5

struct redis_server {
    char folder[32];
    char path[64]; /* of the socket */
    char url[96];
    char ca[64], key[64];
    int port; /* 0: no TLS */
    pid_t pid;
};

extern char **environ;

static void complain(const char *what)
{
    fprintf(stderr, "redis-server: %s: %s\n", what, strerror(errno));
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int read_line(int fd, char *reply, size_t size)
{
    size_t n = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (n + 1 < size && (n == 0 || reply[n - 1] != '\n')) {
        if (poll(&p, 1, PATIENCE_MS) != 1 || read(fd, reply + n, 1) != 1) return -1;
        n++;
    }
    reply[n] = '\0';
    reply[strcspn(reply, "\r\n")] = '\0';
    return 0;
}

int redis_server_ask(struct redis_server *s, const char *command, char *reply, size_t size)
{
    int fd = connect_to(s->path);
    if (fd < 0) return -1;
    int rc = dprintf(fd, "%s\r\n", command) > 0 ? read_line(fd, reply, size) : -1;
    close(fd);
    return rc;
}

void redis_server_cut(struct redis_server *s)
{
    char reply[128];
    redis_server_ask(s, "CLIENT KILL TYPE pubsub", reply, sizeof(reply));
    redis_server_ask(s, "CLIENT KILL TYPE normal", reply, sizeof(reply));
}

/* ---- start and stop ----------------------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        address.sin_port = 0;
    if (fd >= 0) close(fd);
    return ntohs(address.sin_port);
}

static int make_certificate(const struct redis_server *s)
{
    char *const argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:prime256v1",
                          "-nodes",
                          "-days",
                          "2",
                          "-subj",
                          "/CN=redis.test",
                          "-addext",
                          "subjectAltName=DNS:redis.test,IP:127.0.0.1",
                          "-out",
                          (char *)(uintptr_t)s->ca,
                          "-keyout",
                          (char *)(uintptr_t)s->key,
                          NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    if (rc == 0) waitpid(pid, &status, 0);
    return rc == 0 && status == 0 ? 0 : -1;
}

static void become_server(const struct redis_server *s)
{
    char port[8];
    snprintf(port, sizeof(port), "%d", s->port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    const char *argv[24] = {"redis-server", "--port", "0", "--unixsocket", s->path, "--dir",
                            s->folder,      "--save", "",  "--appendonly", "no"};
    const char *const tls[] = {
        "--bind",         "127.0.0.1", "--tls-port",         port,  "--tls-cert-file",    s->ca,
        "--tls-key-file", s->key,      "--tls-ca-cert-file", s->ca, "--tls-auth-clients", "no"};
    if (s->port) memcpy(argv + 11, tls, sizeof(tls));
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static bool answers(struct redis_server *s)
{
    char reply[64];
    return redis_server_ask(s, "PING", reply, sizeof(reply)) == 0 && strcmp(reply, "+PONG") == 0;
}

static int run(struct redis_server *s)
{
    s->pid = fork();
    if (s->pid == 0) become_server(s);
    if (s->pid < 0) return -1;
    uint64_t end = clock_ticks() + PATIENCE_MS;
    while (!answers(s)) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            return -1;
        }
        if (clock_ticks() > end) return -1;
        poll(NULL, 0, 5);
    }
    return 0;
}

static int run_with_tls(struct redis_server *s)
{
    if (make_certificate(s) < 0) return -1;
    for (int i = 0; i < PORT_TRIES; i++) {
        s->port = free_port();
        snprintf(s->url, sizeof(s->url), "rediss://127.0.0.1:%d", s->port);
        if (s->port && run(s) == 0) return 0;
    }
    return -1;
}

struct redis_server *redis_server_start(bool tls)
{
    struct redis_server *s = mem_zero(sizeof(*s));
    snprintf(s->folder, sizeof(s->folder), "/tmp/wsbus-redis-XXXXXX");
    if (!mkdtemp(s->folder)) {
        complain("no folder");
        free(s);
        return NULL;
    }
    snprintf(s->path, sizeof(s->path), "%s/socket", s->folder);
    snprintf(s->ca, sizeof(s->ca), "%s/cert.pem", s->folder);
    snprintf(s->key, sizeof(s->key), "%s/key.pem", s->folder);
    snprintf(s->url, sizeof(s->url), "redis+unix://%s", s->path);
    if ((tls ? run_with_tls(s) : run(s)) == 0) return s;
    complain("it does not start");
    redis_server_stop(s);
    return NULL;
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *place)
{
    (void)info;
    (void)flag;
    (void)place;
    return remove(path);
}

void redis_server_stop(struct redis_server *s)
{
    if (!s) return;
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    nftw(s->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
}

const char *redis_server_url(const struct redis_server *s)
{
    return s->url;
}

const char *redis_server_ca(const struct redis_server *s)
{
    return s->ca;
}
