#include "config/value.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "config/suggest.h"

static bool has_text(const struct node *n)
{
    return n->kind == NODE_STRING || n->kind == NODE_TEXT;
}

static bool wrong_kind(const struct value_target *t, const struct node *n, struct problems *ps)
{
    struct buf type;
    buf_init(&type, 1024);
    option_type(&type, t->option);
    const char *article = t->option->type == WSBUS_MAP ? "an" : "a";
    if (n->kind == NODE_TEXT && (t->option->flags & WSBUS_SECRET) == 0)
        problem_add(ps, n->at, t->path, "must be %s %.*s, not \"%s\"", article, (int)type.n, type.p,
                    n->text);
    else
        problem_add(ps, n->at, t->path, "must be %s %.*s, not %s", article, (int)type.n, type.p,
                    node_kind_name(n));
    buf_free(&type);
    return false;
}

static bool read_bool(const struct value_target *t, const struct node *n, struct problems *ps,
                      struct wsbus_value *v)
{
    bool is_text = n->kind == NODE_TEXT;
    bool yes = n->kind == NODE_BOOL ? n->boolean : is_text && strcmp(n->text, "true") == 0;
    bool no = n->kind == NODE_BOOL ? !n->boolean : is_text && strcmp(n->text, "false") == 0;
    v->boolean = yes;
    if (!yes && !no)
        problem_add(ps, n->at, t->path, "must be true or false, not %s%s%s", is_text ? "\"" : "",
                    is_text ? n->text : node_kind_name(n), is_text ? "\"" : "");
    return yes || no;
}

static bool read_int(const struct value_target *t, const struct node *n, struct problems *ps,
                     struct wsbus_value *v)
{
    const struct wsbus_option *o = t->option;
    int64_t number;
    if (n->kind != NODE_NUMBER && n->kind != NODE_TEXT) return wrong_kind(t, n, ps);
    struct span digits = span_str(n->text);
    bool is_number =
        n->kind == NODE_NUMBER || (json_valid(digits) && json_kind(digits) == JSON_NUMBER);
    if (!is_number) return wrong_kind(t, n, ps);
    if (json_integer(json_trim(digits), &number) < 0) {
        problem_add(ps, n->at, t->path, "%s is no whole number of 64 bits", n->text);
        return false;
    }
    if (o->min < o->max && (number < o->min || number > o->max)) {
        problem_add(ps, n->at, t->path, "%s is not in the range from %lld to %lld", n->text,
                    (long long)o->min, (long long)o->max);
        return false;
    }
    v->number = number;
    return true;
}

static bool check_string(const struct value_target *t, const struct node *n, const char *text,
                         struct problems *ps)
{
    char err[512] = "";
    if (!t->check || t->check(text, err, sizeof err) == 0) return true;
    problem_add(ps, n->at, t->path, "%s", err);
    return false;
}

static bool read_string(const struct value_target *t, const struct node *n, struct problems *ps,
                        struct wsbus_value *v)
{
    if (!has_text(n)) return wrong_kind(t, n, ps);
    if (!check_string(t, n, n->text, ps)) return false;
    v->string = n->text;
    return true;
}

static bool read_enum(const struct value_target *t, const struct node *n, struct problems *ps,
                      struct wsbus_value *v)
{
    if (!has_text(n)) return wrong_kind(t, n, ps);
    struct suggest s = suggest_start(n->text);
    int64_t i = 0;
    for (const char *const *c = t->option->choices; *c; c++, i++) {
        if (strcmp(*c, n->text) == 0) {
            v->string = *c;
            v->number = i;
            return true;
        }
        suggest_try(&s, *c);
    }
    struct buf type;
    buf_init(&type, 1024);
    option_type(&type, t->option);
    problem_add(ps, n->at, t->path, "must be %.*s, not \"%s\"%s%s%s", (int)type.n, type.p, n->text,
                s.best ? "; did you mean \"" : "", s.best ? s.best : "", s.best ? "\"?" : "");
    buf_free(&type);
    return false;
}

static struct span trim(struct span s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s = span_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* "a, b" of the command line; the empty text is the empty list. */
static bool read_commas(const struct value_target *t, const struct node *n, struct problems *ps,
                        struct wsbus_value *v)
{
    size_t most = 1;
    for (const char *c = n->text; *c; c++)
        most += *c == ',';
    const char **list = arena_zero(ps->arena, most, sizeof *list);
    size_t count = 0;
    bool good = true;
    const char *p = n->text;
    while (*n->text) {
        size_t len = strcspn(p, ",");
        list[count] = arena_dup(ps->arena, trim(span_of(p, len)));
        if (!check_string(t, n, list[count], ps)) good = false;
        count++;
        if (!p[len]) break;
        p += len + 1;
    }
    v->list = list;
    v->count = count;
    return good;
}

static bool read_list(const struct value_target *t, const struct node *n, struct problems *ps,
                      struct wsbus_value *v)
{
    if (n->kind == NODE_TEXT) return read_commas(t, n, ps, v);
    if (n->kind != NODE_LIST && n->kind != NODE_STRING) return wrong_kind(t, n, ps);

    size_t most = 1, count = 0;
    for (const struct node *e = n->child; e; e = e->next)
        most++;
    const char **list = arena_zero(ps->arena, most, sizeof *list);
    bool good = true;
    if (n->kind == NODE_STRING) {
        list[count++] = n->text;
        good = check_string(t, n, n->text, ps);
    }
    for (const struct node *e = n->child; e; e = e->next) {
        if (!has_text(e)) {
            problem_add(ps, e->at, t->path, "must be a list of strings; here is %s",
                        node_kind_name(e));
            good = false;
            continue;
        }
        list[count++] = e->text;
        if (!check_string(t, e, e->text, ps)) good = false;
    }
    v->list = list;
    v->count = count;
    return good;
}

static bool read_map(const struct value_target *t, const struct node *n, struct problems *ps,
                     struct wsbus_value *v)
{
    if (n->kind != NODE_OBJECT) return wrong_kind(t, n, ps);
    size_t most = 0, count = 0;
    for (const struct node *m = n->child; m; m = m->next)
        most++;
    const char **list = arena_zero(ps->arena, 2 * most, sizeof *list);
    bool good = true;
    for (const struct node *m = n->child; m; m = m->next) {
        if (m->kind == NODE_NULL) continue;
        if (m->kind == NODE_LIST || m->kind == NODE_OBJECT) {
            problem_add(ps, m->at, t->path, "\"%s\" must be a string, number or boolean, not %s",
                        m->name, node_kind_name(m));
            good = false;
            continue;
        }
        list[2 * count] = m->name;
        list[2 * count + 1] = m->kind == NODE_BOOL ? (m->boolean ? "true" : "false") : m->text;
        count++;
    }
    v->list = list;
    v->count = 2 * count;
    return good;
}

bool value_read(const struct value_target *t, const struct node *n, struct problems *ps,
                struct wsbus_value *ret)
{
    struct wsbus_value v = {.set = true};
    bool good = false;
    switch (t->option->type) {
    case WSBUS_BOOL: good = read_bool(t, n, ps, &v); break;
    case WSBUS_INT: good = read_int(t, n, ps, &v); break;
    case WSBUS_STRING: good = read_string(t, n, ps, &v); break;
    case WSBUS_ENUM: good = read_enum(t, n, ps, &v); break;
    case WSBUS_LIST: good = read_list(t, n, ps, &v); break;
    case WSBUS_MAP: good = read_map(t, n, ps, &v); break;
    }
    if (good) *ret = v;
    return good;
}

void value_default(const struct wsbus_option *o, struct problems *ps, struct wsbus_value *ret)
{
    *ret = (struct wsbus_value){.set = false};
    if (!o->fallback) return;
    struct node n = {.kind = NODE_TEXT, .text = o->fallback};
    struct value_target t = {.option = o, .path = o->name};
    value_read(&t, &n, ps, ret);
    ret->set = false;
}
