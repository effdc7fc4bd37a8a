/* The WebSocket handshake: what libwebsockets accepts is looked at once more, with less
 * patience. Worker thread. */
#ifndef EDGE_HANDSHAKE_H
#define EDGE_HANDSHAKE_H

#include "edge/conn.h"

/* The request with an `Upgrade` header that has just come in: 0 if it may go on to be a
 * WebSocket; otherwise it has been answered (PROTOCOL.md, section 5) and -1 closes it. */
int handshake_check(struct conn *c);
/* It has passed: adds to the answer that libwebsockets writes. `args` is its own. */
struct lws_process_html_args;
void handshake_answer(struct conn *c, struct lws_process_html_args *args);

#endif
