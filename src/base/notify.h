/* What the service manager wants to know of us: ready, reading the configuration again, stopping.
 *
 * systemd gives a service of Type=notify the variable NOTIFY_SOCKET, the address of a datagram socket:
 * a path, or with "@" in front a name in the abstract namespace. Each datagram is lines NAME=VALUE
 * (sd_notify(3); the protocol is promised to stay). Without the variable nobody asks, and nothing is done.
 * Any thread; nothing blocks. */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#include <stdint.h>

/* All return 0 also if nobody asks, and -1 with errno if it cannot be said. */
int notify_ready(void);
int notify_reloading(void); /* notify_ready() comes after it */
/* May take up to so many milliseconds from now, whatever the manager's own limit. */
int notify_stopping(uint64_t ms);

#endif
