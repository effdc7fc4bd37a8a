/* /raw: a connection without an envelope (docs/protocol.md, section 6). Every message in is one
 * publish, every message out is one payload; what /ws would say in a frame of its own ends the
 * connection here, so that one which stays open has lost nothing.
 *
 * It is a session like any other (session/session.h), which says its one `subscribe` and its
 * publishes through session/commands.c; the frames that come for it are turned into payloads when
 * the first such session on this worker meets them. Worker thread. */
#ifndef SESSION_RAW_H
#define SESSION_RAW_H

#include "base/span.h"
#include "protocol/codes.h"
#include "session/session.h"

struct raw; /* what one connection was opened for */

/* The query of the request, decoded; p NULL: not given. */
struct raw_query {
    struct span subscribe, publish; /* channels */
    struct span from;               /* one of its words, or JSON as in `subscribe` */
    struct span form;               /* "binary": of every message out; else as its bytes say */
};

struct raw_refusal {
    enum error_code code;
    struct span channel; /* of the query; p NULL: about none */
    char message[160];
};

/* Before the upgrade: are these channels there, and may they be used so? NULL: no, with *ret. */
struct raw *raw_new(struct session_worker *w, const struct raw_query *q, struct raw_refusal *ret);
void raw_free(struct raw *r); /* NULL is fine */

/* session_open() for such a connection: no `welcome`, and it subscribes at once. Takes `raw` over.
 * session_text() is then given the payload of every message, text or binary. */
struct session *session_open_raw(struct session_worker *w, struct transport *t, const char *peer,
                                 struct raw *raw);

/* The client has closed with this code (CLOSE_NO_CODE: none), or is to be closed with it: that is
 * done when its publishes are answered, so that the code is true of all it has sent. */
void session_leave_raw(struct session *s, enum close_code code);

#endif
