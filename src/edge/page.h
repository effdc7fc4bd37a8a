/* Pages: the files of the user's folder (web.root) and what is embedded in the binary. The client's
 * two scripts come before the folder, the demo pages after it. Worker thread. */
#ifndef EDGE_PAGE_H
#define EDGE_PAGE_H

#include "edge/conn.h"
#include "edge/folder.h"

struct web_asset;

struct page {
    const struct web_asset *asset; /* NULL: it is a file */
    enum folder_result result;     /* why there is none, or FOLDER_FILE */
    struct folder_file file;       /* open */
};

/* What is at this path; page_send() or page_drop() is due. */
void page_find(const struct edge *edge, const char *path, struct page *ret);
void page_drop(struct page *p);
/* Answers a GET or HEAD. Returns what libwebsockets wants to hear. */
int page_send(struct conn *c, struct page *p, const char *path);

#endif
