/* The steps of config_load(), which share this state. Of the room only.
 *
 *   command line -> file or default -> environment -> --set -> URLs      one tree
 *   -> sections, listeners, buses, channels                              struct config
 *
 * Every step tells its mistakes to `problems` and goes on, so that one run finds them all. */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "config/config.h"
#include "config/options.h"
#include "config/problems.h"
#include "config/suggest.h"
#include "config/tree.h"

/* A word of the command line that is to be looked at later. */
struct cli_word {
    struct cli_word *next;
    const char *text;
};

struct cli {
    enum config_action action;
    const char *file;      /* NULL: none */
    struct cli_word *sets; /* in order */
    struct cli_word *urls;
};

/* A bus that came as a URL, with those of its parameters that belong to its rule. */
struct url_bus {
    struct url_bus *next;
    const char *name;
    struct node *rule;
};

struct load {
    struct arena *arena;
    struct problems problems;
    const struct wsbus_backend *const *backends;
    struct config *config;
    struct cli cli;
    struct node *root;
    struct url_bus *url_buses;
    unsigned sources;       /* so many have been made */
    const char *address_of; /* the option whose addresses are being read */
};

/* Sources. */
struct source *load_source(struct load *l, const char *name);
void cli_read(struct load *l, int argc, char *const argv[]);
struct node *file_read(struct load *l, const char *path); /* NULL: told why */
struct node *file_default(struct load *l);
void environment_read(struct load *l, char *const environ_[]);
void cli_apply_sets(struct load *l);
void url_apply(struct load *l);

/* Meaning. */
void sections_read(struct load *l);
void listen_read(struct load *l);
void admin_read(struct load *l);
/* The members of a listener that TLS needs, into *ret; `rows` are the values of option_listen. */
void listen_read_tls(struct load *l, const struct node *object, const struct wsbus_value *rows,
                     struct config_listen *ret);
void buses_read(struct load *l);
void channels_read(struct load *l);

/* Tells that the member is unknown, and what was probably meant (`s` has tried the names that are
 * possible there; `section` is in front of them). */
void load_unknown(struct load *l, const struct node *member, const char *section,
                  const struct suggest *s);
/* True, and told, if a later version's option stands there; null, false and [] are fine. */
bool load_refused(struct load *l, const char *refusals, const struct node *member,
                  const char *path);
/* The rows of an object of its own, into values[]: the members that a row has are read, defaults
 * fill the others, what is required and missing is told. Other members are not looked at. */
void load_rows(struct load *l, const struct wsbus_option *rows, const struct node *object,
               const char *path, struct wsbus_value *values);
size_t options_count(const struct wsbus_option *rows); /* NULL: 0 */
const struct wsbus_option *options_find(const struct wsbus_option *rows, const char *name);
void options_suggest(const struct wsbus_option *rows, struct suggest *s);
const struct wsbus_backend *load_backend(const struct load *l, const char *name);
/* "memory", "redis": the names of all backends, for messages. */
const char *load_backend_names(const struct load *l);

#endif
