/* From what the user wrote to the typed value of an option. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdbool.h>

#include <wsbus/backend.h>

#include "config/options.h"
#include "config/problems.h"
#include "config/tree.h"

struct value_target {
    const struct wsbus_option *option;
    option_check check; /* for each string, may be NULL */
    const char *path;   /* for problems */
};

/* False, with problems told and *ret as it was, if the node is no such value. Pointers of *ret live
 * in the arena of the problems. The node is not NODE_NULL. */
bool value_read(const struct value_target *t, const struct node *n, struct problems *ps,
                struct wsbus_value *ret);
void value_default(const struct wsbus_option *o, struct problems *ps, struct wsbus_value *ret);

#endif
