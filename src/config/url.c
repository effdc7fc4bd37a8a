/* Buses as URLs on the command line: the scheme is the backend, with an "s" behind it for TLS, or
 * with the way to it ("redis+unix:"), which is the backend's to understand.
 *
 * Parameters with the name of an option go to the bus or to its rule; what is left is the text of
 * the backend's option `url`. */
#include "config/load.h"

#include <ctype.h>

#include "base/percent.h"
#include "config/secret.h"

struct url {
    struct load *load;
    struct source *source;
    const struct wsbus_backend *backend;
    struct url_bus *bus;
    const char *text;
};

static const struct wsbus_backend *find_backend(struct load *l, const char *scheme)
{
    size_t n = strcspn(scheme, "+");
    if (scheme[n]) return load_backend(l, arena_dup(l->arena, span_of(scheme, n)));
    const struct wsbus_backend *b = load_backend(l, scheme);
    if (b || n < 2 || scheme[n - 1] != 's') return b;
    return load_backend(l, arena_dup(l->arena, span_of(scheme, n - 1)));
}

static const char *decode(struct arena *a, struct span s)
{
    char *text = arena_zero(a, s.n + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int byte = percent_byte(span_of(s.p + i, s.n - i));
        if (byte > 0) i += 2; /* what is broken, or stands for NUL, stays as it is written */
        text[n++] = byte > 0 ? (char)byte : s.p[i];
    }
    return text;
}

static void set_bus(const struct url *u, const char *option, const char *text)
{
    struct load *l = u->load;
    struct tree_path path = {.part = {"buses", u->bus->name, option}, .count = 3};
    struct node *n = node_new(l->arena, NODE_TEXT, (struct place){u->source, 0});
    n->text = text;
    tree_set(l->arena, l->root, &path, n);
}

/* True: the parameter belongs to the bus or its rule and is not part of the address. */
static bool take_parameter(const struct url *u, struct span piece)
{
    struct load *l = u->load;
    const char *equals = memchr(piece.p, '=', piece.n);
    if (!equals) return false;
    size_t n = (size_t)(equals - piece.p);
    const char *name = decode(l->arena, span_of(piece.p, n));
    const char *value = decode(l->arena, span_of(equals + 1, piece.n - n - 1));
    if (strcmp(name, "url") == 0) return false;
    if (options_find(u->backend->options, name)) {
        set_bus(u, name, value);
        return true;
    }
    if (!options_find(u->backend->rule_options, name)) return false;
    struct node *member = node_new(l->arena, NODE_TEXT, (struct place){u->source, 0});
    member->name = name;
    member->name_at = member->at;
    member->text = value;
    tree_append(u->bus->rule, member);
    return true;
}

/* The URL without the parameters that were taken. */
static const char *take_parameters(const struct url *u)
{
    const char *query = strchr(u->text, '?');
    if (!query) return u->text;
    struct arena *a = u->load->arena;
    const char *rest = arena_dup(a, span_of(u->text, (size_t)(query - u->text)));
    char separator = '?';
    for (const char *p = query + 1; *p;) {
        size_t n = strcspn(p, "&");
        if (n && !take_parameter(u, span_of(p, n))) {
            rest = arena_printf(a, "%s%c%.*s", rest, separator, (int)n, p);
            separator = '&';
        }
        p += n + (p[n] == '&');
    }
    return rest;
}

static void read_backend(struct url *u)
{
    struct load *l = u->load;
    set_bus(u, "type", u->backend->name);
    const char *rest = take_parameters(u);
    const char *address = strchr(rest, ':') + 1;
    if (options_find(u->backend->options, "url"))
        set_bus(u, "url", rest);
    else if (*address && strcmp(address, "//") != 0)
        problem_add(&l->problems, (struct place){u->source, 0}, NULL,
                    "a bus of type \"%s\" has no address, and no such parameters; write \"%s:\"",
                    u->backend->name, u->backend->name);
}

static const char *bus_name(struct load *l, const char *type)
{
    const char *name = type;
    for (unsigned i = 2;; i++) {
        const struct url_bus *b = l->url_buses;
        while (b && strcmp(b->name, name) != 0)
            b = b->next;
        if (!b) return name;
        name = arena_printf(l->arena, "%s%u", type, i);
    }
}

static void read_url(struct load *l, const char *text)
{
    struct url u = {.load = l, .text = text};
    u.source = load_source(l, secret_blot(l->arena, text));
    char *scheme = arena_dup(l->arena, span_of(text, strcspn(text, ":")));
    for (char *c = scheme; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    u.backend = find_backend(l, scheme);
    if (!u.backend) {
        struct suggest s = suggest_start(scheme);
        for (const struct wsbus_backend *const *b = l->backends; *b; b++)
            suggest_try(&s, (*b)->name);
        problem_add(&l->problems, (struct place){u.source, 0}, NULL,
                    "\"%s\" is not built into this wsbus, which has %s%s%s%s", scheme,
                    load_backend_names(l), s.best ? "; did you mean \"" : "", s.best ? s.best : "",
                    s.best ? ":\"?" : "");
        return;
    }
    u.bus = arena_zero(l->arena, 1, sizeof *u.bus);
    u.bus->name = bus_name(l, u.backend->name);
    u.bus->rule = node_new(l->arena, NODE_OBJECT, (struct place){u.source, 0});
    u.bus->next = l->url_buses;
    l->url_buses = u.bus;
    read_backend(&u);
}

void url_apply(struct load *l)
{
    size_t before = l->problems.count;
    for (const struct cli_word *w = l->cli.urls; w; w = w->next)
        read_url(l, w->text);
    /* Without a bus the rest could only complain about that. */
    if (l->cli.urls && !l->url_buses && l->problems.count > before) l->root = NULL;
}
