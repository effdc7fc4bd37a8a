/* Preloaded into the daemon: its thread stands still for STANDSTILL_MS when it has taken in what had
 * come to a listener, as on a machine that is too busy. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int accept4_function(int fd, struct sockaddr *from, socklen_t *len, int flags);

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    static _Thread_local int taken;
    const char *ms = getenv("STANDSTILL_MS");
    accept4_function *real;
    void *p = dlsym(RTLD_NEXT, "accept4");
    memcpy(&real, &p, sizeof(real));
    int got = real(fd, from, len, flags);
    int why = errno;
    if (got >= 0) {
        taken = 1;
    } else if (taken) {
        taken = 0;
        usleep((useconds_t)(1000 * atoi(ms ? ms : "0")));
    }
    errno = why;
    return got;
}
