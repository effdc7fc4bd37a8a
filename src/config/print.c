/* `wsbus config`: the effective configuration as a file that means the same. */
#include "config/config.h"

#include "config/arena.h"
#include "config/options.h"
#include "config/secret.h"
#include "config/writer.h"

struct print {
    struct writer w;
    struct arena *arena; /* for blotted texts, until the end */
};

static void print_list(struct print *p, const char *name, const struct wsbus_value *v)
{
    writer_open(&p->w, name, '[');
    for (size_t i = 0; i < v->count; i++)
        writer_string(&p->w, NULL, secret_blot(p->arena, v->list[i]));
    writer_close(&p->w, ']');
}

static void print_map(struct print *p, const struct wsbus_option *o, const struct wsbus_value *v)
{
    writer_open(&p->w, o->name, '{');
    for (size_t i = 0; i + 1 < v->count; i += 2) {
        bool secret = (o->flags & WSBUS_SECRET) || secret_name(v->list[i]);
        writer_string(&p->w, v->list[i],
                      secret ? SECRET_BLOT : secret_blot(p->arena, v->list[i + 1]));
    }
    writer_close(&p->w, '}');
}

/* What has no value, and is none by default, is left out. */
static void print_value(struct print *p, const struct wsbus_option *o, const struct wsbus_value *v)
{
    bool secret = o->flags & WSBUS_SECRET;
    switch (o->type) {
    case WSBUS_BOOL:
        if (v->set || o->fallback) writer_bool(&p->w, o->name, v->boolean);
        break;
    case WSBUS_INT:
        if (v->set || o->fallback) writer_int(&p->w, o->name, v->number);
        break;
    case WSBUS_STRING:
    case WSBUS_ENUM:
        if (v->string)
            writer_string(&p->w, o->name, secret ? SECRET_BLOT : secret_blot(p->arena, v->string));
        break;
    case WSBUS_LIST:
        if (v->list && secret)
            writer_string(&p->w, o->name, SECRET_BLOT);
        else if (v->list)
            print_list(p, o->name, v);
        break;
    case WSBUS_MAP:
        if (v->list) print_map(p, o, v);
        break;
    }
}

static void print_rows(struct print *p, const struct wsbus_option *rows,
                       const struct wsbus_value *values)
{
    for (size_t i = 0; rows && values && rows[i].name; i++)
        print_value(p, &rows[i], &values[i]);
}

static void print_section(struct print *p, const struct config *c, const char *section)
{
    for (const struct option_row *row = option_rows; row->section; row++) {
        struct wsbus_value v = option_value(row, c);
        if (strcmp(row->section, section) == 0 && v.set) print_value(p, &row->option, &v);
    }
}

static void print_access(struct print *p, const struct config *c)
{
    if (!c->access.given) return;
    writer_open(&p->w, "access", '{');
    print_section(p, c, "access");
    if (c->access.anonymous_given) {
        writer_open(&p->w, "anonymous", '{');
        print_section(p, c, "access.anonymous");
        writer_close(&p->w, '}');
    }
    writer_close(&p->w, '}');
}

static void print_buses(struct print *p, const struct config *c)
{
    writer_open(&p->w, "buses", '{');
    for (size_t i = 0; i < c->bus_count; i++) {
        const struct config_bus *b = &c->buses[i];
        writer_open(&p->w, b->name, '{');
        writer_string(&p->w, "type", b->backend->name);
        print_rows(p, b->backend->options, b->values);
        writer_close(&p->w, '}');
    }
    writer_close(&p->w, '}');
}

static void print_rules(struct print *p, const struct config *c)
{
    writer_open(&p->w, "channels", '[');
    for (size_t i = 0; i < c->rule_count; i++) {
        const struct config_rule *r = &c->rules[i];
        const struct config_bus *b = &c->buses[r->bus];
        struct wsbus_value common[RULE_COUNT] = {
            [RULE_MATCH] = {.string = r->match},
            [RULE_PREFIX] = {.string = r->prefix},
            [RULE_BUS] = {.string = b->name},
            [RULE_TOPIC] = {.string = r->topic},
            [RULE_KEY] = {.string = r->key},
            [RULE_PUBLISH] = {.boolean = r->publish},
            [RULE_HISTORY] = {.boolean = r->history},
            [RULE_HIDE_INTERNAL] = {.boolean = r->hide_internal},
        };
        writer_open(&p->w, NULL, '{');
        print_rows(p, option_rule, common);
        print_rows(p, b->backend->rule_options, r->values);
        writer_close(&p->w, '}');
    }
    writer_close(&p->w, ']');
}

void config_print(const struct config *c, struct buf *out)
{
    struct print p = {.w = {.out = out}, .arena = arena_new()};
    writer_open(&p.w, NULL, '{');
    writer_open(&p.w, "listen", '[');
    for (size_t i = 0; i < c->listen_count; i++)
        writer_string(&p.w, NULL, c->listen[i].text);
    writer_close(&p.w, ']');
    print_section(&p, c, "");
    print_buses(&p, c);
    print_rules(&p, c);
    print_access(&p, c);
    for (const struct option_section *s = option_sections; s->section; s++) {
        if (!*s->section || strncmp(s->section, "access", 6) == 0) continue;
        writer_open(&p.w, s->section, '{');
        print_section(&p, c, s->section);
        writer_close(&p.w, '}');
    }
    writer_close(&p.w, '}');
    arena_free(p.arena);
}
