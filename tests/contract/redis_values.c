#include "redis_values.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct wsbus_value *redis_values(const struct wsbus_option *options)
{
    size_t n = 0;
    while (options[n].name)
        n++;
    struct wsbus_value *values = mem_zero(n * sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const char *text = options[i].fallback;
        values[i].string = text;
        if (text && options[i].type == WSBUS_INT) values[i].number = strtoll(text, NULL, 10);
        if (text && options[i].type == WSBUS_BOOL) values[i].boolean = strcmp(text, "true") == 0;
    }
    return values;
}

struct wsbus_value *redis_value(const struct wsbus_option *options, struct wsbus_value *values,
                                const char *name)
{
    for (size_t i = 0; options[i].name; i++)
        if (strcmp(options[i].name, name) == 0) return &values[i];
    abort();
}
