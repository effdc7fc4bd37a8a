/* The backends that are built in. */
#ifndef BUS_REGISTRY_H
#define BUS_REGISTRY_H

#include <wsbus/backend.h>

extern const struct wsbus_backend *const bus_registry[]; /* ends with NULL */

extern const struct wsbus_backend backend_memory;
extern const struct wsbus_backend backend_redis;
extern const struct wsbus_backend backend_kafka;

#endif
