/* `wsbus schema`: JSON Schema 2020-12, for editors. */
#include "config/config.h"

#include <stdlib.h>

#include "config/document.h"
#include "config/options.h"

/* ---- one option ----------------------------------------------------------------------------- */

static void add_default(cJSON *in, const struct wsbus_option *o)
{
    if (!o->fallback) return;
    if (o->type == WSBUS_BOOL) document_bool(in, "default", strcmp(o->fallback, "true") == 0);
    if (o->type == WSBUS_INT) document_int(in, "default", strtoll(o->fallback, NULL, 10));
    if (o->type == WSBUS_STRING || o->type == WSBUS_ENUM || o->type == WSBUS_LIST)
        document_string(in, "default", o->fallback);
}

static void add_types(cJSON *in, const char *const *types)
{
    cJSON *list = document_list(in, "type");
    for (; *types; types++)
        document_string(list, NULL, *types);
    document_string(list, NULL, "null");
}

static void add_constraints(cJSON *in, const struct wsbus_option *o)
{
    static const char *const types[][3] = {
        [WSBUS_BOOL] = {"boolean"}, [WSBUS_INT] = {"integer"},          [WSBUS_STRING] = {"string"},
        [WSBUS_ENUM] = {"string"},  [WSBUS_LIST] = {"array", "string"}, [WSBUS_MAP] = {"object"}};
    if (o->type != WSBUS_ENUM) add_types(in, types[o->type]);
    if (o->type == WSBUS_INT && o->min < o->max) {
        document_int(in, "minimum", o->min);
        document_int(in, "maximum", o->max);
    }
    if (o->type == WSBUS_ENUM) {
        cJSON *choices = document_list(in, "enum");
        for (const char *const *c = o->choices; *c; c++)
            document_string(choices, NULL, *c);
    }
    if (o->type == WSBUS_LIST) document_string(document_object(in, "items"), "type", "string");
    if (o->type == WSBUS_MAP)
        add_types(document_object(in, "additionalProperties"),
                  (const char *const[]){"string", "number", "boolean", NULL});
}

static void add_option(cJSON *in, const struct wsbus_option *o)
{
    cJSON *option = document_object(in, o->name);
    document_string(option, "description", o->help);
    add_constraints(option, o);
    add_default(option, o);
}

/* ---- members of an object ------------------------------------------------------------------- */

static void add_options(cJSON *in, const struct wsbus_option *rows)
{
    for (; rows && rows->name; rows++)
        add_option(in, rows);
}

static void add_refused(cJSON *in, const char *section)
{
    for (const struct option_refusal *r = option_refusals; r->section; r++) {
        if (strcmp(r->section, section) != 0) continue;
        cJSON *refused = document_object(in, r->name);
        document_string(refused, "description", "Not supported by this version");
        document_string(refused, "type", "null");
    }
}

/* The members of a section; `listen` has a form of its own. */
static void add_members(cJSON *in, const char *section)
{
    for (const struct option_row *row = option_rows; row->section; row++)
        if (strcmp(row->section, section) == 0 && row->land != LAND_ELSEWHERE)
            add_option(in, &row->option);
    add_refused(in, section);
}

static void add_required(cJSON *in, const struct wsbus_option *first,
                         const struct wsbus_option *second)
{
    cJSON *list = document_list(in, "required");
    for (; first->name; first++)
        if (first->flags & WSBUS_REQUIRED) document_string(list, NULL, first->name);
    for (; second && second->name; second++)
        if (second->flags & WSBUS_REQUIRED) document_string(list, NULL, second->name);
}

/* Makes the schema one of an object with no other members than its properties, which come back. */
static cJSON *make_closed(cJSON *schema)
{
    document_string(schema, "type", "object");
    document_bool(schema, "additionalProperties", false);
    return document_object(schema, "properties");
}

/* ---- the parts of the file ------------------------------------------------------------------ */

/* The properties of a section. */
static cJSON *add_section(cJSON *in, const char *name, const struct option_section *s)
{
    cJSON *section = document_object(in, name);
    if (s->help) document_string(section, "description", s->help);
    cJSON *properties = make_closed(section);
    add_members(properties, s->section);
    return properties;
}

static void add_sections(cJSON *in)
{
    for (const struct option_section *s = option_sections; s->section; s++) {
        if (!*s->section || strchr(s->section, '.')) continue;
        cJSON *properties = add_section(in, s->section, s);
        size_t n = strlen(s->section);
        for (const struct option_section *below = option_sections; below->section; below++)
            if (strncmp(below->section, s->section, n) == 0 && below->section[n] == '.')
                add_section(properties, below->section + n + 1, below);
    }
}

static void add_certificate(cJSON *in)
{
    add_required(in, option_tls, NULL);
    add_options(make_closed(in), option_tls);
}

static void add_certificates(cJSON *in)
{
    cJSON *tls = document_object(in, "tls");
    document_string(tls, "description", option_tls_help);
    cJSON *forms = document_list(tls, "anyOf");
    document_string(document_object(forms, NULL), "type", "null");
    add_certificate(document_object(forms, NULL));
    cJSON *several = document_object(forms, NULL);
    document_string(several, "type", "array");
    add_certificate(document_object(several, "items"));
}

static void add_address(cJSON *in)
{
    cJSON *forms = document_list(document_object(in, "address"), "anyOf");
    document_string(document_object(forms, NULL), "type", "string");
    cJSON *object = document_object(forms, NULL);
    add_required(object, option_listen, NULL);
    cJSON *properties = make_closed(object);
    add_options(properties, option_listen);
    add_certificates(properties);
    add_refused(properties, "listen");
}

static void add_listen(cJSON *in)
{
    const struct option_row *row = option_rows;
    while (strcmp(row->option.name, "listen") != 0)
        row++;
    cJSON *listen = document_object(in, "listen");
    document_string(listen, "description", row->option.help);
    document_string(listen, "default", row->option.fallback);
    cJSON *forms = document_list(listen, "anyOf");
    document_string(document_object(forms, NULL), "$ref", "#/$defs/address");
    cJSON *several = document_object(forms, NULL);
    document_string(several, "type", "array");
    document_int(several, "minItems", 1);
    document_string(document_object(several, "items"), "$ref", "#/$defs/address");
}

static void add_bus(cJSON *in, const struct wsbus_backend *b)
{
    cJSON *bus = document_object(in, NULL);
    document_string(bus, "description", b->help);
    add_required(bus, option_bus, b->options);
    cJSON *properties = make_closed(bus);
    document_string(document_object(properties, "type"), "const", b->name);
    add_options(properties, b->options);
}

static void add_buses(cJSON *in, const struct wsbus_backend *const *backends)
{
    cJSON *buses = document_object(in, "buses");
    document_string(buses, "description", "The buses by name");
    document_string(buses, "type", "object");
    document_string(document_object(buses, "propertyNames"), "pattern", "^[A-Za-z0-9_-]{1,64}$");
    cJSON *types = document_list(document_object(buses, "additionalProperties"), "anyOf");
    for (; *backends; backends++)
        add_bus(types, *backends);
}

/* Which type of bus a rule names is beyond a schema: it has to fit one of the types. */
static void add_rules(cJSON *in, const struct wsbus_backend *const *backends)
{
    cJSON *rules = document_object(in, "channels");
    document_string(rules, "description",
                    "Rules from names of channels to topics; the first that matches counts");
    document_string(rules, "type", "array");
    cJSON *types = document_list(document_object(rules, "items"), "anyOf");
    for (; *backends; backends++) {
        cJSON *rule = document_object(types, NULL);
        add_required(rule, option_rule, (*backends)->rule_options);
        cJSON *properties = make_closed(rule);
        add_options(properties, option_rule);
        add_refused(properties, "channels");
        add_options(properties, (*backends)->rule_options);
    }
}

void config_schema(const struct wsbus_backend *const *backends, struct buf *out)
{
    cJSON *root = document_new();
    document_string(root, "$schema", "https://json-schema.org/draft/2020-12/schema");
    document_string(root, "title", "wsbus");
    document_string(document_list(root, "required"), NULL, "buses");
    add_address(document_object(root, "$defs"));
    cJSON *properties = make_closed(root);
    document_string(document_object(properties, "$schema"), "type", "string");
    add_listen(properties);
    add_members(properties, "");
    add_buses(properties, backends);
    add_rules(properties, backends);
    add_sections(properties);
    document_print(root, out);
}
