/* Replies for tests, written as RESP with spaces for line ends: "*2 $3 1-0 *2 $4 data $1 x". */
#ifndef TESTS_UNIT_REDIS_TEXT_H
#define TESTS_UNIT_REDIS_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

/* For freeReplyObject(). A bulk string's length is counted here: "$ 1-0". "-WORDS_OF_AN_ERROR" and
 * "$ two_words" have underscores where there are spaces. */
static redisReply *redis_text(const char *text)
{
    redisReader *reader = redisReaderCreate();
    char line[4096];
    void *reply = NULL;

    while (*text) {
        size_t n = strcspn(text, " ");
        int len;
        if (n == 1 && *text == '$') {
            text += 2;
            n = strcspn(text, " ");
            len = snprintf(line, sizeof line, "$%zu\r\n%.*s\r\n", n, (int)n, text);
        } else {
            len = snprintf(line, sizeof line, "%.*s\r\n", (int)n, text);
        }
        for (int i = 0; i < len; i++)
            if (line[i] == '_') line[i] = ' ';
        assert_int_equal(redisReaderFeed(reader, line, (size_t)len), REDIS_OK);
        text += n;
        text += *text == ' ';
    }
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(reader);
    return reply;
}

#endif
