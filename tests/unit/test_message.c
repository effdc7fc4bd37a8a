/* Message frames: the form of the payload follows its bytes, and they survive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "base/mem.h"
#include "base/text.h"
#include "fake_pos.h"
#include "protocol/message.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define HEAD "{\"type\":\"message\",\"channel\":\"c\",\"pos\":\"3/1:2-4\",\"ts\":1700000000000"

static struct buf out;
static struct wsbus_message m;

static void write_frame(void)
{
    buf_clear(&out);
    message_write(&out, SPAN("c"), &m, &fake_backend, true);
    assert_true(json_valid(buf_view(&out)));
}

static void expect(const char *text)
{
    write_frame();
    if (!span_eq(buf_view(&out), span_str(text))) fail_msg("%.*s", (int)out.n, out.p);
}

static void set_payload(struct span payload)
{
    m.payload = payload.p;
    m.payload_len = (uint32_t)payload.n;
}

static void set_headers(const struct wsbus_header *headers, uint32_t count)
{
    m.headers = headers;
    m.header_count = count;
}

static struct wsbus_header header(struct span name, struct span value)
{
    return (struct wsbus_header){name.p, value.p, (uint32_t)name.n, (uint32_t)value.n};
}

static int fresh(void **state)
{
    (void)state;
    m = (struct wsbus_message){
        .refs = 1,
        .pos = {.partition = 3, .epoch = 1, .hi = 2, .lo = 4},
        .ts = INT64_C(1700000000000),
        .payload = "1",
        .payload_len = 1,
    };
    buf_init(&out, BUF_UNLIMITED);
    return 0;
}

static int done(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static void chooses_the_form(void **state)
{
    (void)state;
    static const struct {
        struct span payload;
        const char *tail;
    } rows[] = {
        {SPAN("1"), ",\"data\":1}"},
        {SPAN(" {\"a\" : 1,\n\"a\":2}\n"), ",\"data\": {\"a\" : 1,\n\"a\":2}\n}"},
        {SPAN("18446744073709551615"), ",\"data\":18446744073709551615}"},
        {SPAN("1e400"), ",\"data\":1e400}"},
        {SPAN("\"\\ud800\\u0000\""), ",\"data\":\"\\ud800\\u0000\"}"},
        {SPAN("null"), ",\"data\":null}"},
        {SPAN(""), ",\"text\":\"\"}"},
        {SPAN("hello \"you\"\n"), ",\"text\":\"hello \\\"you\\\"\\n\"}"},
        {SPAN("01"), ",\"text\":\"01\"}"},
        {SPAN("NaN"), ",\"text\":\"NaN\"}"},
        {SPAN("1 2"), ",\"text\":\"1 2\"}"},
        {SPAN("{\"a\":1},\"x\":{\"b\":2}"), ",\"text\":\"{\\\"a\\\":1},\\\"x\\\":{\\\"b\\\":2}\"}"},
        {SPAN("\xef\xbb\xbf{}"), ",\"text\":\"\xef\xbb\xbf{}\"}"},
        {SPAN("a\0b"), ",\"text\":\"a\\u0000b\"}"},
        {SPAN("\xff"), ",\"binary\":\"/w==\"}"},
        {SPAN("\"\xed\xa0\x80\""), ",\"binary\":\"Iu2ggCI=\"}"},
        {SPAN("{\"a\":\"\xff\"}"), ",\"binary\":\"eyJhIjoi/yJ9\"}"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256] = HEAD;
        strcat(text, rows[i].tail);
        set_payload(rows[i].payload);
        expect(text);
    }
    set_payload((struct span){NULL, 0});
    expect(HEAD ",\"data\":null,\"tombstone\":true}");
}

static void writes_keys(void **state)
{
    (void)state;
    m.key = "k\"\n";
    m.key_len = 3;
    expect(HEAD ",\"key\":\"k\\\"\\n\",\"data\":1}");
    m.key_len = 0;
    expect(HEAD ",\"key\":\"\",\"data\":1}");
    m.key = "\xff\x01";
    m.key_len = 2;
    expect(HEAD ",\"key_binary\":\"/wE=\",\"data\":1}");
}

static void leaves_out_the_position(void **state)
{
    (void)state;
    m.ts = -5;
    message_write(&out, SPAN("a.\"b\""), &m, &fake_backend, false);
    assert_true(
        span_eq(buf_view(&out),
                SPAN("{\"type\":\"message\",\"channel\":\"a.\\\"b\\\"\",\"ts\":-5,\"data\":1}")));
}

static void writes_headers(void **state)
{
    (void)state;
    const struct wsbus_header headers[] = {
        header(SPAN("a"), SPAN("1")),       header(SPAN("b"), SPAN("\xff")),
        header(SPAN("\xff"), SPAN("gone")), header(SPAN("a"), SPAN("2")),
        header(SPAN(""), SPAN("")),         header(SPAN("c\n"), SPAN("\"")),
        header(SPAN("a"), SPAN("3")),
    };
    set_headers(headers, COUNT(headers));
    expect(HEAD
           ",\"headers\":{\"b\":{\"binary\":\"/w==\"},\"\":\"\",\"c\\n\":\"\\\"\",\"a\":\"3\"},"
           "\"data\":1}");
    set_headers(headers + 2, 1);
    expect(HEAD ",\"headers\":{},\"data\":1}");
}

/* Many headers go another way, with the same result: each name once, with its last value. */
static void writes_many_headers(void **state)
{
    (void)state;
    enum { MANY = 5000, NAMES = 700 };
    struct wsbus_header *headers = mem_alloc(MANY * sizeof(*headers));
    char(*text)[2][16] = mem_alloc(MANY * sizeof(*text));
    for (int i = 0; i < MANY; i++) {
        snprintf(text[i][0], sizeof(text[i][0]), "n%d", i % NAMES);
        snprintf(text[i][1], sizeof(text[i][1]), "%d", i);
        headers[i] = header(span_str(text[i][0]), span_str(text[i][1]));
    }
    set_headers(headers, MANY);
    write_frame();
    struct span key, value, name, member;
    struct json_iter it = json_open(buf_view(&out));
    size_t count = 0;
    while (json_member(&it, &key, &value)) {
        if (!json_key_is(key, "headers")) continue;
        for (struct json_iter h = json_open(value); json_member(&h, &name, &member); count++) {
            int last = atoi(member.p + 1);
            assert_int_equal(atoi(name.p + 1), last % NAMES);
            assert_true(last >= MANY - NAMES);
        }
    }
    assert_int_equal(count, NAMES);
    free(headers);
    free(text);
}

static void decode_payload(struct buf *back)
{
    struct span key, value;
    struct json_iter it = json_open(buf_view(&out));
    while (json_member(&it, &key, &value))
        ;
    buf_clear(back);
    if (json_key_is(key, "data")) {
        /* Raw, with the white space around it: all between the colon and the closing brace. */
        const char *from = key.p + key.n + 2;
        buf_append(back, from, (size_t)(out.p + out.n - 1 - from));
    } else if (json_key_is(key, "text")) {
        assert_int_equal(json_unescape(value, back), 0);
    } else {
        assert_true(json_key_is(key, "binary"));
        char *to = buf_reserve(back, value.n);
        int64_t n = base64_decode(to, (struct span){value.p + 1, value.n - 2});
        assert_true(n >= 0);
        buf_added(back, (size_t)n);
    }
}

static void payloads_survive(void **state)
{
    (void)state;
    static const char bytes[] =
        "{}[]\",:\\u0dD8-+.eE1 \n\t\0\x7f\x80\xff\xe2\x82\xac\xf0\x9f\x98\x80";
    struct buf back;
    uint32_t seed = 99;
    buf_init(&back, BUF_UNLIMITED);
    for (int round = 0; round < 30000; round++) {
        char payload[24];
        size_t n = 0, size = (seed >> 9) % sizeof(payload);
        for (; n < size; n++) {
            seed = seed * 1664525U + 1013904223U;
            payload[n] = bytes[(seed >> 8) % (sizeof(bytes) - 1)];
        }
        seed = seed * 1664525U + 1013904223U;
        set_payload((struct span){payload, n});
        write_frame();
        decode_payload(&back);
        assert_true(span_eq(buf_view(&back), (struct span){payload, n}));
    }
    buf_free(&back);
}

static void fails_as_a_whole_at_the_cap(void **state)
{
    (void)state;
    struct buf small;
    buf_init(&small, 40);
    message_write(&small, SPAN("c"), &m, &fake_backend, true);
    assert_true(small.failed);
    assert_true(small.n <= 40);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(chooses_the_form, fresh, done),
        cmocka_unit_test_setup_teardown(writes_keys, fresh, done),
        cmocka_unit_test_setup_teardown(leaves_out_the_position, fresh, done),
        cmocka_unit_test_setup_teardown(writes_headers, fresh, done),
        cmocka_unit_test_setup_teardown(writes_many_headers, fresh, done),
        cmocka_unit_test_setup_teardown(payloads_survive, fresh, done),
        cmocka_unit_test_setup_teardown(fails_as_a_whole_at_the_cap, fresh, done),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
