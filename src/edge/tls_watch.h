/* Certificates that change on disk: a thread that waits for the kernel to say that something has
 * changed in their folders, and has them read again (tls_reload()). */
#ifndef EDGE_TLS_WATCH_H
#define EDGE_TLS_WATCH_H

#include <stddef.h>

#include "edge/tls.h"

struct tls_watch;

/* NULL with one sentence in `err`: no thread could be started. */
struct tls_watch *tls_watch_start(struct tls *t, const struct config *config, char *err,
                                  size_t err_size);
void tls_watch_stop(struct tls_watch *w); /* NULL is fine */

#endif
