#include "bus/kafka_pos.h"

#include <stdbool.h>
#include <string.h>

int kafka_pos_parse(const char *text, size_t len, struct wsbus_pos *ret)
{
    uint64_t offset = 0;
    bool start = len == 2 && memcmp(text, "-1", 2) == 0;
    if (!start) {
        if (len == 0 || (len > 1 && text[0] == '0')) return -1;
        for (size_t i = 0; i < len; i++) {
            if (text[i] < '0' || text[i] > '9') return -1;
            if (__builtin_mul_overflow(offset, 10U, &offset) ||
                __builtin_add_overflow(offset, (uint64_t)(text[i] - '0'), &offset))
                return -1;
        }
        if (offset >= INT64_MAX) return -1;
    }
    ret->epoch = 0;
    ret->hi = 0;
    ret->lo = start ? 0 : offset + 1;
    return 0;
}

size_t kafka_pos_format(const struct wsbus_pos *pos, char *buf)
{
    char reverse[20];
    size_t n = 0;
    if (pos->lo == 0) {
        memcpy(buf, "-1", 2);
        return 2;
    }
    uint64_t offset = pos->lo - 1;
    do
        reverse[n++] = (char)('0' + offset % 10);
    while ((offset /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        buf[i] = reverse[n - 1 - i];
    return n;
}
