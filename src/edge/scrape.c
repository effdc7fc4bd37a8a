#include "edge/scrape.h"

#include <libwebsockets.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "edge/conn.h"
#include "edge/http.h"

#define PATIENCE_MS 1000

struct scrape {
    struct list node;
    struct scraper *scraper;
    struct conn *conn; /* NULL: it has gone, or has its answer */
    uint64_t id;
    bool head_only;
    struct timer deadline;
    unsigned awaited, count;
    struct mail_figures *figures[]; /* of those buses that have answered */
};

static void answer(struct scrape *s)
{
    static const char headers[] = "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                                  "Cache-Control: no-store\r\n"
                                  "Connection: close\r\n"
                                  "Content-Length: ";
    struct conn *c = s->conn;
    struct buf body, whole;
    if (!c) return;
    s->conn = NULL;
    c->http->scrape = NULL;
    buf_init(&body, BUF_UNLIMITED); /* bounded by the number of counters, buses and workers */
    buf_init(&whole, BUF_UNLIMITED);
    metrics_write(&body, &s->scraper->view, s->figures, s->count);
    buf_str(&whole, headers);
    buf_u64(&whole, body.n);
    buf_str(&whole, "\r\n\r\n");
    if (!s->head_only) buf_span(&whole, buf_view(&body));
    buf_free(&body);
    response_give(c, &whole);
}

/* The buses that have not answered by now are left out. */
static void on_deadline(struct timer *t)
{
    answer(CONTAINER_OF(t, struct scrape, deadline));
}

static void end(struct scrape *s)
{
    if (s->conn) s->conn->http->scrape = NULL;
    timer_stop(&s->scraper->edge->wheel, &s->deadline);
    list_del(&s->node);
    for (unsigned i = 0; i < s->count; i++)
        mail_free(&s->figures[i]->item);
    free(s);
}

static struct scrape *find(struct scraper *s, uint64_t id)
{
    for (struct list *n = s->scrapes.next; n != &s->scrapes; n = n->next) {
        struct scrape *one = LIST_ITEM(n, struct scrape, node);
        if (one->id == id) return one;
    }
    return NULL;
}

static void take_inbox(struct scraper *s)
{
    struct inbox_item *item = inbox_take(&s->inbox), *next;
    for (; item; item = next) {
        struct mail_figures *m = CONTAINER_OF(item, struct mail_figures, item);
        struct scrape *one = find(s, m->id);
        next = item->next;
        (void)inbox_settle(&s->inbox, item->bytes);
        if (!one) {
            mail_free(item);
            continue;
        }
        one->figures[one->count++] = m;
        if (--one->awaited > 0) continue;
        answer(one);
        end(one);
    }
}

static void on_wake(uv_async_t *wake)
{
    take_inbox(wake->data);
}

static void wake_up(void *arg)
{
    struct scraper *s = arg;
    uv_async_send(&s->wake);
}

/* ---- life ----------------------------------------------------------------------------------- */

int scraper_open(struct scraper *s, uv_loop_t *loop, struct edge *edge)
{
    s->edge = edge;
    list_init(&s->scrapes);
    inbox_init(&s->inbox, SIZE_MAX, wake_up, s);
    int rc = uv_async_init(loop, &s->wake, on_wake);
    if (rc == 0) s->wake.data = s;
    return rc;
}

void scraper_close(struct scraper *s)
{
    uv_close((uv_handle_t *)&s->wake, NULL);
}

void scraper_free(struct scraper *s)
{
    take_inbox(s);
    while (!list_empty(&s->scrapes))
        end(LIST_ITEM(s->scrapes.next, struct scrape, node));
}

int scrape_request(struct conn *c)
{
    static const struct http_answer busy = {503, "Retry-After: 1\r\n",
                                            "Too many answers are on their way."};
    struct scraper *scraper = c->edge->scraper;
    unsigned buses = hub_bus_count(c->edge->hub);
    if (!response_reserve(c)) return http_send(c, &busy);
    int rc = response_await(c);
    if (rc != 0) return rc;
    struct scrape *s = mem_zero(sizeof(*s) + buses * sizeof(s->figures[0]));
    s->scraper = scraper;
    s->conn = c;
    s->head_only = lws_hdr_total_length(c->wsi, WSI_TOKEN_HEAD_URI) > 0;
    s->id = ++scraper->last_id;
    s->awaited = buses;
    timer_init(&s->deadline, on_deadline);
    timer_set(&c->edge->wheel, &s->deadline, clock_ticks() + PATIENCE_MS);
    list_append(&scraper->scrapes, &s->node);
    c->http->scrape = s;
    for (unsigned i = 0; i < buses; i++)
        inbox_force(hub_inbox(c->edge->hub, i), &mail_figures_new(&scraper->inbox, s->id, i)->item);
    return 0;
}

/* The buses still answer; the scrape ends with the last of them. */
void scrape_forget(struct scrape *s)
{
    if (s) s->conn = NULL;
}
