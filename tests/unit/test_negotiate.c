/* Accept-Encoding, If-None-Match, media types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/negotiate.h"
#include "web/asset.h"
#include "web/type.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void gzip_where_it_is_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool accepted;
    } rows[] = {
        {"", false},
        {"gzip", true},
        {"GZip", true},
        {"x-gzip", true},
        {"gzip, deflate, br", true},
        {"deflate,\tgzip", true},
        {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
        {"gzip;q=0.001", true},
        {"gzip ; q=1", true},
        {"gzip;Q=1", true},
        {"*", true},
        {"*;q=0.5", true},
        {"br", false},
        {"identity", false},
        {"gzipped", false},
        {"gzip;q=0", false},
        {"gzip; q=0", false},
        {"gzip;q=0.", false},
        {"gzip;q=0.000", false},
        {"gzip;q=0, *", false},
        {"*, gzip;q=0", false},
        {"*;q=0", false},
        {"gzip;q=", false},
        {"gzip;q", false},
        {"gzip;q=x", false},
        {"gzip;q=2", false},
        {"gzip;q=-1", false},
        {"gzip;x=1", false},
        {",", false},
        {",,gzip", true},
        {";q=1", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (negotiate_gzip(span_str(rows[i].header)) != rows[i].accepted)
            fail_msg("Accept-Encoding: %s", rows[i].header);
    assert_false(negotiate_gzip(span_of(NULL, 0)));
}

static void tags_are_compared(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool same;
    } rows[] = {
        {"", false},
        {"\"abc\"", true},
        {"  \"abc\" ", true},
        {"W/\"abc\"", true},
        {"\"x\", \"abc\"", true},
        {"\"x\",W/\"y\" , W/\"abc\"", true},
        {"\"x,\", \"abc\"", true},
        {"*", true},
        {" * ", true},
        {"abc", false},
        {"\"ab\"", false},
        {"\"abcd\"", false},
        {"\"ABC\"", false},
        {"\"abc", false},
        {"\"", false},
        {"\"x\" \"", false},
        {"\"*\"", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (negotiate_same(span_str(rows[i].header), "\"abc\"") != rows[i].same)
            fail_msg("If-None-Match: %s", rows[i].header);
    assert_false(negotiate_same(span_of(NULL, 0), "\"abc\""));
}

static void types_by_ending(void **state)
{
    (void)state;
    assert_string_equal(web_type("index.html"), "text/html; charset=utf-8");
    assert_string_equal(web_type("a/b.c/APP.JS"), "text/javascript; charset=utf-8");
    assert_string_equal(web_type("a.min.css"), "text/css; charset=utf-8");
    assert_string_equal(web_type("LICENSE"), "text/plain; charset=utf-8");
    assert_string_equal(web_type("a.html/data"), "application/octet-stream");
    assert_string_equal(web_type("a."), "application/octet-stream");
    assert_string_equal(web_type(""), "application/octet-stream");
}

/* What the build has made: every file of the list has its bytes and a tag of its own. */
static void assets_are_whole(void **state)
{
    (void)state;
    const struct web_asset *client = web_asset_find("/wsbus.js");
    assert_non_null(client);
    assert_false(client->demo);
    assert_non_null(web_asset_find("/wsbus.classic.js"));
    assert_null(web_asset_find("/wsbus"));
    for (size_t i = 0; i < web_asset_count; i++) {
        const struct web_asset *a = &web_assets[i];
        assert_true(a->plain.bytes.n > 0);
        assert_int_equal(strlen(a->plain.tag), 34);
        assert_string_not_equal(web_type(a->file), "application/octet-stream");
        if (!a->gzip.tag) continue;
        assert_true(a->gzip.bytes.n < a->plain.bytes.n);
        assert_memory_equal(a->gzip.bytes.p, "\x1f\x8b", 2);
        assert_string_not_equal(a->gzip.tag, a->plain.tag);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_where_it_is_accepted),
        cmocka_unit_test(tags_are_compared),
        cmocka_unit_test(types_by_ending),
        cmocka_unit_test(assets_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
