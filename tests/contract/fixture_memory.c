/* The suite on the memory bus, which needs no server. */
#include "bus/registry.h"
#include "suite.h"

enum { HISTORY, HISTORY_BYTES, TOPICS, MEMORY_BYTES, QUOTES, OPTIONS };

static const struct wsbus_value *values_keeping(unsigned keep)
{
    static struct wsbus_value values[OPTIONS];
    values[HISTORY].number = keep;
    values[HISTORY_BYTES].number = INT64_C(1) << 30;
    values[TOPICS].number = 10000;
    values[MEMORY_BYTES].number = INT64_C(1) << 30;
    values[QUOTES].number = 0;
    return values;
}

static const struct wsbus_value *values(void)
{
    return values_keeping(100000);
}

int main(void)
{
    const struct contract_fixture memory = {
        .name = "memory",
        .backend = &backend_memory,
        .caps = backend_memory.caps(NULL),
        .values = values,
        .values_short = values_keeping,
    };
    return contract_run(&memory);
}
