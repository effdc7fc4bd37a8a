/* Origin and Host headers, and patterns of origins: a line each. */
#include "fuzz.h"

#include "config/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size);
    struct span text = fuzz_part(&rest, '\n'), host_text = fuzz_part(&rest, '\n');
    struct origin origin, host, pattern;
    char err[256] = "";

    bool ok = origin_parse(text, &origin);
    if (ok) {
        HOLDS(!origin.wildcard && *origin.host && *origin.scheme);
        HOLDS(strlen(origin.host) < sizeof origin.host);
        /* As a pattern it means itself. */
        HOLDS(origin_pattern(text, &pattern, err, sizeof err) == 0);
        HOLDS(origin_matches(&pattern, &origin));
    }
    if (origin_parse_host(host_text, &host)) {
        (void)origin_host_loopback(&host);
        if (ok) (void)origin_is_own(&origin, &host, (rest.n & 1) != 0);
    }
    if (origin_pattern(rest, &pattern, err, sizeof err) == 0) {
        if (ok && origin_matches(&pattern, &origin) && pattern.wildcard)
            HOLDS(strlen(origin.host) > strlen(pattern.host) + 1);
    } else {
        HOLDS(*err);
    }
    return 0;
}
