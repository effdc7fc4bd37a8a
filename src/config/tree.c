#include "config/tree.h"

#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/json_scan.h"
#include "config/jsonc.h"

struct parse {
    const char *start;
    const struct source *source;
    struct problems *problems;
};

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

static struct place place_of(const struct parse *p, const char *at)
{
    return (struct place){p->source, (size_t)(at - p->start)};
}

/* `quoted` has its quotes. */
static const char *parse_string(const struct parse *p, struct span quoted, const char *path)
{
    struct buf b;
    buf_init(&b, quoted.n + 1);
    const char *wrong = NULL;
    if (json_unescape(quoted, &b) < 0)
        wrong = "a string with half of a surrogate pair";
    else if (b.n && memchr(b.p, '\0', b.n))
        wrong = "a string with a NUL character";
    if (wrong) problem_add(p->problems, place_of(p, quoted.p), path, "%s", wrong);
    const char *text = arena_dup(p->problems->arena, wrong ? SPAN("") : buf_view(&b));
    buf_free(&b);
    return text;
}

static struct node *parse_value(const struct parse *p, struct span value, const char *path);

static void parse_object(const struct parse *p, struct span value, struct node *n, const char *path)
{
    struct arena *a = p->problems->arena;
    struct json_iter it = json_open(value);
    struct span key, v;
    struct node **end = &n->child;
    while (json_member(&it, &key, &v)) {
        const char *name = parse_string(p, span_of(key.p - 1, key.n + 2), path);
        const char *below = *path ? arena_printf(a, "%s.%s", path, name) : name;
        struct node *member = parse_value(p, v, below);
        member->name = name;
        member->name_at = place_of(p, key.p - 1);
        for (const struct node *other = n->child; other; other = other->next) {
            if (strcmp(other->name, name) != 0) continue;
            struct jsonc_place first = jsonc_place(p->source->text, other->name_at.offset);
            if (p->source->text.p)
                problem_add(p->problems, member->name_at, below,
                            "given twice; the first is at line %zu", first.line);
            else
                problem_add(p->problems, member->name_at, below, "given twice");
            break;
        }
        *end = member;
        end = &member->next;
    }
}

static void parse_list(const struct parse *p, struct span value, struct node *n, const char *path)
{
    struct json_iter it = json_open(value);
    struct span v;
    struct node **end = &n->child;
    for (size_t i = 0; json_element(&it, &v); i++) {
        *end = parse_value(p, v, arena_printf(p->problems->arena, "%s.%zu", path, i));
        end = &(*end)->next;
    }
}

static struct node *parse_value(const struct parse *p, struct span value, const char *path)
{
    static const enum node_kind kinds[] = {
        [JSON_OBJECT] = NODE_OBJECT, [JSON_ARRAY] = NODE_LIST, [JSON_STRING] = NODE_STRING,
        [JSON_NUMBER] = NODE_NUMBER, [JSON_TRUE] = NODE_BOOL,  [JSON_FALSE] = NODE_BOOL,
        [JSON_NULL] = NODE_NULL};
    enum json_kind kind = json_kind(value);
    struct node *n = node_new(p->problems->arena, kinds[kind], place_of(p, value.p));
    n->boolean = kind == JSON_TRUE;
    if (kind == JSON_NUMBER) n->text = arena_dup(p->problems->arena, value);
    if (kind == JSON_STRING) n->text = parse_string(p, value, path);
    if (kind == JSON_OBJECT) parse_object(p, value, n, path);
    if (kind == JSON_ARRAY) parse_list(p, value, n, path);
    return n;
}

struct node *tree_parse(struct span json, const struct source *source, struct problems *ps)
{
    struct parse p = {.start = json.p, .source = source, .problems = ps};
    return parse_value(&p, json_trim(json), "");
}

struct node *tree_value(const char *text, const struct source *source, struct problems *ps)
{
    struct place at = {source, 0};
    if (strcmp(text, "null") == 0) return node_new(ps->arena, NODE_NULL, at);
    if (*text && strchr("{[\"", *text)) {
        char *copy = arena_dup(ps->arena, span_str(text));
        struct span json = {copy, strlen(copy)};
        size_t where;
        if (jsonc_strip(copy, json.n, &where) == 0 && json_valid(json))
            return tree_parse(json, source, ps);
    }
    struct node *n = node_new(ps->arena, NODE_TEXT, at);
    n->text = arena_dup(ps->arena, span_str(text));
    return n;
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
