#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t random_state = 88172645463325252U;

/* Marsaglia's xorshift64: the same messages in each run. */
static unsigned below(unsigned bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % bound);
}

static size_t prices(char *out, size_t size)
{
    static const char *const symbols[] = {"EURUSD", "USDJPY", "GBPUSD",
                                          "AUDUSD", "USDCHF", "NZDCAD"};
    size_t n = (size_t)sprintf(out, "\"quotes\":[");
    do {
        unsigned bid = 80000 + below(60000);
        n += (size_t)sprintf(
            out + n, "%s{\"symbol\":\"%s\",\"bid\":%u.%05u,\"ask\":%u.%05u,\"size\":%u}",
            out[n - 1] == '[' ? "" : ",", symbols[below(6)], bid / 100000, bid % 100000,
            bid / 100000, (bid + below(9)) % 100000, (1 + below(900)) * 1000);
    } while (n + 70 < size);
    out[n++] = ']';
    return n;
}

size_t text_message(char *out, size_t size, enum text_form form, const uint64_t fields[3])
{
    size_t n = (size_t)sprintf(
        out, TEXT_MARK "%07" PRIu64 "\",\"s\":\"%08" PRIu64 "\",\"t\":\"%016" PRIu64 "\",",
        fields[0], fields[1], fields[2]);
    if (size > TEXT_MAX) size = TEXT_MAX;
    if (form == TEXT_PRICES) {
        n += prices(out + n, size - n);
    } else {
        size_t fill = size > n + 7 ? size - n - 7 : 0;
        memcpy(out + n, "\"p\":\"", 5);
        memset(out + n + 5, 'x', fill);
        n += 5 + fill;
        out[n++] = '"';
    }
    out[n++] = '}';
    return n;
}
