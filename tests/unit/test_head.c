/* The head of a request: what passes, and what is refused with which status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "edge/head.h"

#define HEAD_MAX 16384u
#define HOST "Host: a\r\n"
#define WS "Upgrade: websocket\r\nConnection: Upgrade\r\n"

/* Nothing is known before the end has come, unless it is refused before. */
static void read_both(const char *what, struct span in, struct head *ret)
{
    struct head early;

    head_read(in, HEAD_MAX, ret);
    for (size_t n = 0; n < in.n; n++) {
        head_read(span_of(in.p, n), HEAD_MAX, &early);
        if (early.size > 0) fail_msg("%s: complete with %zu of %zu bytes", what, n, in.n);
        if (early.status == 0) continue;
        if (early.status != ret->status)
            fail_msg("%s: %u, then %u", what, early.status, ret->status);
        return;
    }
}

static void test_good(void **state)
{
    static const struct {
        const char *text;
        bool upgrade, body;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", false, false},
        {"GET /a%20b?c=%7b&d=+ HTTP/1.1\r\n" HOST "\r\n", false, false},
        {"HEAD / HTTP/1.0\r\n\r\n", false, false},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", false, false},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n", false, true},
        {"PUT / HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n", false, true},
        {"GET /ws HTTP/1.1\r\n" HOST WS "\r\n", true, false},
        {"GET /ws HTTP/1.0\r\n" WS "\r\n", true, false}, /* the handshake refuses it */
        {"GET /ws HTTP/1.1\r\nhost:a\r\nUPGRADE:\t WebSocket \r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\n" HOST "X:\r\nX: \xc3\xa9\r\n!#$%&'*+-.^_`|~09az: x\ty\r\n\r\n", false,
         false},
    };
    struct head h;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_both(cases[i].text, span_str(cases[i].text), &h);
        if (h.status != 0) fail_msg("%s: %u %s", cases[i].text, h.status, h.text);
        assert_int_equal(h.size, strlen(cases[i].text));
        assert_int_equal(h.upgrade, cases[i].upgrade);
        assert_int_equal(h.body, cases[i].body);
    }
}

static void test_what_follows_is_not_part_of_it(void **state)
{
    const char *text = "GET / HTTP/1.1\r\n" HOST "\r\n";
    struct head h;

    (void)state;
    head_read(SPAN("GET / HTTP/1.1\r\n" HOST "\r\n\x81\x80 more\n\n"), HEAD_MAX, &h);
    assert_int_equal(h.status, 0);
    assert_int_equal(h.size, strlen(text));
}

static const struct {
    struct span in;
    unsigned status;
} bad[] = {
    /* the request line */
    {SPAN("\r\n"), 400},
    {SPAN("\r\n\r\n"), 400},
    {SPAN("\n"), 400},
    {SPAN(" GET / HTTP/1.1\r\n"), 400},
    {SPAN("\x16\x03\x01\x02\x00\x01"), 400},
    {SPAN("\0\0\0"), 400},
    {SPAN("GET\r\n"), 400},
    {SPAN("GET /\r\n"), 400},
    {SPAN("GET  / HTTP/1.1\r\n"), 400},
    {SPAN("GET / HTTP/1.1 \r\n"), 400},
    {SPAN("GET / HTTP/1.1\n"), 400},
    {SPAN("GET / HTTP/1.1\r\r\n"), 400},
    {SPAN("GET / HTTP/0.9\r\n"), 400},
    {SPAN("GET / HTTP/2.0\r\n"), 400},
    {SPAN("GET / http/1.1\r\n"), 400},
    {SPAN("GET / HTTP/1.10\r\n"), 400},
    {SPAN("PRI * HTTP/2.0\r\n\r\n"), 400},
    {SPAN("AMETHODTHATISLONGERTHANANYOTHERONE"), 400},
    {SPAN("GE(T / HTTP/1.1\r\n"), 400},
    {SPAN("get / HTTP/1.1\r\n"), 405},
    {SPAN("CONNECT a:80 HTTP/1.1\r\n"), 405},
    {SPAN("TRACE / HTTP/1.1\r\n"), 405},
    {SPAN("X / HTTP/1.1\r\n"), 405},
    {SPAN("GET * HTTP/1.1\r\n"), 400},
    {SPAN("OPTIONS * HTTP/1.1\r\n"), 405},
    {SPAN("GET ws HTTP/1.1\r\n"), 400},
    {SPAN("GET ftp://a/ws HTTP/1.1\r\n"), 400},
    {SPAN("GET //a/ws?# HTTP/1.1\r\n"), 400},
    {SPAN("GET http://a# HTTP/1.1\r\n"), 400},
    {SPAN("GET http://a/% HTTP/1.1\r\n"), 400},
    {SPAN("GET http://b/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {SPAN("GET http://a:80/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {SPAN("GET http://x@a/ HTTP/1.1\r\n" HOST "\r\n"), 400},
    {SPAN("GET http:///ws HTTP/1.1\r\nHost:\r\n\r\n"), 400},
    {SPAN("GET http://a/ HTTP/1.0\r\n\r\n"), 400},
    {SPAN("GET /# HTTP/1.1\r\n"), 400},
    {SPAN("GET /\x80 HTTP/1.1\r\n"), 400},
    {SPAN("GET /\t HTTP/1.1\r\n"), 400},
    {SPAN("GET /\0 HTTP/1.1\r\n"), 400},
    {SPAN("GET /% HTTP/1.1\r\n"), 400},
    {SPAN("GET /%2 HTTP/1.1\r\n"), 400},
    {SPAN("GET /%zz HTTP/1.1\r\n"), 400},
    {SPAN("GET /%00 HTTP/1.1\r\n"), 400},
    /* header lines */
    {SPAN("GET / HTTP/1.1\r\nno colon\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n: x\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost : a\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n Host: a\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "\tb\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: a\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: a\rb\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nX: a\0b\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nX: a\x01\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nX: a\x7f\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST HOST), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Origin: a\r\nOrigin: b\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Origin: \r\n"), 403},
    {SPAN("GET / HTTP/1.1\r\nHost: a b\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: a/b\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: b@a\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\nHost: <a>\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST WS "Upgrade: websocket\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Sec-WebSocket-Key: a\r\nsec-websocket-key: a\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length: x\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n"), 400},
    {SPAN("GET / HTTP/1.1\r\n" HOST "Content-Length: 9999999999999999999\r\n"), 400},
    {SPAN("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
     400},
    {SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST WS "Content-Length: 1\r\n\r\n"), 400},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST WS "Transfer-Encoding: chunked\r\n\r\n"), 400},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST "Upgrade: h2c\r\n\r\n"), 426},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST "Upgrade: foo\r\n\r\n"), 426},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST "Upgrade:\r\n\r\n"), 426},
    {SPAN("GET /ws HTTP/1.1\r\n" HOST "Upgrade: websocket, h2c\r\n\r\n"), 426},
};

static void test_bad(void **state)
{
    struct head h;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        read_both(bad[i].in.p, bad[i].in, &h);
        if (h.status != bad[i].status)
            fail_msg("%s: %u %s", bad[i].in.p, h.status, h.text ? h.text : "");
        assert_true(strlen(h.text) > 0);
    }
}

static void test_sizes(void **state)
{
    struct buf text;
    struct head h;

    (void)state;
    buf_init(&text, BUF_UNLIMITED);
    for (size_t size = HEAD_MAX - 2; size <= HEAD_MAX + 2; size++) {
        buf_clear(&text);
        buf_str(&text, "GET / HTTP/1.1\r\n" HOST "X: ");
        while (text.n < size - 4)
            buf_byte(&text, 'x');
        buf_str(&text, "\r\n\r\n");
        head_read(buf_view(&text), HEAD_MAX, &h);
        assert_int_equal(h.status, size <= HEAD_MAX ? 0 : 431);
    }
    for (unsigned count = HEAD_FIELDS - 2; count < HEAD_FIELDS + 2; count++) {
        buf_clear(&text);
        buf_str(&text, "GET / HTTP/1.1\r\n" HOST);
        for (unsigned i = 1; i < count; i++)
            buf_str(&text, "X:\r\n");
        buf_str(&text, "\r\n");
        head_read(buf_view(&text), HEAD_MAX, &h);
        assert_int_equal(h.status, count <= HEAD_FIELDS ? 0 : 431);
    }
    buf_clear(&text);
    buf_str(&text, "GET /");
    while (text.n < HEAD_MAX)
        buf_byte(&text, 'x');
    head_read(buf_view(&text), HEAD_MAX, &h);
    assert_int_equal(h.status, 431);
    buf_free(&text);
}

/* What libwebsockets has room for: parameters of the query, and headers that go on. */
static void test_pieces(void **state)
{
    static const char *const separators[] = {"&", ";", "&a=1"};
    struct buf text;
    struct head h;

    (void)state;
    buf_init(&text, BUF_UNLIMITED);
    for (size_t s = 0; s < sizeof separators / sizeof *separators; s++) {
        for (unsigned count = HEAD_PIECES - 2; count < HEAD_PIECES + 2; count++) {
            buf_clear(&text);
            buf_str(&text, "GET /?");
            for (unsigned i = 2; i < count; i++) /* the "?" is one, and Host */
                buf_str(&text, separators[s]);
            buf_str(&text, "%26%3b%3f HTTP/1.1\r\nX: a\r\n" HOST "\r\n");
            head_read(buf_view(&text), HEAD_MAX, &h);
            assert_int_equal(h.status, count <= HEAD_PIECES ? 0 : 431);
        }
    }
    buf_clear(&text);
    buf_str(&text, "GET /?");
    for (unsigned i = 0; i < HEAD_PIECES; i++)
        buf_str(&text, "&");
    buf_str(&text, " HTTP/1.1\r\n" HOST "\r\n");
    head_read(buf_view(&text), HEAD_MAX, &h);
    assert_int_equal(h.status, 400);
    for (unsigned count = HEAD_PIECES - 2; count < HEAD_PIECES + 2; count++) {
        buf_clear(&text);
        buf_str(&text, "GET / HTTP/1.1\r\nUser-Agent: x\r\n" HOST);
        for (unsigned i = 1; i < count; i++)
            buf_str(&text, "Connection: close\r\n");
        buf_str(&text, "\r\n");
        head_read(buf_view(&text), HEAD_MAX, &h);
        assert_int_equal(h.status, count <= HEAD_PIECES ? 0 : 431);
    }
    buf_free(&text);
}

static void test_strip(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"},
        {"GET /x:y HTTP/1.1\r\n" HOST WS "\r\n",
         "GET /x:y HTTP/1.1\r\nHost:a\r\nUpgrade:websocket\r\nConnection:upgrade\r\n\r\n"},
        {"GET / HTTP/1.1\r\nX: 1\r\nhOST:a\r\nHos: b\r\nHostt: c\r\n\r\n",
         "GET / HTTP/1.1\r\nhOST:a\r\n\r\n"},
        {"GET / HTTP/1.1\r\nX:\r\nOrigin: o\r\nAcc:Origin: x\r\nX-Forwarded-For: b, c:1\r\nIf: "
         "\r\n" HOST "\r\n",
         "GET / HTTP/1.1\r\nOrigin:o\r\nX-Forwarded-For:b, c:1\r\nHost:a\r\n\r\n"},
        {"GET / HTTP/1.0\r\nUpgrade: websocket \t\r\nX-Forwarded-For:\r\n\r\n",
         "GET / HTTP/1.0\r\nUpgrade:websocket\r\nX-Forwarded-For:\r\n\r\n"},
        /* lists */
        {"GET / HTTP/1.0\r\nConnection:\r\nConnection: close\r\nconnection: ,a,, UPGRADE\t,\r\n"
         "Connection: Upgrade\r\n\r\n",
         "GET / HTTP/1.0\r\nconnection:upgrade\r\n\r\n"},
        {"GET / HTTP/1.0\r\nConnection: xupgrade, upgrade x\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"},
        {"GET / HTTP/1.0\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b ,wsbus.v1, c\r\n"
         "Sec-WebSocket-Protocol: wsbus.v1\r\n\r\n",
         "GET / HTTP/1.0\r\nSec-WebSocket-Protocol:wsbus.v1\r\n\r\n"},
        {"GET / HTTP/1.0\r\nSec-WebSocket-Protocol: a , WSBUS.V1 \r\nSec-WebSocket-Protocol: "
         "b\r\n\r\n",
         "GET / HTTP/1.0\r\nSec-WebSocket-Protocol:a , "
         "WSBUS.V1\r\nSec-WebSocket-Protocol:b\r\n\r\n"},
        /* targets in absolute form */
        {"GET http://a/ws?b HTTP/1.1\r\nHost:A\r\n\r\n", "GET /ws?b HTTP/1.1\r\nHost:A\r\n\r\n"},
        {"GET HTTPS://a:1 HTTP/1.1\r\nHost:a:1\r\n\r\n", "GET / HTTP/1.1\r\nHost:a:1\r\n\r\n"},
        {"GET http://[::1]?/b HTTP/1.1\r\nHost: [::1]\r\n\r\n",
         "GET /?/b HTTP/1.1\r\nHost:[::1]\r\n\r\n"},
    };
    char room[256];
    struct head h;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].in);
        memcpy(room, cases[i].in, n + 1);
        head_read(span_of(room, n), HEAD_MAX, &h);
        if (h.status != 0) fail_msg("%s: %u %s", cases[i].in, h.status, h.text);
        n = head_strip(room, &h);
        assert_int_equal(n, strlen(cases[i].out));
        assert_memory_equal(room, cases[i].out, n);
    }
}

/* Every line of one name, whatever stands in front of it. */
static void test_fields(void **state)
{
    struct span head =
        SPAN("GET /x:y HTTP/1.1\r\nHost: a\r\nSEC-thing:  one, two \r\nOther: sec-thing: "
             "no\r\nsec-thing:\r\nSec-Thing2: no\r\n\r\n");
    struct head_field field;
    size_t at = 0;

    (void)state;
    assert_true(head_next(head, "sec-thing", &at, &field));
    assert_true(span_eq(field.value, SPAN("one, two")));
    assert_true(span_eq(field.name, SPAN("SEC-thing")));
    assert_true(head_next(head, "sec-thing", &at, &field));
    assert_int_equal(field.value.n, 0);
    assert_false(head_next(head, "sec-thing", &at, &field));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_what_follows_is_not_part_of_it),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_pieces), cmocka_unit_test(test_strip),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
