#include "bus/registry.h"

#include <stddef.h>

const struct wsbus_backend *const bus_registry[] = {
    &backend_memory,
    &backend_redis,
    &backend_kafka,
    NULL,
};
