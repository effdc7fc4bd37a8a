/* Options of a Redis bus for tests: the defaults, with some of them changed. */
#ifndef CONTRACT_REDIS_VALUES_H
#define CONTRACT_REDIS_VALUES_H

#include <wsbus/backend.h>

/* The defaults of a table as values, to be freed with free(). Strings are the table's. */
struct wsbus_value *redis_values(const struct wsbus_option *options);
/* The value of the option with this name, which there must be. */
struct wsbus_value *redis_value(const struct wsbus_option *options, struct wsbus_value *values,
                                const char *name);

#endif
