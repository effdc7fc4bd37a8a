/* Headers of requests: for pages, and for compressed messages. */
#include "fuzz.h"

#include "edge/negotiate.h"
#include "edge/offer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    char line[OFFER_ANSWER_MAX];
    struct offer offer;

    (void)negotiate_gzip(text);
    (void)negotiate_same(text, "\"tag\"");
    if (offer_read(text, &offer) == OFFER_TAKEN) {
        HOLDS(offer.window_bits >= 8 && offer.window_bits <= 15);
        HOLDS(offer_answer(&offer, line) == strlen(line));
    }
    return 0;
}
