/* From JSON text to a tree: the values are cJSON's, places and the digits of numbers come from the
 * text, which is walked beside it (cJSON keeps the order of members). */
#include "config/tree.h"

#include <stdlib.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/json_scan.h"
#include "base/mem.h"
#include "config/jsonc.h"

#define CJSON_NUMBER_MAX 63 /* characters; before cJSON 1.7.19 */

struct parse {
    const char *start;
    const struct source *source;
    struct problems *problems;
};

static struct place place_of(const struct parse *p, const char *at)
{
    return (struct place){p->source, (size_t)(at - p->start)};
}

/* ---- what cJSON cannot carry ---------------------------------------------------------------- */

/* Why a string, here with its quotes, has no value for us, or NULL. */
static const char *string_fault(struct span quoted)
{
    if (!memchr(quoted.p, '\\', quoted.n)) return NULL;
    struct buf b;
    buf_init(&b, quoted.n);
    const char *fault = NULL;
    if (json_unescape(quoted, &b) < 0)
        fault = "a string with half of a surrogate pair";
    else if (b.n && memchr(b.p, '\0', b.n))
        fault = "a string with a NUL character";
    buf_free(&b);
    return fault;
}

static char *string_end(char *p)
{
    for (p++; *p != '"'; p++)
        if (*p == '\\') p++;
    return p + 1;
}

/* Puts an empty string or 0 in the place of each string and number that cJSON would refuse or cut
 * short, so that one of them does not hide the mistakes in the rest. Every other byte stays. */
static void mend(char *text)
{
    char *p = text;
    while (*p) {
        char *token = p++;
        if (*token == '"') {
            p = string_end(token);
            if (!string_fault(span_of(token, (size_t)(p - token)))) continue;
            token[1] = '"';
            memset(token + 2, ' ', (size_t)(p - token) - 2);
        } else if (strchr("-0123456789", *token)) {
            p = token + strspn(token, "+-.0123456789eE");
            if (p - token <= CJSON_NUMBER_MAX) continue;
            token[0] = '0';
            memset(token + 1, ' ', (size_t)(p - token) - 1);
        }
    }
}

/* NULL, and told, if cJSON does not take what json_check() took. */
static cJSON *parse_text(const struct parse *p, struct span json)
{
    char *text = mem_dup(json.p, json.n);
    const char *end = text;
    mend(text);
    cJSON *value = cJSON_ParseWithLengthOpts(text, json.n, &end, false);
    if (!value)
        problem_add(p->problems, place_of(p, json.p + (end - text)), NULL,
                    "the JSON library gives up here");
    free(text);
    return value;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static enum node_kind kind_of(const cJSON *value)
{
    if (cJSON_IsObject(value)) return NODE_OBJECT;
    if (cJSON_IsArray(value)) return NODE_LIST;
    if (cJSON_IsString(value)) return NODE_STRING;
    if (cJSON_IsNumber(value)) return NODE_NUMBER;
    return cJSON_IsBool(value) ? NODE_BOOL : NODE_NULL;
}

static const char *take_string(const struct parse *p, const char *text, struct span quoted,
                               const char *path)
{
    const char *fault = string_fault(quoted);
    if (fault) problem_add(p->problems, place_of(p, quoted.p), path, "%s", fault);
    return arena_dup(p->problems->arena, span_str(text));
}

static void tell_twice(const struct parse *p, const struct node *first, const struct node *again,
                       const char *path)
{
    if (p->source->text.p)
        problem_add(p->problems, again->name_at, path, "given twice; the first is at line %zu",
                    jsonc_place(p->source->text, first->name_at.offset).line);
    else
        problem_add(p->problems, again->name_at, path, "given twice");
}

static struct node *take_value(const struct parse *p, const cJSON *value, struct span written,
                               const char *path);

static void take_object(const struct parse *p, const cJSON *object, struct span written,
                        struct node *n, const char *path)
{
    struct arena *a = p->problems->arena;
    struct json_iter it = json_open(written);
    struct span key, v;
    struct node **end = &n->child;
    const cJSON *value = object->child;
    for (; value && json_member(&it, &key, &v); value = value->next) {
        struct span quoted = span_of(key.p - 1, key.n + 2);
        const char *name = take_string(p, value->string, quoted, path);
        const char *below = *path ? arena_printf(a, "%s.%s", path, name) : name;
        struct node *member = take_value(p, value, v, below);
        member->name = name;
        member->name_at = place_of(p, quoted.p);
        const struct node *other = n->child;
        while (other && strcmp(other->name, name) != 0)
            other = other->next;
        if (other) tell_twice(p, other, member, below);
        *end = member;
        end = &member->next;
    }
}

static void take_list(const struct parse *p, const cJSON *list, struct span written, struct node *n,
                      const char *path)
{
    struct json_iter it = json_open(written);
    struct span v;
    struct node **end = &n->child;
    const cJSON *value = list->child;
    for (size_t i = 0; value && json_element(&it, &v); value = value->next, i++) {
        *end = take_value(p, value, v, arena_printf(p->problems->arena, "%s.%zu", path, i));
        end = &(*end)->next;
    }
}

static struct node *take_value(const struct parse *p, const cJSON *value, struct span written,
                               const char *path)
{
    struct node *n = node_new(p->problems->arena, kind_of(value), place_of(p, written.p));
    switch (n->kind) {
    case NODE_OBJECT: take_object(p, value, written, n, path); break;
    case NODE_LIST: take_list(p, value, written, n, path); break;
    case NODE_STRING: n->text = take_string(p, value->valuestring, written, path); break;
    case NODE_NUMBER: n->text = arena_dup(p->problems->arena, written); break;
    case NODE_BOOL: n->boolean = cJSON_IsTrue(value); break;
    case NODE_NULL:
    case NODE_TEXT: break;
    }
    return n;
}

struct node *tree_parse(struct span json, const struct source *source, struct problems *ps)
{
    struct parse p = {.start = json.p, .source = source, .problems = ps};
    cJSON *value = parse_text(&p, json);
    if (!value) return NULL;
    struct node *n = take_value(&p, value, json_trim(json), "");
    cJSON_Delete(value);
    return n;
}

struct node *tree_value(const char *text, const struct source *source, struct problems *ps)
{
    struct place at = {source, 0};
    if (strcmp(text, "null") == 0) return node_new(ps->arena, NODE_NULL, at);
    if (*text && strchr("{[\"", *text)) {
        char *copy = arena_dup(ps->arena, span_str(text));
        struct span json = {copy, strlen(copy)};
        size_t where;
        if (jsonc_strip(copy, json.n, &where) == 0 && json_valid(json)) {
            struct node *n = tree_parse(json, source, ps);
            return n ? n : node_new(ps->arena, NODE_NULL, at);
        }
    }
    struct node *n = node_new(ps->arena, NODE_TEXT, at);
    n->text = arena_dup(ps->arena, span_str(text));
    return n;
}
