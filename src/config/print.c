/* `wsbus config`: the effective configuration as a file that means the same. */
#include "config/config.h"

#include "config/arena.h"
#include "config/document.h"
#include "config/options.h"
#include "config/secret.h"

/* ---- one value ------------------------------------------------------------------------------ */

static void print_text(cJSON *in, const char *name, const char *text, bool secret)
{
    struct arena *a = arena_new();
    document_string(in, name, secret ? SECRET_BLOT : secret_blot(a, text));
    arena_free(a);
}

static void print_list(cJSON *in, const char *name, const struct wsbus_value *v)
{
    cJSON *list = document_list(in, name);
    for (size_t i = 0; i < v->count; i++)
        print_text(list, NULL, v->list[i], false);
}

static void print_map(cJSON *in, const struct wsbus_option *o, const struct wsbus_value *v)
{
    cJSON *map = document_object(in, o->name);
    for (size_t i = 0; i + 1 < v->count; i += 2)
        print_text(map, v->list[i], v->list[i + 1],
                   (o->flags & WSBUS_SECRET) || secret_name(v->list[i]));
}

/* What has no value, and is none by default, is left out. */
static void print_value(cJSON *in, const struct wsbus_option *o, const struct wsbus_value *v)
{
    bool secret = o->flags & WSBUS_SECRET;
    switch (o->type) {
    case WSBUS_BOOL:
        if (v->set || o->fallback) document_bool(in, o->name, v->boolean);
        break;
    case WSBUS_INT:
        if (v->set || o->fallback) document_int(in, o->name, v->number);
        break;
    case WSBUS_STRING:
    case WSBUS_ENUM:
        if (v->string) print_text(in, o->name, v->string, secret);
        break;
    case WSBUS_LIST:
        if (v->list && secret)
            document_string(in, o->name, SECRET_BLOT);
        else if (v->list)
            print_list(in, o->name, v);
        break;
    case WSBUS_MAP:
        if (v->list) print_map(in, o, v);
        break;
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void print_rows(cJSON *in, const struct wsbus_option *rows, const struct wsbus_value *values)
{
    for (size_t i = 0; rows && values && rows[i].name; i++)
        print_value(in, &rows[i], &values[i]);
}

static void print_section(cJSON *in, const struct config *c, const char *section)
{
    for (const struct option_row *row = option_rows; row->section; row++) {
        struct wsbus_value v = option_value(row, c);
        if (strcmp(row->section, section) == 0 && v.set) print_value(in, &row->option, &v);
    }
}

static void print_tls(cJSON *in, const struct config_listen *l)
{
    cJSON *list = document_list(in, "tls");
    for (size_t i = 0; i < l->tls_count; i++) {
        const struct config_tls *t = &l->tls[i];
        const struct wsbus_value values[TLS_COUNT] = {
            [TLS_CERT] = {.string = t->cert},
            [TLS_KEY] = {.string = t->key},
            [TLS_NAMES] = {.list = t->names.list, .count = t->names.count},
        };
        print_rows(document_object(list, NULL), option_tls, values);
    }
}

static void print_address(cJSON *list, const struct config_listen *l)
{
    if (!l->tls && !l->proxy_protocol) {
        document_string(list, NULL, l->text);
        return;
    }
    const struct wsbus_value values[LISTEN_COUNT] = {
        [LISTEN_ADDRESS] = {.string = l->text},
        [LISTEN_PROXY_PROTOCOL] = {.boolean = l->proxy_protocol},
        [LISTEN_CLIENT_CA] = {.string = l->client_ca},
        [LISTEN_CLIENT_CERT] = {.string = !l->client_ca             ? NULL
                                          : l->client_cert_optional ? "optional"
                                                                    : "required"},
    };
    cJSON *entry = document_object(list, NULL);
    print_rows(entry, option_listen, values);
    if (l->tls) print_tls(entry, l);
}

static void print_listen(cJSON *root, const struct config *c)
{
    cJSON *list = document_list(root, "listen");
    for (size_t i = 0; i < c->listen_count; i++)
        print_address(list, &c->listen[i]);
}

static void print_access(cJSON *root, const struct config *c)
{
    if (!c->access.given) return;
    cJSON *access = document_object(root, "access");
    print_section(access, c, "access");
    if (c->access.anonymous_given)
        print_section(document_object(access, "anonymous"), c, "access.anonymous");
}

static void print_buses(cJSON *root, const struct config *c)
{
    cJSON *buses = document_object(root, "buses");
    for (size_t i = 0; i < c->bus_count; i++) {
        const struct config_bus *b = &c->buses[i];
        cJSON *bus = document_object(buses, b->name);
        document_string(bus, "type", b->backend->name);
        print_rows(bus, b->backend->options, b->values);
    }
}

static void print_rules(cJSON *root, const struct config *c)
{
    cJSON *rules = document_list(root, "channels");
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
        cJSON *rule = document_object(rules, NULL);
        print_rows(rule, option_rule, common);
        print_rows(rule, b->backend->rule_options, r->values);
    }
}

void config_print(const struct config *c, struct buf *out)
{
    cJSON *root = document_new();
    print_listen(root, c);
    print_section(root, c, "");
    print_buses(root, c);
    print_rules(root, c);
    print_access(root, c);
    for (const struct option_section *s = option_sections; s->section; s++) {
        if (!*s->section || strncmp(s->section, "access", 6) == 0) continue;
        print_section(document_object(root, s->section), c, s->section);
    }
    document_print(root, out);
}
