/* Headers of requests for pages. */
#include "fuzz.h"

#include "edge/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    (void)negotiate_gzip(text);
    (void)negotiate_same(text, "\"tag\"");
    return 0;
}
