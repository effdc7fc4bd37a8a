/* A backend of which only the text of positions exists: "<epoch>:<hi>-<lo>". */
#ifndef TESTS_UNIT_FAKE_POS_H
#define TESTS_UNIT_FAKE_POS_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <wsbus/backend.h>

static int fake_pos_parse(const char *text, size_t len, struct wsbus_pos *ret)
{
    char copy[WSBUS_POS_TEXT_MAX];
    int used = 0;
    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL) return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (sscanf(copy, "%" SCNu64 ":%" SCNu64 "-%" SCNu64 "%n", &ret->epoch, &ret->hi, &ret->lo,
               &used) != 3)
        return -1;
    return (size_t)used == len ? 0 : -1;
}

static size_t fake_pos_format(const struct wsbus_pos *pos, char *buf)
{
    char text[WSBUS_POS_TEXT_MAX + 1];
    int n = snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64 "-%" PRIu64, pos->epoch, pos->hi,
                     pos->lo);
    memcpy(buf, text, (size_t)n);
    return (size_t)n;
}

static const struct wsbus_backend fake_backend = {
    .name = "fake",
    .pos_parse = fake_pos_parse,
    .pos_format = fake_pos_format,
};

#endif
