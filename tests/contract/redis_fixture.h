/* What the fixtures of the contract suite on Redis share. */
#ifndef CONTRACT_REDIS_FIXTURE_H
#define CONTRACT_REDIS_FIXTURE_H

#include <stdbool.h>

/* Runs the suite on a server of its own: on channels or on streams, over a socket or over TLS. The
 * exit code of main(). */
int redis_fixture_run(const char *name, bool streams, bool tls);

#endif
