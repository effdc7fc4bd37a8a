/* `wsbus --help` and the reference page, from the tables. */
#include "config/config.h"

#include <stdio.h>

#include "config/options.h"

/* ---- --help --------------------------------------------------------------------------------- */

static const char usage[] =
    "wsbus - a bridge between WebSockets and message buses\n"
    "\n"
    "  wsbus                     a bus in memory, quotes and demo pages, on 127.0.0.1:8080\n"
    "  wsbus URL...              these buses: redis://localhost, kafka://localhost:9092, memory:\n"
    "  wsbus -c FILE             as the file says: JSON with comments and trailing commas\n"
    "  wsbus check -c FILE       says ok, or every mistake in the file\n"
    "  wsbus config -c FILE      prints the effective configuration\n"
    "  wsbus schema              prints the JSON Schema of the file\n"
    "\n"
    "  -c, --config FILE         the configuration file\n"
    "  --set PATH=VALUE          an option, over file and environment: --set limits.errors=50,\n"
    "                            --set buses.demo.history=5; lists with commas or as JSON\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n"
    "\n"
    "Each option is also a variable: limits.queue_bytes is WSBUS_LIMITS__QUEUE_BYTES.\n"
    "Exit codes: 0 stopped in order, 1 could not run, 2 wrong use or configuration.\n";

static void help_line(struct buf *out, const char *prefix, const struct wsbus_option *o)
{
    size_t before = out->n;
    buf_printf(out, "  %s%s", prefix, o->name);
    size_t width = out->n - before;
    buf_printf(out, "%*s%s", width < 30 ? (int)(30 - width) : 1, "", o->help);
    if (o->fallback)
        buf_printf(out, " (%s)", o->fallback);
    else if (o->flags & WSBUS_REQUIRED)
        buf_str(out, " (required)");
    buf_byte(out, '\n');
}

static void help_rows(struct buf *out, const char *prefix, const struct wsbus_option *rows)
{
    for (; rows && rows->name; rows++)
        help_line(out, prefix, rows);
}

void config_help(const struct wsbus_backend *const *backends, struct buf *out)
{
    buf_str(out, usage);
    buf_str(out, "\nOptions (and their defaults):\n");
    for (const struct option_row *row = option_rows; row->section; row++) {
        char prefix[64] = "";
        if (*row->section) snprintf(prefix, sizeof prefix, "%s.", row->section);
        help_line(out, prefix, &row->option);
    }
    buf_str(out, "\nAn entry of listen that is an object:\n");
    help_rows(out, "listen.", option_listen);
    help_line(out, "listen.", &(struct wsbus_option){.name = "tls", .help = option_tls_help});
    help_rows(out, "listen.tls.N.", option_tls);
    buf_str(out, "\nEvery bus:\n");
    help_rows(out, "buses.NAME.", option_bus);
    for (const struct wsbus_backend *const *b = backends; *b; b++) {
        buf_printf(out, "\nA bus of type \"%s\": %s\n", (*b)->name, (*b)->help);
        help_rows(out, "buses.NAME.", (*b)->options);
        help_rows(out, "channels.N.", (*b)->rule_options);
    }
    buf_str(out, "\nEvery channel rule; the first that matches counts:\n");
    help_rows(out, "channels.N.", option_rule);
}

/* ---- reference ------------------------------------------------------------------------------ */

static void cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|' || *text == '<' || *text == '*') buf_byte(out, '\\');
        buf_byte(out, *text);
    }
}

static void table_head(struct buf *out)
{
    buf_str(out, "\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n");
}

static void table_row(struct buf *out, const struct wsbus_option *o)
{
    buf_printf(out, "| `%s` | ", o->name);
    option_type(out, o);
    if (o->fallback)
        buf_printf(out, " | `%s` | ", o->fallback);
    else
        buf_str(out, o->flags & WSBUS_REQUIRED ? " | required | " : " | | ");
    cell(out, o->help);
    if (o->flags & WSBUS_SECRET) buf_str(out, " (never shown)");
    if (o->flags & WSBUS_RELOAD) buf_str(out, " (may change at SIGHUP)");
    buf_str(out, " |\n");
}

static void table(struct buf *out, const struct wsbus_option *rows)
{
    table_head(out);
    for (; rows->name; rows++)
        table_row(out, rows);
}

static void reference_sections(struct buf *out)
{
    for (const struct option_section *s = option_sections; s->section; s++) {
        buf_printf(out, "\n## %s\n\n%s.\n", *s->section ? s->section : "Top level", s->help);
        bool any = false;
        for (const struct option_row *row = option_rows; row->section; row++) {
            if (strcmp(row->section, s->section) != 0) continue;
            if (!any) table_head(out);
            any = true;
            table_row(out, &row->option);
        }
    }
}

void config_reference(const struct wsbus_backend *const *backends, struct buf *out)
{
    buf_str(
        out,
        "# Configuration reference\n\n"
        "Made by `wsbus reference` from the option table; do not edit.\n\n"
        "Every option can be given in the file, as a variable (`limits.queue_bytes` is\n"
        "`WSBUS_LIMITS__QUEUE_BYTES`) and on the command line (`--set limits.queue_bytes=65536`),\n"
        "in rising order. Lists are written with commas or as JSON there. Durations are in\n"
        "milliseconds, sizes in bytes.\n");
    reference_sections(out);
    buf_str(
        out,
        "\n## listen\n\nAn address, an object, or a list of these. The members of an object:\n");
    table(out, option_listen);
    buf_printf(out, "\n### tls\n\nA member of such an object ([TLS](tls.md)). %s. Its members:\n",
               option_tls_help);
    table(out, option_tls);
    buf_str(out,
            "\n## buses\n\nAn object of buses by name: 1 to 64 letters, digits, `_` and `-`.\n");
    table(out, option_bus);
    for (const struct wsbus_backend *const *b = backends; *b; b++) {
        buf_printf(out, "\n### Type `%s`\n\n%s\n", (*b)->name, (*b)->help);
        if ((*b)->options && (*b)->options->name) table(out, (*b)->options);
    }
    buf_str(out,
            "\n## channels\n\n"
            "A list of rules; the first that matches counts. Without it, the channel `NAME` is\n"
            "the topic `NAME` of the only bus, or with several buses `BUS/NAME` the topic\n"
            "`NAME` of the bus `BUS`; topics that begin with `__` cannot be reached then.\n");
    table(out, option_rule);
    for (const struct wsbus_backend *const *b = backends; *b; b++) {
        if (!(*b)->rule_options || !(*b)->rule_options->name) continue;
        buf_printf(out, "\n### Rules for a bus of type `%s`\n", (*b)->name);
        table(out, (*b)->rule_options);
    }
}
