/* What all connections of one worker share. One thread: the worker's. */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include <stdatomic.h>
#include <stdint.h>

#include "access/access.h"
#include "base/list.h"
#include "base/timers.h"
#include "config/config.h"
#include "edge/addresses.h"
#include "edge/admission.h"
#include "edge/trust.h"
#include "hub/hub.h"
#include "session/session.h"

struct inflater;
struct tls;
struct uv_loop_s;

struct edge {
    struct uv_loop_s *loop;
    const struct config *config;
    const struct access *access;
    struct admission *admission;
    struct addresses *addresses; /* one for all workers, as is */
    const struct trust *trust;
    struct hub *hub;
    struct scraper *scraper; /* NULL: this worker has no admin listener */
    int root;                /* the folder web.root, one for all workers; -1: none */
    struct tls *tls;         /* likewise; NULL: no listener speaks it */
    struct session_worker *sessions;
    struct inflater *inflater; /* NULL: compression is off */
    struct timers wheel;
    struct list conns;          /* struct conn */
    struct list half_open;      /* struct half_open, the oldest first */
    struct list found;          /* struct conn, of whose clients something was found (guard.h) */
    atomic_uint_fast64_t count; /* of them; written by the worker, read by anyone */
};

#endif
