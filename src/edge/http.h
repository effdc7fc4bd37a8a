/* Plain HTTP: health, pages (edge/page.h) or a word of greeting, and a clear no to everything else.
 * Every answer closes its connection. Worker thread. */
#ifndef EDGE_HTTP_H
#define EDGE_HTTP_H

#include "edge/conn.h"

/* A whole answer. */
struct http_answer {
    unsigned status;     /* 0: none */
    const char *headers; /* more of them, each with its CRLF; or NULL */
    const char *text;    /* the body, without the last line feed */
};

/* Sends it. Returns what libwebsockets wants to hear: -1, the connection is done with. */
int http_send(struct conn *c, const struct http_answer *a);
/* The same with a body of this media type. */
int http_send_as(struct conn *c, const struct http_answer *a, const char *type);
/* What a connection is told that is served only for that (c->refusal). */
const struct http_answer *http_refusal(const struct conn *c);
/* The same from outside of libwebsockets' callbacks: the client may read it to the end. */
void http_refuse(struct conn *c, const struct http_answer *a);
/* A request without an upgrade has come in. */
int http_request(struct conn *c);
/* What came in is not HTTP. */
int http_garbage(struct conn *c);

#endif
