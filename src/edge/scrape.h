/* GET /metrics: asks every bus for its figures, waits for them, and answers in Prometheus' text
 * format (version 0.0.4). Bus threads answer when they come to it; one that does not within a
 * second is left out, and nobody waits for it. On the thread of the worker that has the admin
 * listener. */
#ifndef EDGE_SCRAPE_H
#define EDGE_SCRAPE_H

#include <uv.h>

#include "base/inbox.h"
#include "base/list.h"
#include "edge/edge.h"
#include "edge/metrics.h"

struct conn;
struct scrape;

/* Of one worker. */
struct scraper {
    struct edge *edge;
    struct metrics_view view;
    uv_async_t wake;
    struct inbox inbox;  /* answers of the buses */
    struct list scrapes; /* whose buses have not all answered */
    uint64_t last_id;
};

int scraper_open(struct scraper *s, uv_loop_t *loop,
                 struct edge *edge);   /* 0 or an error of libuv */
void scraper_close(struct scraper *s); /* the loop must run on for the closing callback */
void scraper_free(struct scraper *s);  /* when no bus has anything left to answer */

/* A request for /metrics has come in; returns what libwebsockets wants to hear. */
int scrape_request(struct conn *c);
void scrape_forget(struct scrape *s); /* its connection has gone; NULL is fine */

#endif
