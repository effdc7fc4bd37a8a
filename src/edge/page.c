#include "edge/page.h"

#include <inttypes.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "edge/http.h"
#include "edge/negotiate.h"
#include "web/asset.h"
#include "web/type.h"

/* The demo pages load nothing from elsewhere and can be put into no frame. */
#define DEMO_HEADERS                                                                     \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; " \
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "    \
    "frame-ancestors 'none'\r\n"                                                         \
    "Referrer-Policy: no-referrer\r\n"

/* A page of another origin that access.origins lets in may import the client from here. */
#define CLIENT_HEADERS                   \
    "Access-Control-Allow-Origin: *\r\n" \
    "Cross-Origin-Resource-Policy: cross-origin\r\n"

/* What is said of a page that is there. */
struct form {
    const char *type, *tag, *headers;
    bool varies, gzip;
    struct response_body body;
};

void page_find(const struct edge *edge, const char *path, struct page *ret)
{
    const struct web_asset *asset = web_asset_find(path);
    *ret = (struct page){.asset = asset, .result = FOLDER_FILE, .file = {.fd = -1}};
    if (asset && !asset->demo) return;
    ret->asset = NULL;
    ret->result = edge->root >= 0 ? folder_get(edge->root, path, &ret->file) : FOLDER_NONE;
    if (ret->result != FOLDER_NONE || !asset || !edge->config->web.demo) return;
    ret->asset = asset;
    ret->result = FOLDER_FILE;
}

void page_drop(struct page *p)
{
    if (p->file.fd >= 0) close(p->file.fd);
    p->file.fd = -1;
}

/* ---- what is sent --------------------------------------------------------------------------- */

/* One header of the request; nothing if it is absent or too long to be real. */
static struct span header(struct conn *c, enum lws_token_indexes token, char *room, int size)
{
    int n = lws_hdr_total_length(c->wsi, token) > 0 ? lws_hdr_copy(c->wsi, room, size, token) : 0;
    return span_of(room, n > 0 ? (size_t)n : 0);
}

static struct form form_of(struct conn *c, const struct page *p)
{
    if (!p->asset)
        return (struct form){.type = web_type(p->file.name),
                             .tag = p->file.tag,
                             .headers = "",
                             .body = {.fd = p->file.fd, .size = p->file.size}};
    char room[512];
    const struct web_asset *a = p->asset;
    struct form f = {.type = web_type(a->file),
                     .headers = a->demo ? DEMO_HEADERS : CLIENT_HEADERS,
                     .varies = a->gzip.tag != NULL};
    f.gzip =
        f.varies && negotiate_gzip(header(c, WSI_TOKEN_HTTP_ACCEPT_ENCODING, room, sizeof(room)));
    const struct web_form *bytes = f.gzip ? &a->gzip : &a->plain;
    f.tag = bytes->tag;
    f.body = (struct response_body){bytes->bytes.p, -1, bytes->bytes.n};
    return f;
}

static void write_head(struct buf *out, const struct form *f, bool same)
{
    buf_str(out, same ? "HTTP/1.1 304 Not Modified\r\n" : "HTTP/1.1 200 OK\r\n");
    if (!same)
        buf_printf(out, "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n", f->type,
                   f->body.size);
    if (f->gzip && !same) buf_str(out, "Content-Encoding: gzip\r\n");
    if (f->varies) buf_str(out, "Vary: Accept-Encoding\r\n");
    buf_printf(out,
               "ETag: %s\r\n"
               "Cache-Control: no-cache\r\n"
               "X-Content-Type-Options: nosniff\r\n"
               "%s"
               "Connection: close\r\n\r\n",
               f->tag, f->headers);
}

static int send_form(struct conn *c, struct page *p)
{
    char room[2048];
    struct buf head;
    struct form f = form_of(c, p);
    bool same = negotiate_same(header(c, WSI_TOKEN_HTTP_IF_NONE_MATCH, room, sizeof(room)), f.tag);
    buf_init(&head, RESPONSE_HEAD_MAX);
    write_head(&head, &f, same);
    if (same || lws_hdr_total_length(c->wsi, WSI_TOKEN_HEAD_URI) > 0) {
        page_drop(p);
        f.body = (struct response_body){.fd = -1};
    }
    p->file.fd = -1; /* the response's now */
    int rc = response_start(c, buf_view(&head), &f.body);
    buf_free(&head);
    return rc;
}

/* To the same path with a slash at its end. Everything that could mean something else in a header
 * or in an address is encoded; the query is lost, libwebsockets has it decoded only. */
static int redirect(struct conn *c, const char *path)
{
    struct buf b;
    buf_init(&b, 4096);
    buf_str(&b, "Location: ");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("/-._~", *p);
        if (plain)
            buf_byte(&b, (char)*p);
        else
            buf_printf(&b, "%%%02X", *p);
    }
    buf_append(&b, "/\r\n", sizeof("/\r\n")); /* with its NUL */
    int rc = http_send(
        c, &(struct http_answer){.status = 308, .headers = b.p, .text = "It is a folder."});
    buf_free(&b);
    return rc;
}

int page_send(struct conn *c, struct page *p, const char *path)
{
    static const struct http_answer full = {503, "Retry-After: 5\r\n", "This server is full."};
    const struct http_answer *no = c->http->refusal == ARRIVAL_WELCOME ? &full : http_refusal(c);
    static const struct http_answer denied = {403, NULL, "This file may not be read."};
    static const struct http_answer busy = {503, "Retry-After: 1\r\n",
                                            "This server cannot open more files now."};
    static const struct http_answer broken = {500, NULL, "The file could not be read."};
    switch (p->result) {
    case FOLDER_FILE:
        if (c->http->refusal == ARRIVAL_WELCOME && response_reserve(c)) return send_form(c, p);
        page_drop(p);
        return http_send(c, no);
    case FOLDER_SLASH: return redirect(c, path);
    case FOLDER_DENIED: return http_send(c, &denied);
    case FOLDER_BUSY: return http_send(c, &busy);
    case FOLDER_BROKEN: return http_send(c, &broken);
    case FOLDER_NONE: break;
    }
    return http_send(c, &(struct http_answer){404, NULL, "There is nothing at this path."});
}
