/* What is said to a service manager, heard at the other end of its socket. */
#include "base/notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* The manager's end, and the variable that names it. */
static int listen_at(const char *where)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(where);
    memcpy(at.sun_path, where, n);
    if (*where == '@') at.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    setenv("NOTIFY_SOCKET", where, 1);
    return fd;
}

static void assert_heard(int fd, const char *want)
{
    char text[256] = "";
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    assert_string_equal(text, want);
}

static void nobody_asks(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_ready(), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(notify_stopping(1), 0);
}

static void by_a_path(void **state)
{
    char folder[] = "/tmp/wsbus-notify-XXXXXX", path[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    int fd = listen_at(path);
    assert_int_equal(notify_ready(), 0);
    assert_heard(fd, "READY=1");
    assert_int_equal(notify_stopping(16000), 0);
    assert_heard(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=16000000");
    close(fd);
    unlink(path);
    assert_int_equal(notify_ready(), -1);
    assert_int_equal(errno, ENOENT);
    rmdir(folder);
}

static void by_a_name(void **state)
{
    char name[64];
    unsigned long long usec = 0;
    (void)state;
    snprintf(name, sizeof(name), "@wsbus-notify-%d", (int)getpid());
    int fd = listen_at(name);
    assert_int_equal(notify_reloading(), 0);
    char text[256] = "";
    assert_true(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
    assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
    assert_true(usec > 0);
    close(fd);
}

static void nonsense_is_refused(void **state)
{
    char name[300];
    (void)state;
    setenv("NOTIFY_SOCKET", "relative/path", 1);
    assert_int_equal(notify_ready(), -1);
    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    assert_int_equal(notify_ready(), -1);
    assert_int_equal(errno, EINVAL);
}

/* A manager that does not read must not hold us up. */
static void a_full_socket_does_not_block(void **state)
{
    char name[64];
    int said = 0;
    (void)state;
    snprintf(name, sizeof(name), "@wsbus-notify-full-%d", (int)getpid());
    int fd = listen_at(name);
    while (said < 100000 && notify_ready() == 0)
        said++;
    assert_true(said > 0 && said < 100000);
    assert_int_equal(errno, EAGAIN);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_asks),
        cmocka_unit_test(by_a_path),
        cmocka_unit_test(by_a_name),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_full_socket_does_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
