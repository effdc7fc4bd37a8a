/* The options that have a row in the table and land in struct config. */
#include "config/load.h"

#include "config/value.h"

/* The last part of "access.anonymous", if `parent` is what stands before it; otherwise NULL. */
static const char *child_of(const char *section, const char *parent)
{
    const char *dot = strrchr(section, '.');
    const char *last = dot ? dot + 1 : section;
    size_t n = dot ? (size_t)(dot - section) : 0;
    if (!*section || n != strlen(parent) || strncmp(section, parent, n) != 0) return NULL;
    return last;
}

static const struct option_row *find_row(const char *section, const char *name)
{
    for (const struct option_row *row = option_rows; row->section; row++)
        if (strcmp(row->section, section) == 0 && strcmp(row->option.name, name) == 0) return row;
    return NULL;
}

static bool is_structure(const char *section, const char *name)
{
    for (const struct option_section *s = option_sections; s->section; s++) {
        const char *child = child_of(s->section, section);
        if (child && strcmp(child, name) == 0) return true;
    }
    return !*section && (strcmp(name, "buses") == 0 || strcmp(name, "channels") == 0 ||
                         strcmp(name, "$schema") == 0);
}

static void unknown(struct load *l, const char *section, const struct node *member)
{
    struct suggest s = suggest_start(member->name);
    for (const struct option_row *row = option_rows; row->section; row++)
        if (strcmp(row->section, section) == 0) suggest_try(&s, row->option.name);
    for (const struct option_section *o = option_sections; o->section; o++) {
        const char *child = child_of(o->section, section);
        if (child) suggest_try(&s, child);
    }
    if (!*section) {
        suggest_try(&s, "buses");
        suggest_try(&s, "channels");
    }
    load_unknown(l, member, section, &s);
}

static void read_members(struct load *l, const char *section, const struct node *object)
{
    for (const struct node *m = object->child; m; m = m->next) {
        if (load_refused(l, section, m, section) || is_structure(section, m->name)) continue;
        const struct option_row *row = find_row(section, m->name);
        if (!row) {
            unknown(l, section, m);
        } else if (row->land != LAND_ELSEWHERE && m->kind != NODE_NULL) {
            const char *path =
                *section ? arena_printf(l->arena, "%s.%s", section, m->name) : m->name;
            struct value_target t = {.option = &row->option, .check = row->check, .path = path};
            struct wsbus_value v;
            if (value_read(&t, m, &l->problems, &v)) option_land(row, l->config, &v);
        }
    }
}

/* Members of the sections on the way that are no objects are told by the section itself. */
static const struct node *find_section(const struct load *l, const char *section)
{
    const struct node *n = l->root;
    const char *p = section;
    while (n && *p) {
        size_t len = strcspn(p, ".");
        char *part = arena_dup(l->arena, span_of(p, len));
        n = tree_member(n, part);
        p += len + (p[len] == '.');
    }
    return n;
}

#define MEMORY_LEAST 33554432 /* threads, libraries, tables: a third of it */

static void check_limits(struct load *l)
{
    struct config *c = l->config;
    const struct node *limits = tree_member(l->root, "limits");
    if (c->limits.frame_bytes == 0) {
        c->limits.frame_bytes = 2 * c->limits.message_bytes + 1024;
    } else if (c->limits.frame_bytes < c->limits.message_bytes) {
        const struct node *n = tree_member(limits, "frame_bytes");
        problem_add(&l->problems, n ? n->at : l->root->at, "limits.frame_bytes",
                    "%llu is less than limits.message_bytes (%llu): no client could send a message "
                    "of that size",
                    (unsigned long long)c->limits.frame_bytes,
                    (unsigned long long)c->limits.message_bytes);
    }
    if (c->limits.memory_bytes > 0 && c->limits.memory_bytes < MEMORY_LEAST) {
        const struct node *n = tree_member(limits, "memory_bytes");
        problem_add(&l->problems, n ? n->at : l->root->at, "limits.memory_bytes",
                    "%llu is less than the process needs by itself: 0 (no ceiling), or at least %d",
                    (unsigned long long)c->limits.memory_bytes, MEMORY_LEAST);
    }
}

void sections_read(struct load *l)
{
    for (const struct option_row *row = option_rows; row->section; row++) {
        struct wsbus_value v;
        value_default(&row->option, &l->problems, &v);
        option_land(row, l->config, &v);
    }
    for (const struct option_section *s = option_sections; s->section; s++) {
        const struct node *n = find_section(l, s->section);
        if (!n) continue;
        if (n->kind == NODE_OBJECT)
            read_members(l, s->section, n);
        else
            problem_add(&l->problems, n->at, s->section, "must be an object, not %s",
                        node_kind_name(n));
    }
    const struct node *access = tree_member(l->root, "access");
    l->config->access.given = access != NULL;
    l->config->access.anonymous_given = tree_member(access, "anonymous") != NULL;
    check_limits(l);
}
