/* The PROXY protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "edge/proxy_header.h"

#define MARK "\r\n\r\n\0\r\nQUIT\n"

/* The bytes stand at the end of their allocation, so that a sanitizer sees one read too many. */
static enum proxy_verdict parse(const char *p, size_t n, struct proxy_header *ret)
{
    unsigned char *copy = mem_alloc(n ? n : 1);
    memcpy(copy, p, n);
    enum proxy_verdict verdict = proxy_header_parse(copy, n, ret);
    free(copy);
    return verdict;
}

/* Every beginning of it asks for more; with anything behind it it is the same. */
static void check(const char *p, size_t n, const char *want)
{
    char text[ADDRESS_TEXT_MAX], longer[PROXY_HEADER_MAX + 8];
    struct proxy_header h;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(parse(p, i, &h), PROXY_MORE);
    assert_int_equal(parse(p, n, &h), PROXY_DONE);
    assert_int_equal(h.length, n);
    address_write(&h.client, text);
    assert_string_equal(text, want);
    memcpy(longer, p, n);
    memcpy(longer + n, "GET / ", 6);
    assert_int_equal(parse(longer, n + 6, &h), PROXY_DONE);
    assert_int_equal(h.length, n);
}

#define CHECK(literal, want) check("" literal, sizeof(literal) - 1, want)

static void test_text(void **state)
{
    (void)state;
    CHECK("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324");
    CHECK("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
    CHECK("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0");
    CHECK("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1");
    CHECK("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
          "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    CHECK("PROXY UNKNOWN\r\n", "gone");
    CHECK("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
          "gone");
}

static void test_text_broken(void **state)
{
    static const char *const rows[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r",
        "PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1:5 198.51.100.2 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
        "PROXY TCP4 host 198.51.100.2 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
    };
    char line[200];
    struct proxy_header h;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (parse(rows[i], strlen(rows[i]), &h) != PROXY_BAD) fail_msg("%s", rows[i]);
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(line, 106, &h), PROXY_MORE);
    assert_int_equal(parse(line, 107, &h), PROXY_BAD);
    memcpy(line + 106, "\r\n", 2);
    assert_int_equal(parse(line, 107, &h), PROXY_BAD);
    assert_int_equal(parse(line, 108, &h), PROXY_BAD);
}

static void test_binary(void **state)
{
    char big[PROXY_HEADER_MAX] = MARK "\x21\x11";
    (void)state;
    CHECK(MARK "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x34\x01\xbb",
          "192.0.2.1:4660");
    CHECK(MARK "\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
               "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x00\x07\x00\x08",
          "[2001:db8::1]:7");
    /* Something more behind the addresses. */
    CHECK(MARK "\x21\x11\x00\x11\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x34\x01\xbb\x04\x00\x02zz",
          "192.0.2.1:4660");
    CHECK(MARK "\x20\x00\x00\x00", "gone"); /* LOCAL */
    CHECK(MARK "\x20\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x12\x34\x01\xbb", "gone");
    CHECK(MARK "\x21\x00\x00\x00", "gone");    /* unspecified */
    CHECK(MARK "\x21\x12\x00\x03xyz", "gone"); /* datagrams */
    big[14] = (char)((PROXY_HEADER_MAX - 16) >> 8);
    big[15] = (char)((PROXY_HEADER_MAX - 16) & 0xff);
    check(big, sizeof big, "0.0.0.0");
}

static void test_binary_broken(void **state)
{
    static const char rows[][20] = {
        MARK "\x11\x11\x00\x00", /* another version */
        MARK "\x22\x11\x00\x00", /* another command */
        MARK "\x21\x41\x00\x00", /* another family */
        MARK "\x21\x13\x00\x00", /* another transport */
        MARK "\x21\x11\xff\xff", /* too long */
        MARK "\x21\x11\x03\xf1", /* by one */
        MARK "\x21\x11\x00\x00", /* no room for the addresses */
        MARK "\x21\x21\x00\x00", MARK "\x21\x31\x00\x00",
    };
    struct proxy_header h;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (parse(rows[i], 16, &h) != PROXY_BAD) fail_msg("row %zu", i);
}

static void test_none(void **state)
{
    static const char *const rows[] = {"GET / HTTP/1.1\r\n", "proxy TCP4",   "PROXYTCP4",
                                       "\r\n\r\nX",          "\x16\x03\x01", "PROXY\tTCP4"};
    struct proxy_header h;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(parse(rows[i], strlen(rows[i]), &h), PROXY_NONE);
    assert_int_equal(parse("", 0, &h), PROXY_MORE);
    assert_int_equal(parse("P", 1, &h), PROXY_MORE);
    assert_int_equal(parse("\r", 1, &h), PROXY_MORE);
    assert_int_equal(parse("PRX", 3, &h), PROXY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_text_broken),
        cmocka_unit_test(test_binary), cmocka_unit_test(test_binary_broken),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
