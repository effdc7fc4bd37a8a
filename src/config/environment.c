/* WSBUS_PATH__TO__OPTION */
#include "config/load.h"

#include <ctype.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Kubernetes puts variables into every container for a service that is called "wsbus". They are
 * not the user's: WSBUS_SERVICE_HOST, WSBUS_PORT=tcp://…, WSBUS_PORT_8080_TCP_ADDR and so on. */
static bool is_kubernetes(const char *name, const char *value)
{
    if (strcmp(name, "SERVICE_HOST") == 0 || strncmp(name, "SERVICE_PORT", 12) == 0) return true;
    if (strcmp(name, "PORT") == 0) return strstr(value, "://") != NULL;
    if (strncmp(name, "PORT_", 5) != 0 || !isdigit((unsigned char)name[5])) return false;
    static const char *const ends[] = {"_TCP", "_UDP", "_SCTP", "_ADDR", "_PORT", "_PROTO"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return false;
}

/* False: no path. */
static bool split(char *name, struct tree_path *path)
{
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    while (path->count < TREE_PATH_MAX) {
        if (!*name || *name == '_') return false;
        path->part[path->count++] = name;
        char *next = strstr(name, "__");
        if (!next) return true;
        *next = '\0';
        name = next + 2;
    }
    return false;
}

static void read_variable(struct load *l, const char *variable)
{
    const char *equals = strchr(variable, '=');
    if (!equals) return;
    size_t n = (size_t)(equals - variable);
    char *path_text = arena_dup(l->arena, span_of(variable + 6, n - 6));
    if (is_kubernetes(path_text, equals + 1)) return;

    struct source *s = load_source(l, arena_dup(l->arena, span_of(variable, n)));
    struct tree_path path = {.fold = true};
    s->variable = true;
    if (!split(path_text, &path)) {
        problem_add(&l->problems, (struct place){s, 0}, NULL,
                    "is no option; they are written like WSBUS_LIMITS__QUEUE_BYTES");
        return;
    }
    tree_set(l->arena, l->root, &path, tree_value(equals + 1, s, &l->problems));
}

void environment_read(struct load *l, char *const environ_[])
{
    for (; environ_ && *environ_; environ_++)
        if (strncmp(*environ_, "WSBUS_", 6) == 0) read_variable(l, *environ_);
}
