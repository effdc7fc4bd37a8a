/* The buses: each has the options of its backend. */
#include "config/load.h"

#include "config/value.h"

static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static const struct wsbus_backend *read_type(struct load *l, const struct node *n, const char *path)
{
    struct wsbus_value type;
    if (!tree_member(n, "type")) {
        problem_add(&l->problems, n->at, path, "\"type\" is missing; this wsbus has %s",
                    load_backend_names(l));
        return NULL;
    }
    load_rows(l, option_bus, n, path, &type);
    if (!type.string) return NULL;
    const struct wsbus_backend *backend = load_backend(l, type.string);
    if (backend) return backend;
    struct suggest s = suggest_start(type.string);
    for (const struct wsbus_backend *const *b = l->backends; *b; b++)
        suggest_try(&s, (*b)->name);
    problem_add(&l->problems, tree_member(n, "type")->at, arena_printf(l->arena, "%s.type", path),
                "\"%s\" is not built into this wsbus, which has %s%s%s%s", type.string,
                load_backend_names(l), s.best ? "; did you mean \"" : "", s.best ? s.best : "",
                s.best ? "\"?" : "");
    return NULL;
}

static void read_options(struct load *l, const struct node *n, struct config_bus *bus,
                         const char *path)
{
    const struct wsbus_option *rows = bus->backend->options;
    struct wsbus_value *values = arena_zero(l->arena, options_count(rows), sizeof *values);
    size_t before = l->problems.count;
    for (const struct node *m = n->child; m; m = m->next) {
        if (options_find(option_bus, m->name) || options_find(rows, m->name)) continue;
        struct suggest s = suggest_start(m->name);
        options_suggest(option_bus, &s);
        options_suggest(rows, &s);
        load_unknown(l, m, path, &s);
    }
    load_rows(l, rows, n, path, values);
    bus->values = values;

    char err[512] = "";
    if (before == l->problems.count && bus->backend->check &&
        bus->backend->check(values, err, sizeof err) < 0)
        problem_add(&l->problems, n->at, path, "%s", err);
}

static void read_bus(struct load *l, const struct node *n)
{
    struct config_bus *bus = &l->config->buses[l->config->bus_count++];
    const char *path = arena_printf(l->arena, "buses.%s", n->name);
    *bus = (struct config_bus){.name = n->name};
    if (!name_valid(n->name))
        problem_add(&l->problems, n->name_at, path,
                    "the name of a bus is 1 to 64 letters, digits, \"_\" and \"-\"");
    if (n->kind != NODE_OBJECT) {
        problem_add(&l->problems, n->at, path, "must be an object with \"type\", not %s",
                    node_kind_name(n));
        return;
    }
    bus->backend = read_type(l, n, path);
    if (bus->backend) read_options(l, n, bus, path);
}

void buses_read(struct load *l)
{
    const struct node *n = tree_member(l->root, "buses");
    if (n && n->kind != NODE_OBJECT) {
        problem_add(&l->problems, n->at, "buses", "must be an object of buses by name, not %s",
                    node_kind_name(n));
        return;
    }
    size_t most = 0;
    for (const struct node *b = n ? n->child : NULL; b; b = b->next)
        most++;
    l->config->buses = arena_zero(l->arena, most, sizeof *l->config->buses);
    for (const struct node *b = n ? n->child : NULL; b; b = b->next)
        if (b->kind != NODE_NULL) read_bus(l, b);
    if (!l->config->bus_count)
        problem_add(&l->problems, n ? n->at : l->root->at, "buses",
                    "there is no bus; write for instance \"buses\": { \"demo\": { \"type\": "
                    "\"%s\" } }",
                    l->backends[0] ? l->backends[0]->name : "memory");
}
