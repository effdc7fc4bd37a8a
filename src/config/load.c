#include "config/load.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "config/value.h"

struct source *load_source(struct load *l, const char *name)
{
    struct source *s = arena_zero(l->arena, 1, sizeof *s);
    s->name = name;
    s->rank = ++l->sources;
    return s;
}

/* WSBUS_LIMITS__QUEUE_BYTES */
static const char *variable_name(struct load *l, const char *section, const char *name)
{
    struct buf b;
    buf_init(&b, BUF_UNLIMITED);
    buf_str(&b, "WSBUS_");
    const char *path = *section ? arena_printf(l->arena, "%s.%s", section, name) : name;
    for (const char *c = path; *c; c++) {
        if (*c == '.')
            buf_str(&b, "__");
        else
            buf_byte(&b, (char)toupper((unsigned char)*c));
    }
    const char *text = arena_dup(l->arena, buf_view(&b));
    buf_free(&b);
    return text;
}

void load_unknown(struct load *l, const struct node *member, const char *section,
                  const struct suggest *s)
{
    const char *path =
        *section ? arena_printf(l->arena, "%s.%s", section, member->name) : member->name;
    const struct source *source = member->name_at.source;
    const char *meant = s->best, *meant_section = section;
    for (const struct option_row *row = option_rows; !meant && row->section; row++) {
        if (strcmp(row->option.name, member->name) != 0) continue;
        meant = row->option.name;
        meant_section = row->section;
    }
    if (meant && source && source->variable)
        meant = variable_name(l, meant_section, meant);
    else if (meant && meant_section != section && *meant_section)
        meant = arena_printf(l->arena, "%s.%s", meant_section, meant);
    if (meant)
        problem_add(&l->problems, member->name_at, path, "unknown option; did you mean \"%s\"?",
                    meant);
    else
        problem_add(&l->problems, member->name_at, path, "unknown option");
}

/* The value by which an option is left as it is. */
static bool asks_nothing(const struct node *n)
{
    switch (n->kind) {
    case NODE_NULL: return true;
    case NODE_BOOL: return !n->boolean;
    case NODE_NUMBER: return strcmp(n->text, "0") == 0;
    case NODE_TEXT: return strcmp(n->text, "0") == 0 || strcmp(n->text, "false") == 0;
    case NODE_LIST: return !n->child;
    default: return false;
    }
}

bool load_refused(struct load *l, const char *refusals, const struct node *member, const char *path)
{
    if (!option_refused(refusals, member->name)) return false;
    if (!asks_nothing(member))
        problem_add(&l->problems, member->name_at,
                    *path ? arena_printf(l->arena, "%s.%s", path, member->name) : member->name,
                    "%s is not supported by this version", member->name);
    return true;
}

size_t options_count(const struct wsbus_option *rows)
{
    size_t n = 0;
    while (rows && rows[n].name)
        n++;
    return n;
}

const struct wsbus_option *options_find(const struct wsbus_option *rows, const char *name)
{
    for (; rows && rows->name; rows++)
        if (strcmp(rows->name, name) == 0) return rows;
    return NULL;
}

void options_suggest(const struct wsbus_option *rows, struct suggest *s)
{
    for (; rows && rows->name; rows++)
        suggest_try(s, rows->name);
}

void load_rows(struct load *l, const struct wsbus_option *rows, const struct node *object,
               const char *path, struct wsbus_value *values)
{
    size_t n = options_count(rows);
    for (size_t i = 0; i < n; i++) {
        const struct node *member = tree_member(object, rows[i].name);
        value_default(&rows[i], &l->problems, &values[i]);
        if (member) {
            struct value_target t = {.option = &rows[i],
                                     .path = arena_printf(l->arena, "%s.%s", path, rows[i].name)};
            value_read(&t, member, &l->problems, &values[i]);
        } else if (rows[i].flags & WSBUS_REQUIRED) {
            problem_add(&l->problems, object->at, path, "\"%s\" is missing", rows[i].name);
        }
    }
}

const struct wsbus_backend *load_backend(const struct load *l, const char *name)
{
    for (const struct wsbus_backend *const *b = l->backends; *b; b++)
        if (strcmp((*b)->name, name) == 0) return *b;
    return NULL;
}

const char *load_backend_names(const struct load *l)
{
    const char *names = NULL;
    for (const struct wsbus_backend *const *b = l->backends; *b; b++)
        names = names ? arena_printf(l->arena, "%s, \"%s\"", names, (*b)->name)
                      : arena_printf(l->arena, "\"%s\"", (*b)->name);
    return names ? names : "nothing";
}

static void load_tree(struct load *l, char *const environ_[])
{
    struct node *root = NULL;
    if (l->cli.file && l->cli.urls)
        problem_add(&l->problems, (struct place){NULL, 0}, NULL,
                    "a configuration file and URLs exclude each other; write the buses into %s",
                    l->cli.file);
    if (l->cli.file)
        root = file_read(l, l->cli.file);
    else if (!l->cli.urls)
        root = file_default(l);
    else
        root = node_new(l->arena, NODE_OBJECT, (struct place){load_source(l, "command line"), 0});
    if (!root) return;
    l->root = root;
    environment_read(l, environ_);
    cli_apply_sets(l);
    url_apply(l);
}

/* 0, or -1 with all mistakes in l->problems. */
static int load_all(struct load *l, int argc, char *const argv[], char *const environ_[])
{
    cli_read(l, argc, argv);
    bool reads = l->cli.action == CONFIG_RUN || l->cli.action == CONFIG_CHECK ||
                 l->cli.action == CONFIG_PRINT;
    if (reads && !l->problems.count) load_tree(l, environ_);
    if (l->root) {
        sections_read(l);
        listen_read(l);
        admin_read(l);
        buses_read(l);
        channels_read(l);
    }
    return l->problems.count ? -1 : 0;
}

int config_load(const struct config_input *in, struct config *ret, enum config_action *ret_action,
                struct buf *errors)
{
    struct config c;
    memset(&c, 0, sizeof c);
    struct load l = {.arena = arena_new(), .backends = in->backends, .config = &c};
    l.problems.arena = l.arena;
    c.memory = l.arena;

    int result = load_all(&l, in->argc, in->argv, in->environment);
    *ret_action = l.cli.action;
    if (result < 0) {
        problems_write(&l.problems, errors);
        config_free(&c);
        return -1;
    }
    *ret = c;
    return 0;
}

void config_free(struct config *c)
{
    arena_free(c->memory);
    memset(c, 0, sizeof *c);
}
