/* PROXY headers; and, as text, what X-Forwarded-For says behind trusted proxies. */
#include "fuzz.h"

#include "edge/proxy_header.h"
#include "edge/trust.h"

static void forwarded(struct span header)
{
    static const char *const proxies[] = {"10.0.0.0/8", "2001:db8::/32"};
    static struct trust *trust;
    struct config config;
    struct address peer = {.kind = ADDRESS_NONE}, client;

    if (!trust) {
        memset(&config, 0, sizeof config);
        config.trusted_proxies = (struct config_patterns){proxies, 2};
        trust = trust_new(&config);
    }
    HOLDS(address_parse(SPAN("10.0.0.1:5"), &peer));
    client = trust_client(trust, &peer, header);
    HOLDS(client.kind == ADDRESS_IP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, other;
    struct address a, again;
    char text[ADDRESS_TEXT_MAX], err[200];
    struct address_net net;

    enum proxy_verdict verdict = proxy_header_parse(data, size, &h);
    if (verdict == PROXY_DONE) {
        HOLDS(h.length > 0 && h.length <= size && h.length <= PROXY_HEADER_MAX);
        address_write(&h.client, text);
        /* What stands behind it does not count, and one byte less is not enough. */
        HOLDS(proxy_header_parse(data, h.length, &other) == PROXY_DONE);
        HOLDS(other.length == h.length);
        HOLDS(proxy_header_parse(data, h.length - 1, &other) == PROXY_MORE);
    }
    if (verdict == PROXY_MORE) HOLDS(size < PROXY_HEADER_MAX);
    if (address_parse(span_of((const char *)data, size), &a)) {
        address_write(&a, text);
        HOLDS(address_parse(span_str(text), &again));
        HOLDS(memcmp(a.ip, again.ip, sizeof a.ip) == 0 && a.port == again.port);
    }
    char *copy = fuzz_text(data, size);
    if (address_net_parse(copy, &net, err, sizeof err) == 0 && net.kind == ADDRESS_IP) {
        a = (struct address){.kind = ADDRESS_IP};
        memcpy(a.ip, net.ip, sizeof a.ip);
        HOLDS(address_in(&a, &net));
    }
    free(copy);
    forwarded(span_of((const char *)data, size));
    return 0;
}
