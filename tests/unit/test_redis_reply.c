/* What a server sends, whole, in pieces, and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "bus/redis_reply.h"

#define BROKEN 20000 /* turns with broken bytes */

/* A reply as text: strings in quotes, arrays in brackets. */
static void show(struct buf *out, const struct redisReply *r)
{
    switch (r->type) {
    case REDIS_REPLY_STRING:
        assert_int_equal(strnlen(r->str, r->len + 1), r->len);
        buf_printf(out, "'%s'", r->str);
        break;
    case REDIS_REPLY_STATUS: buf_printf(out, "+%s", r->str); break;
    case REDIS_REPLY_ERROR: buf_printf(out, "-%s", r->str); break;
    case REDIS_REPLY_INTEGER: buf_printf(out, "%lld", r->integer); break;
    case REDIS_REPLY_NIL: buf_str(out, "nil"); break;
    default:
        buf_byte(out, '[');
        for (size_t i = 0; i < r->elements; i++) {
            if (i > 0) buf_byte(out, ' ');
            show(out, r->element[i]);
        }
        buf_byte(out, ']');
    }
}

/* Feeds the text in pieces of this size; what was read, with a ";" behind each. */
static char *read_all(const char *raw, size_t piece)
{
    struct reply_reader *r = reply_reader_new(1 << 16);
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    const struct redisReply *reply;
    int rc = 0;
    for (size_t at = 0, n = strlen(raw); at < n && rc >= 0; at += piece) {
        assert_int_equal(reply_reader_feed(r, raw + at, n - at < piece ? n - at : piece), 0);
        while ((rc = reply_reader_next(r, &reply)) > 0) {
            show(&out, reply);
            buf_byte(&out, ';');
        }
    }
    if (rc < 0) {
        assert_true(*reply_reader_words(r));
        buf_str(&out, "broken");
    }
    buf_byte(&out, '\0');
    reply_reader_free(r);
    return buf_steal(&out);
}

static void reads_whole_and_in_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *read;
    } cases[] = {
        {"+OK\r\n", "+OK;"},
        {"-ERR no\r\n:7\r\n", "-ERR no;7;"},
        {"$5\r\nhello\r\n$0\r\n\r\n", "'hello';'';"},
        {"$-1\r\n*-1\r\n*0\r\n", "nil;nil;[];"},
        {"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nxy\r\n+P\r\n", "['message' 'a' 'xy'];+P;"},
        {"*2\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nk\r\n$-1\r\n*-1\r\n", "[['1-1' ['k' nil]] nil];"},
        {":9223372036854775807\r\n:-5\r\n", "9223372036854775807;-5;"},
        {"*1\r\n$3\r\nabc", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t piece = 1; piece < 60; piece++) {
            char *read = read_all(cases[i].raw, piece);
            assert_string_equal(read, cases[i].read);
            free(read);
        }
}

static void what_is_broken_or_too_much_ends(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "x\r\n",           "$x\r\n", "*99999999\r\n",    "*1048577\r\n",
        "*2147483647\r\n", ":x\r\n", "*20000\r\n:1\r\n", /* more than all of a reply may have */
        ",1.5\r\n",        "#t\r\n",
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *read = read_all(cases[i], 1000);
        if (strcmp(read, "broken") != 0) fail_msg("%s: %s", cases[i], read);
        free(read);
    }
    struct reply_reader *r = reply_reader_new(1000);
    const struct redisReply *reply;
    assert_int_equal(reply_reader_feed(r, "$5000\r\n", 7), 0);
    char piece[1100];
    memset(piece, 'x', sizeof(piece));
    assert_int_equal(reply_reader_next(r, &reply), 0);
    assert_int_equal(reply_reader_feed(r, piece, sizeof(piece)), 0);
    assert_int_equal(reply_reader_next(r, &reply), -1);
    assert_non_null(strstr(reply_reader_words(r), "too large"));
    reply_reader_free(r);
}

/* The memory of one reply serves the next. */
static void large_replies_come_and_go(void **state)
{
    (void)state;
    struct reply_reader *r = reply_reader_new(1 << 24);
    size_t size = 1 << 20;
    char *big = malloc(size);
    assert_non_null(big);
    memset(big, 'b', size);
    for (int i = 0; i < 3; i++) {
        const struct redisReply *reply;
        char head[32];
        int n = snprintf(head, sizeof(head), "*2\r\n$%zu\r\n", size);
        reply_reader_feed(r, head, (size_t)n);
        reply_reader_feed(r, big, size);
        assert_int_equal(reply_reader_next(r, &reply), 0);
        reply_reader_feed(r, "\r\n+end\r\n+small\r\n", 16);
        assert_int_equal(reply_reader_next(r, &reply), 1);
        assert_int_equal(reply->elements, 2);
        assert_int_equal(reply->element[0]->len, size);
        assert_memory_equal(reply->element[0]->str, big, size);
        assert_int_equal(reply_reader_next(r, &reply), 1);
        assert_string_equal(reply->str, "small");
        assert_int_equal(reply_reader_next(r, &reply), 0);
    }
    free(big);
    reply_reader_free(r);
}

/* ---- random damage ------------------------------------------------------------------------ */

static uint64_t seed = UINT64_C(88172645463325252);

static size_t chance(size_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 11) % below;
}

static size_t look_at(const struct redisReply *r)
{
    if (!r) return 0;
    size_t sum = (size_t)r->type;
    if (r->str) sum += strlen(r->str) + (unsigned char)r->str[r->len];
    for (size_t i = 0; i < r->elements; i++)
        sum += look_at(r->element[i]);
    return sum;
}

static void damage(char *p, size_t *n)
{
    static const char marks[] = "0123456789-*$:+\r\n";
    size_t at = chance(*n);
    switch (chance(3)) {
    case 0: p[at] = (char)chance(256); break;
    case 1: p[at] = marks[chance(sizeof(marks) - 1)]; break;
    default: *n = at ? at : 1;
    }
}

static void damage_does_no_harm(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$-1\r\n",
        "-ERR x y\r\n",
        "*-1\r\n",
        "$0\r\n\r\n",
        "%1\r\n+a\r\n:1\r\n",
        ">2\r\n+a\r\n+b\r\n",
        "(123\r\n",
        "=7\r\ntxt:abc\r\n",
    };
    size_t sum = 0;
    for (unsigned i = 0; i < BROKEN; i++) {
        struct reply_reader *r = reply_reader_new(1 << 16);
        for (size_t k = 1 + chance(5); k > 0; k--) {
            char p[256];
            size_t n = (size_t)snprintf(p, sizeof(p), "%s",
                                        seeds[chance(sizeof(seeds) / sizeof(seeds[0]))]);
            for (size_t m = chance(4); m > 0; m--)
                damage(p, &n);
            const struct redisReply *reply;
            int rc = reply_reader_feed(r, p, n);
            while (rc == 0 && (rc = reply_reader_next(r, &reply)) > 0) {
                sum += look_at(reply);
                rc = 0;
            }
            if (rc < 0) break;
        }
        reply_reader_free(r);
    }
    assert_true(sum > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_whole_and_in_pieces),
        cmocka_unit_test(what_is_broken_or_too_much_ends),
        cmocka_unit_test(large_replies_come_and_go),
        cmocka_unit_test(damage_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
