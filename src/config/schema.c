/* `wsbus schema`: JSON Schema 2020-12, for editors. */
#include "config/config.h"

#include <stdlib.h>

#include "config/options.h"
#include "config/writer.h"

static void write_default(struct writer *w, const struct wsbus_option *o)
{
    if (!o->fallback) return;
    if (o->type == WSBUS_BOOL) writer_bool(w, "default", strcmp(o->fallback, "true") == 0);
    if (o->type == WSBUS_INT) writer_int(w, "default", strtoll(o->fallback, NULL, 10));
    if (o->type == WSBUS_STRING || o->type == WSBUS_ENUM || o->type == WSBUS_LIST)
        writer_string(w, "default", o->fallback);
}

static void write_types(struct writer *w, const char *const *types)
{
    writer_open(w, "type", '[');
    for (; *types; types++)
        writer_string(w, NULL, *types);
    writer_string(w, NULL, "null");
    writer_close(w, ']');
}

static void write_items(struct writer *w)
{
    writer_open(w, "items", '{');
    writer_string(w, "type", "string");
    writer_close(w, '}');
}

static void write_constraints(struct writer *w, const struct wsbus_option *o)
{
    static const char *const types[][3] = {
        [WSBUS_BOOL] = {"boolean"}, [WSBUS_INT] = {"integer"},          [WSBUS_STRING] = {"string"},
        [WSBUS_ENUM] = {"string"},  [WSBUS_LIST] = {"array", "string"}, [WSBUS_MAP] = {"object"}};
    if (o->type != WSBUS_ENUM) write_types(w, types[o->type]);
    if (o->type == WSBUS_INT && o->min < o->max) {
        writer_int(w, "minimum", o->min);
        writer_int(w, "maximum", o->max);
    }
    if (o->type == WSBUS_ENUM) {
        writer_open(w, "enum", '[');
        for (const char *const *c = o->choices; *c; c++)
            writer_string(w, NULL, *c);
        writer_close(w, ']');
    }
    if (o->type == WSBUS_LIST) write_items(w);
    if (o->type == WSBUS_MAP) {
        writer_open(w, "additionalProperties", '{');
        write_types(w, (const char *const[]){"string", "number", "boolean", NULL});
        writer_close(w, '}');
    }
}

static void write_option(struct writer *w, const struct wsbus_option *o)
{
    writer_open(w, o->name, '{');
    writer_string(w, "description", o->help);
    write_constraints(w, o);
    write_default(w, o);
    writer_close(w, '}');
}

static void write_options(struct writer *w, const struct wsbus_option *rows)
{
    for (; rows && rows->name; rows++)
        write_option(w, rows);
}

static void write_required(struct writer *w, const struct wsbus_option *first,
                           const struct wsbus_option *second)
{
    writer_open(w, "required", '[');
    for (; first->name; first++)
        if (first->flags & WSBUS_REQUIRED) writer_string(w, NULL, first->name);
    for (; second && second->name; second++)
        if (second->flags & WSBUS_REQUIRED) writer_string(w, NULL, second->name);
    writer_close(w, ']');
}

static void write_refused(struct writer *w, const char *section)
{
    for (const struct option_refusal *r = option_refusals; r->section; r++) {
        if (strcmp(r->section, section) != 0) continue;
        writer_open(w, r->name, '{');
        writer_string(w, "description", "Not supported by this version");
        writer_string(w, "type", "null");
        writer_close(w, '}');
    }
}

/* The members of a section; `listen` has a form of its own. */
static void write_members(struct writer *w, const char *section)
{
    for (const struct option_row *row = option_rows; row->section; row++)
        if (strcmp(row->section, section) == 0 && row->land != LAND_ELSEWHERE)
            write_option(w, &row->option);
    write_refused(w, section);
}

static void open_object(struct writer *w, const char *name, const char *help)
{
    writer_open(w, name, '{');
    if (help) writer_string(w, "description", help);
    writer_string(w, "type", "object");
    writer_bool(w, "additionalProperties", false);
    writer_open(w, "properties", '{');
}

static void close_object(struct writer *w)
{
    writer_close(w, '}');
    writer_close(w, '}');
}

static void write_sections(struct writer *w)
{
    for (const struct option_section *s = option_sections; s->section; s++) {
        if (!*s->section || strchr(s->section, '.')) continue;
        open_object(w, s->section, s->help);
        write_members(w, s->section);
        size_t n = strlen(s->section);
        for (const struct option_section *below = option_sections; below->section; below++) {
            if (strncmp(below->section, s->section, n) != 0 || below->section[n] != '.') continue;
            open_object(w, below->section + n + 1, below->help);
            write_members(w, below->section);
            close_object(w);
        }
        close_object(w);
    }
}

static void write_listen_entry(struct writer *w, const char *name)
{
    writer_open(w, name, '{');
    writer_open(w, "anyOf", '[');
    writer_open(w, NULL, '{');
    writer_string(w, "type", "string");
    writer_close(w, '}');
    writer_open(w, NULL, '{');
    writer_string(w, "type", "object");
    write_required(w, option_listen, NULL);
    writer_bool(w, "additionalProperties", false);
    writer_open(w, "properties", '{');
    write_options(w, option_listen);
    write_refused(w, "listen");
    writer_close(w, '}');
    writer_close(w, '}');
    writer_close(w, ']');
    writer_close(w, '}');
}

static void write_listen(struct writer *w)
{
    const struct option_row *row = option_rows;
    while (strcmp(row->option.name, "listen") != 0)
        row++;
    writer_open(w, "listen", '{');
    writer_string(w, "description", row->option.help);
    writer_string(w, "default", row->option.fallback);
    writer_open(w, "anyOf", '[');
    writer_open(w, NULL, '{');
    writer_string(w, "$ref", "#/$defs/address");
    writer_close(w, '}');
    writer_open(w, NULL, '{');
    writer_string(w, "type", "array");
    writer_int(w, "minItems", 1);
    writer_open(w, "items", '{');
    writer_string(w, "$ref", "#/$defs/address");
    writer_close(w, '}');
    writer_close(w, '}');
    writer_close(w, ']');
    writer_close(w, '}');
}

static void write_bus(struct writer *w, const struct wsbus_backend *b)
{
    writer_open(w, NULL, '{');
    writer_string(w, "description", b->help);
    writer_string(w, "type", "object");
    write_required(w, option_bus, b->options);
    writer_bool(w, "additionalProperties", false);
    writer_open(w, "properties", '{');
    writer_open(w, "type", '{');
    writer_string(w, "const", b->name);
    writer_close(w, '}');
    write_options(w, b->options);
    writer_close(w, '}');
    writer_close(w, '}');
}

static void write_buses(struct writer *w, const struct wsbus_backend *const *backends)
{
    writer_open(w, "buses", '{');
    writer_string(w, "description", "The buses by name");
    writer_string(w, "type", "object");
    writer_open(w, "propertyNames", '{');
    writer_string(w, "pattern", "^[A-Za-z0-9_-]{1,64}$");
    writer_close(w, '}');
    writer_open(w, "additionalProperties", '{');
    writer_open(w, "anyOf", '[');
    for (; *backends; backends++)
        write_bus(w, *backends);
    writer_close(w, ']');
    writer_close(w, '}');
    writer_close(w, '}');
}

/* Which type of bus a rule names is beyond a schema: it has to fit one of the types. */
static void write_rules(struct writer *w, const struct wsbus_backend *const *backends)
{
    writer_open(w, "channels", '{');
    writer_string(w, "description",
                  "Rules from names of channels to topics; the first that "
                  "matches counts");
    writer_string(w, "type", "array");
    writer_open(w, "items", '{');
    writer_open(w, "anyOf", '[');
    for (; *backends; backends++) {
        writer_open(w, NULL, '{');
        writer_string(w, "type", "object");
        write_required(w, option_rule, (*backends)->rule_options);
        writer_bool(w, "additionalProperties", false);
        writer_open(w, "properties", '{');
        write_options(w, option_rule);
        write_refused(w, "channels");
        write_options(w, (*backends)->rule_options);
        writer_close(w, '}');
        writer_close(w, '}');
    }
    writer_close(w, ']');
    writer_close(w, '}');
    writer_close(w, '}');
}

void config_schema(const struct wsbus_backend *const *backends, struct buf *out)
{
    struct writer w = {.out = out};
    writer_open(&w, NULL, '{');
    writer_string(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    writer_string(&w, "title", "wsbus");
    writer_string(&w, "type", "object");
    writer_bool(&w, "additionalProperties", false);
    writer_open(&w, "required", '[');
    writer_string(&w, NULL, "buses");
    writer_close(&w, ']');
    writer_open(&w, "$defs", '{');
    write_listen_entry(&w, "address");
    writer_close(&w, '}');
    writer_open(&w, "properties", '{');
    writer_open(&w, "$schema", '{');
    writer_string(&w, "type", "string");
    writer_close(&w, '}');
    write_listen(&w);
    write_members(&w, "");
    write_buses(&w, backends);
    write_rules(&w, backends);
    write_sections(&w);
    writer_close(&w, '}');
    writer_close(&w, '}');
}
