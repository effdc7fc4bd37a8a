/* Listening sockets: taken ports, port 0, unix sockets that are stale or alive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "edge/listen.h"

#define WORKERS 3

static char err[256];

static struct config_listen tcp(const char *host, uint16_t port)
{
    return (struct config_listen){
        .text = "the address", .host = host, .port = port, .loopback = true};
}

static struct config with(struct config_listen *list, size_t count)
{
    return (struct config){.listen = list, .listen_count = count};
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin_port);
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* A socket of "another program", listening on a port of its own. */
static int occupy(bool reuseport, uint16_t *ret_port)
{
    struct sockaddr_in a = loopback(0);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    if (reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    *ret_port = port_of(fd);
    return fd;
}

static void port_zero_is_one_port_for_all_workers(void **state)
{
    struct config_listen l[] = {tcp("127.0.0.1", 0), tcp("127.0.0.1", 0)};
    struct config c = with(l, 2);
    struct listener *list = NULL;
    (void)state;
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), 0);
    char name[64];
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = port_of(list[i].fd);
        assert_int_not_equal(port, 0);
        snprintf(name, sizeof(name), "127.0.0.1:%u", (unsigned)port);
        for (unsigned w = 0; w < WORKERS; w++) {
            const struct listener *one = &list[w * 2 + i];
            assert_int_equal(port_of(one->fd), port);
            assert_string_equal(one->address, name);
            assert_true(one->loopback);
            assert_false(one->shared);
            for (unsigned v = 0; v < w; v++)
                assert_int_not_equal(one->fd, list[v * 2 + i].fd);
        }
    }
    assert_int_not_equal(port_of(list[0].fd), port_of(list[1].fd));
    listen_close(list, 2 * WORKERS);
}

/* The first socket joined the group after its bind: it must get connections like the others. */
static void connections_reach_every_worker(void **state)
{
    struct config_listen l[] = {tcp("127.0.0.1", 0)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    unsigned got[WORKERS] = {0};
    int clients[200];
    (void)state;
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), 0);
    struct sockaddr_in a = loopback(port_of(list[0].fd));
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&a, sizeof(a)), 0);
    }
    for (unsigned w = 0; w < WORKERS; w++) {
        int fd;
        while ((fd = accept(list[w].fd, NULL, NULL)) >= 0) {
            got[w]++;
            close(fd);
        }
    }
    for (unsigned w = 0; w < WORKERS; w++)
        assert_in_range(got[w], 1, 200);
    assert_int_equal(got[0] + got[1] + got[2], 200);
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
        close(clients[i]);
    listen_close(list, WORKERS);
}

static void taken_port_is_refused(void **state)
{
    (void)state;
    for (int reuseport = 0; reuseport < 2; reuseport++) {
        uint16_t port;
        int other = occupy(reuseport != 0, &port);
        struct config_listen l[] = {tcp("127.0.0.1", 0), tcp("127.0.0.1", port)};
        struct config c = with(l, 2);
        struct listener *list = NULL;
        assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), -1);
        assert_null(list);
        assert_non_null(strstr(err, "the address"));
        assert_non_null(strstr(err, "in use"));
        close(other);
    }
}

static void a_second_process_is_refused(void **state)
{
    struct config_listen l[] = {tcp("127.0.0.1", 0)};
    struct config c = with(l, 1);
    struct listener *list = NULL, *second = NULL;
    (void)state;
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), 0);
    l[0].port = port_of(list[0].fd);
    assert_int_equal(listen_open(&c, WORKERS, &second, err, sizeof(err)), -1);
    listen_close(list, WORKERS);
    assert_int_equal(listen_open(&c, WORKERS, &second, err, sizeof(err)), 0);
    listen_close(second, WORKERS);
}

static void unknown_host_is_refused(void **state)
{
    struct config_listen l[] = {tcp("256.0.0.1.invalid.", 0)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    (void)state;
    assert_int_equal(listen_open(&c, 1, &list, err, sizeof(err)), -1);
    assert_non_null(strstr(err, "the address"));
}

static void options_are_inherited(void **state)
{
    struct config_listen l[] = {tcp("127.0.0.1", 0)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    int value = 0;
    socklen_t len = sizeof(value);
    (void)state;
    c.limits.send_buffer = 32768;
    assert_int_equal(listen_open(&c, 1, &list, err, sizeof(err)), 0);
    struct sockaddr_in a = loopback(port_of(list[0].fd));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
    int fd = accept(list[0].fd, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &len), 0);
    assert_int_equal(value, 2 * 32768); /* the kernel doubles it */
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    assert_int_not_equal(value, 0);
    close(fd);
    close(client);
    listen_close(list, 1);
}

/* ---- unix sockets --------------------------------------------------------------------------- */

struct place {
    char dir[64], path[96];
};

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    snprintf(p->dir, sizeof(p->dir), "/tmp/wsbus-listen-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->path, sizeof(p->path), "%s/socket", p->dir);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    unlink(p->path);
    rmdir(p->dir);
    free(p);
    return 0;
}

static bool there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int serve(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static struct config_listen local(const char *path)
{
    return (struct config_listen){.text = "unix:socket", .path = path, .loopback = true};
}

static void unix_socket_is_shared_and_removed(void **state)
{
    struct place *p = *state;
    struct config_listen l[] = {local(p->path)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), 0);
    for (unsigned w = 0; w < WORKERS; w++) {
        assert_true(list[w].shared);
        assert_int_equal(list[w].fd, list[0].fd);
        assert_int_equal(strncmp(list[w].address, "unix:/tmp/", 10), 0);
    }
    assert_true(there(p->path));
    listen_close(list, WORKERS);
    assert_false(there(p->path));
}

static void stale_unix_socket_is_replaced(void **state)
{
    struct place *p = *state;
    struct config_listen l[] = {local(p->path)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    close(serve(p->path));
    assert_true(there(p->path));
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), 0);
    listen_close(list, WORKERS);
}

static void live_unix_socket_is_refused(void **state)
{
    struct place *p = *state;
    struct config_listen l[] = {local(p->path)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    int other = serve(p->path);
    assert_int_equal(listen_open(&c, WORKERS, &list, err, sizeof(err)), -1);
    assert_non_null(strstr(err, "in use"));
    assert_true(there(p->path));
    close(other);
}

static void other_files_are_left_alone(void **state)
{
    struct place *p = *state;
    struct config_listen l[] = {local(p->path)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    close(open(p->path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(listen_open(&c, 1, &list, err, sizeof(err)), -1);
    assert_non_null(strstr(err, "not a socket"));
    assert_true(there(p->path));
}

static void long_unix_path_is_refused(void **state)
{
    char path[200];
    (void)state;
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    struct config_listen l[] = {local(path)};
    struct config c = with(l, 1);
    struct listener *list = NULL;
    assert_int_equal(listen_open(&c, 1, &list, err, sizeof(err)), -1);
    assert_non_null(strstr(err, "too long"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_zero_is_one_port_for_all_workers),
        cmocka_unit_test(connections_reach_every_worker),
        cmocka_unit_test(taken_port_is_refused),
        cmocka_unit_test(a_second_process_is_refused),
        cmocka_unit_test(unknown_host_is_refused),
        cmocka_unit_test(options_are_inherited),
        cmocka_unit_test_setup_teardown(unix_socket_is_shared_and_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stale_unix_socket_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(live_unix_socket_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_files_are_left_alone, set_up, tear_down),
        cmocka_unit_test(long_unix_path_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
