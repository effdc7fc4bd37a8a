/* Broken frames: every prefix and many mutations of good ones, each in memory of its exact size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/text.h"
#include "protocol/channel.h"
#include "protocol/request.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct request_parser parser;
static struct request r;
static struct request_error e;

static const struct span samples[] = {
    SPAN("{\"type\":\"publish\",\"id\":\"\\u0061b\",\"channel\":\"a\\u002eb\",\"key\":\"\\u006b\","
         "\"partition\":3,"
         "\"headers\":{\"\\u0061\":\"1\",\"b\":\"\\n\"},\"binary\":\"aGVs\\u0062G8=\",\"x\":[{}]}"),
    SPAN("{\"type\":\"subscribe\",\"id\":-17,\"channel\":\"a.\xe2\x82\xac\",\"from\":{\"after\":["
         "\"0/1:2-3\"]},"
         "\"filter\":{\"key\":1},\"policy\":\"drop\",\"interval\":100}"),
    SPAN("{\"type\":\"history\",\"id\":9007199254740991,\"channel\":\"c\",\"from\":{\"last\":10},"
         "\"until\":[\"0/5\"],\"limit\":50}"),
    SPAN("{\"type\":\"publish\",\"channel\":\"c\",\"text\":\"\\ud83d\\ude00\",\"data\":null,"
         "\"tombstone\":true}"),
};

/* Parses a heap copy without a byte to spare and looks at every span of the result. */
static bool parse_copy(const char *p, size_t n)
{
    char *copy = mem_alloc(n);
    if (n > 0) memcpy(copy, p, n);
    bool accepted = request_parse(&parser, (struct span){copy, n}, &r, &e) == 0;
    if (accepted) {
        assert_true(utf8_valid(r.id) && utf8_valid(r.key) && utf8_valid(r.token));
        assert_true(r.channel.p == NULL || channel_valid(r.channel));
        assert_true(utf8_valid(r.from.cursor) && utf8_valid(r.until) && utf8_valid(r.policy));
        (void)utf8_valid(r.payload);
        for (uint32_t i = 0; i < r.header_count; i++) {
            assert_true(utf8_valid(span_of(r.headers[i].name, r.headers[i].name_len)));
            assert_true(utf8_valid(span_of(r.headers[i].value, r.headers[i].value_len)));
        }
    } else {
        assert_true(e.code == ERR_BAD_REQUEST || e.code == ERR_UNKNOWN_TYPE);
        assert_true(utf8_valid(e.id));
        assert_true(e.channel.p == NULL || channel_valid(e.channel));
    }
    free(copy);
    return accepted;
}

static void refuses_every_prefix(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(samples); i++)
        for (size_t n = 0; n < samples[i].n; n++)
            assert_false(parse_copy(samples[i].p, n));
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

static void survives_mutations(void **state)
{
    (void)state;
    static const char spice[] = "{}[]\",:\\u0dD8-+.eE1tn \nabi=\x80\xff\xe2";
    uint32_t seed = 4711;
    size_t accepted = 0;
    for (int round = 0; round < 60000; round++) {
        struct span from = samples[random_next(&seed) % COUNT(samples)];
        char copy[512];
        size_t n = from.n;
        memcpy(copy, from.p, n);
        for (uint32_t k = random_next(&seed) % 3 + 1; k > 0; k--) {
            size_t at = random_next(&seed) % n;
            size_t length = random_next(&seed) % 12 + 1;
            if (random_next(&seed) % 3 > 0 || at + length >= n) {
                copy[at] = spice[random_next(&seed) % (sizeof(spice) - 1)];
            } else {
                memmove(copy + at, copy + at + length, n - at - length);
                n -= length;
            }
        }
        accepted += parse_copy(copy, n);
    }
    assert_true(accepted > 100);
}

static int setup(void **state)
{
    (void)state;
    request_parser_init(&parser);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    request_parser_free(&parser);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(survives_mutations),
    };
    return cmocka_run_group_tests_name("request_broken", tests, setup, teardown);
}
