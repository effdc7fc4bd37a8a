/* The files inside the binary: the client for browsers and the demo pages. The data is made by
 * src/web/embed from the list src/web/assets when the program is built. Constant. */
#ifndef WEB_ASSET_H
#define WEB_ASSET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct web_form {
    struct span bytes;
    const char *tag; /* entity tag, made from these bytes, with its quotes; NULL: no such form */
};

struct web_asset {
    const char *path; /* under which it is served: "/wsbus.js" */
    const char *file; /* its source, for the media type */
    bool demo;        /* only with web.demo */
    struct web_form plain;
    struct web_form gzip; /* where that is smaller */
};

extern const struct web_asset web_assets[];
extern const size_t web_asset_count;

/* NULL: there is none of this path. */
const struct web_asset *web_asset_find(const char *path);

#endif
