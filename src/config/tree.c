#include "config/tree.h"

#include <stdlib.h>
#include <strings.h>

struct node *node_new(struct arena *a, enum node_kind kind, struct place at)
{
    struct node *n = arena_zero(a, 1, sizeof *n);
    n->kind = kind;
    n->at = at;
    return n;
}

const char *node_kind_name(const struct node *n)
{
    static const char *const names[] = {
        [NODE_NULL] = "null",       [NODE_BOOL] = "true or false", [NODE_NUMBER] = "a number",
        [NODE_STRING] = "a string", [NODE_TEXT] = "text",          [NODE_LIST] = "a list",
        [NODE_OBJECT] = "an object"};
    return names[n->kind];
}

void tree_append(struct node *parent, struct node *n)
{
    struct node **end = &parent->child;
    while (*end)
        end = &(*end)->next;
    *end = n;
}

struct node *tree_member(const struct node *object, const char *name)
{
    if (!object || object->kind != NODE_OBJECT) return NULL;
    for (struct node *n = object->child; n; n = n->next)
        if (strcmp(n->name, name) == 0) return n->kind == NODE_NULL ? NULL : n;
    return NULL;
}

/* ---- tree_set ------------------------------------------------------------------------------- */

static struct node **find_element(struct node *list, const char *part)
{
    char *end;
    unsigned long index = strtoul(part, &end, 10);
    if (*part < '0' || *part > '9' || *end) return NULL;
    struct node **link = &list->child;
    for (; index && *link; index--)
        link = &(*link)->next;
    return index ? NULL : link;
}

static struct node **find_member(struct node *object, const char *part, bool fold)
{
    struct node **folded = NULL, **link = &object->child;
    for (; *link; link = &(*link)->next) {
        if (strcmp((*link)->name, part) == 0) return link;
        if (fold && !folded && strcasecmp((*link)->name, part) == 0) folded = link;
    }
    return folded ? folded : link;
}

/* The link that holds the child of this name, or will hold it. What is no container and stands in
 * the way becomes an object: the reader of the option then says what belongs there. */
static struct node **find_child(struct node *parent, const char *part, bool fold)
{
    if (parent->kind == NODE_LIST) {
        struct node **link = find_element(parent, part);
        if (link) return link;
    }
    if (parent->kind != NODE_OBJECT) {
        parent->kind = NODE_OBJECT;
        parent->child = NULL;
    }
    return find_member(parent, part, fold);
}

static const char *join(struct arena *a, const char *const *part, size_t count)
{
    const char *s = part[0];
    for (size_t i = 1; i < count; i++)
        s = arena_printf(a, "%s.%s", s, part[i]);
    return s;
}

static void put(struct node **link, struct node *n, const char *part)
{
    n->name_at = n->at;
    n->name = *link && (*link)->name ? (*link)->name : part;
    n->next = *link ? (*link)->next : NULL;
    *link = n;
}

void tree_set(struct arena *a, struct node *root, const struct tree_path *path, struct node *value)
{
    struct node *here = root;
    bool has_maps = path->count > 4 &&
                    (strcmp(path->part[0], "buses") == 0 || strcmp(path->part[0], "channels") == 0);
    size_t last = has_maps ? 3 : path->count - 1;
    for (size_t i = 0; i < last; i++) {
        struct node **link = find_child(here, path->part[i], path->fold);
        if (!*link || (*link)->kind == NODE_NULL)
            put(link, node_new(a, NODE_OBJECT, value->at), path->part[i]);
        here = *link;
    }
    const char *part = join(a, path->part + last, path->count - last);
    put(find_child(here, part, path->fold), value, part);
}
