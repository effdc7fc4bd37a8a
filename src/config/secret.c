#include "config/secret.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"

bool secret_name(const char *name)
{
    static const char *const parts[] = {
        "password",   "passwd", "passphrase",         "secret", "token",
        "credential", "jaas",   "oauthbearer.config", ".pem"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcasestr(name, parts[i])) return true;
    return strcasecmp(name, "pass") == 0 || strcasecmp(name, "pwd") == 0;
}

/* "name=value" pieces between '&'. */
static void write_parameters(struct arena *a, struct buf *out, const char *p)
{
    while (*p) {
        size_t n = strcspn(p, "&"), name = strcspn(p, "=&");
        if (name < n && secret_name(arena_dup(a, span_of(p, name)))) {
            buf_append(out, p, name + 1);
            buf_str(out, SECRET_BLOT);
        } else {
            buf_append(out, p, n);
        }
        p += n;
        if (*p == '&') buf_byte(out, *p++);
    }
}

/* The last '@' of an address before one of `ends`: a password may hold '@' and '/' that were not
 * escaped. */
static const char *find_at(const char *rest, const char *ends)
{
    const char *at = NULL;
    for (const char *c = rest; *c && !strchr(ends, *c); c++)
        if (*c == '@') at = c;
    return at;
}

const char *secret_blot(struct arena *a, const char *text)
{
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    const char *p = text, *scheme;
    while ((scheme = strstr(p, "://"))) {
        const char *rest = scheme + 3, *at = find_at(rest, "?, ");
        /* Without a path before it, the '?' may be part of a password. */
        if (!at && rest[strcspn(rest, "/?, ")] == '?') at = find_at(rest, ", ");
        buf_append(&out, p, (size_t)(rest - p));
        if (at) buf_str(&out, SECRET_BLOT);
        p = at ? at : rest;
    }
    const char *query = strchr(p, '?');
    if (query) {
        buf_append(&out, p, (size_t)(query + 1 - p));
        write_parameters(a, &out, query + 1);
    } else {
        buf_str(&out, p);
    }
    const char *blotted = arena_dup(a, buf_view(&out));
    buf_free(&out);
    return blotted;
}
