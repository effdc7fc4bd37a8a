#include "protocol/channel.h"

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

static bool ascii_allowed(char c)
{
    return (unsigned char)c > 0x20 && c != 0x7f && c != '*' && c != '{' && c != '}';
}

/* Characters with the property White_Space, and the C1 controls (which hold U+0085). */
static bool code_allowed(uint32_t code)
{
    if (code < 0xa0) return false;
    if (code >= 0x2000 && code <= 0x200a) return false;
    switch (code) {
    case 0x00a0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202f:
    case 0x205f:
    case 0x3000: return false;
    default: return true;
    }
}

/* p is a valid sequence of `length` bytes, at least 2. */
static uint32_t code_of(const char *p, size_t length)
{
    uint32_t code = (unsigned char)p[0] & (0xffU >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)p[i] & 0x3fU);
    return code;
}

bool channel_valid(struct span name)
{
    if (name.n == 0 || name.n > CHANNEL_MAX || name.p[name.n - 1] == '.') return false;
    bool fresh = true; /* at the beginning of a segment */
    for (size_t i = 0; i < name.n;) {
        const char *p = name.p + i;
        size_t length = (unsigned char)*p < 0x80 ? 1 : utf8_length(p, name.n - i);
        if (length == 0) return false;
        if (length == 1 ? !ascii_allowed(*p) : !code_allowed(code_of(p, length))) return false;
        if (*p == '.' && fresh) return false;
        fresh = *p == '.';
        i += length;
    }
    return true;
}
