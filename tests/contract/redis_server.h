/* A real redis-server for tests: in a new folder, without persistence, gone with the test's process
 * however that ends.
 *
 * Functions that return int: 0, or -1 with a line on stderr. One thread. */
#ifndef CONTRACT_REDIS_SERVER_H
#define CONTRACT_REDIS_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct redis_server;

/* On a unix socket, and with `tls` on a free port of 127.0.0.1 too, with a certificate of its own
 * that is good for 127.0.0.1 and redis.test. NULL: failed, with a line on stderr. */
struct redis_server *redis_server_start(bool tls);
void redis_server_stop(struct redis_server *s); /* NULL is fine */

const char *redis_server_url(const struct redis_server *s); /* redis+unix: or rediss: */
const char *redis_server_ca(const struct redis_server *s);  /* file of its certificate */
/* One command without spaces in its words; the first line of the reply into `reply`. */
int redis_server_ask(struct redis_server *s, const char *command, char *reply, size_t size);
/* Cuts all clients off. */
void redis_server_cut(struct redis_server *s);

#endif
