/* The table of options: one row makes the parser, the variable, --help, the schema, the manual and
 * the "did you mean". Buses and channel rules add the rows of their backend. Constant. */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "config/config.h"

enum option_land {
    LAND_ELSEWHERE, /* read by a function of its own */
    LAND_BOOL,
    LAND_UNSIGNED,
    LAND_U64,
    LAND_STRING,
    LAND_ENUM, /* an int: the index of the choice */
    LAND_LIST, /* struct config_patterns; not given: list is NULL */
};

/* Looks at one string of the value. 0, or -1 with one sentence in `err`. */
typedef int (*option_check)(const char *text, char *err, size_t err_size);

struct option_row {
    const char *section; /* "" or "limits" or "access.anonymous"; NULL ends the table */
    struct wsbus_option option;
    enum option_land land;
    size_t offset;      /* in struct config */
    option_check check; /* may be NULL */
};

extern const struct option_row option_rows[];

/* Ends with section NULL. Every section but "" is an object that may be left out. */
struct option_section {
    const char *section;
    const char *help;
};

extern const struct option_section option_sections[];

/* Rows that every listener, certificate, bus and rule has; they end with a row without a name. */
extern const struct wsbus_option option_listen[], option_tls[], option_bus[], option_rule[];

enum { LISTEN_ADDRESS, LISTEN_PROXY_PROTOCOL, LISTEN_CLIENT_CA, LISTEN_CLIENT_CERT, LISTEN_COUNT };
enum { TLS_CERT, TLS_KEY, TLS_NAMES, TLS_COUNT };

/* What the member `tls` of a listener is, which is no row: an object of option_tls, or a list. */
extern const char option_tls_help[];

enum {
    RULE_MATCH,
    RULE_PREFIX,
    RULE_BUS,
    RULE_TOPIC,
    RULE_KEY,
    RULE_PUBLISH,
    RULE_HISTORY,
    RULE_HIDE_INTERNAL,
    RULE_COUNT
};

/* Names that later versions will know. Anything but null, false, 0 or an empty list is refused, so
 * that nobody relies on what is not there. Ends with section NULL; the section of listeners is
 * "listen", of rules "channels". */
struct option_refusal {
    const char *section, *name;
};

extern const struct option_refusal option_refusals[];

bool option_refused(const char *section, const char *name);

/* Where a row's value stands. */
static inline void *option_at(const struct option_row *row, const struct config *c)
{
    return (char *)(size_t)c + row->offset;
}

/* The value in struct config as a value of the row (set: there is one), for printing. */
struct wsbus_value option_value(const struct option_row *row, const struct config *c);
void option_land(const struct option_row *row, struct config *c, const struct wsbus_value *v);

/* "limits.errors" */
void option_path(struct buf *out, const struct option_row *row);
/* "whole number from 0 to 65535", for manuals and messages. */
void option_type(struct buf *out, const struct wsbus_option *o);

#endif
