#include "base/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static int say(const char *text)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *where = getenv("NOTIFY_SOCKET");
    size_t n = where ? strlen(where) : 0;
    if (n == 0) return 0;
    if ((*where != '/' && *where != '@') || n >= sizeof(to.sun_path)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(to.sun_path, where, n);
    if (*where == '@') to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    ssize_t sent =
        sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to, size);
    int why = errno;
    close(fd);
    errno = why;
    return sent < 0 ? -1 : 0;
}

int notify_ready(void)
{
    return say("READY=1");
}

int notify_reloading(void)
{
    char text[64];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_us());
    return say(text);
}

int notify_stopping(uint64_t ms)
{
    char text[64];
    snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, ms * 1000);
    return say(text);
}
