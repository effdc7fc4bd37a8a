#include "base/text.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* The second byte decides about overlong forms, surrogates and the upper end. */
static bool utf8_second_ok(unsigned char first, unsigned char second)
{
    switch (first) {
    case 0xe0: return second >= 0xa0;
    case 0xed: return second < 0xa0;
    case 0xf0: return second >= 0x90;
    case 0xf4: return second < 0x90;
    default: return true;
    }
}

size_t utf8_length(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n == 0) return 0;
    unsigned char first = u[0];
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((u[i] & 0xc0) != 0x80) return 0;
    return utf8_second_ok(first, u[1]) ? length : 0;
}

bool utf8_valid(struct span s)
{
    size_t i = 0;
    while (i < s.n) {
        uint64_t word;
        while (s.n - i >= sizeof(word)) {
            memcpy(&word, s.p + i, sizeof(word));
            if (word & HIGH_BITS) break;
            i += sizeof(word);
        }
        if (i == s.n) break;
        size_t length = utf8_length(s.p + i, s.n - i);
        if (length == 0) return false;
        i += length;
    }
    return true;
}

/* The table 3-7 of the Unicode standard: how many bytes follow the first one, and between which
 * bounds the next one is. */
static bool utf8_begin(struct utf8 *u, unsigned char first)
{
    if (first < 0xc2 || first > 0xf4) return false;
    u->left = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    u->low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    u->high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return true;
}

bool utf8_more(struct utf8 *u, struct span piece)
{
    const unsigned char *p = (const unsigned char *)piece.p, *end = p + piece.n;
    while (p < end) {
        uint64_t word;
        while (u->left == 0 && (size_t)(end - p) >= sizeof(word)) {
            memcpy(&word, p, sizeof(word));
            if (word & HIGH_BITS) break;
            p += sizeof(word);
        }
        if (p == end) break;
        unsigned char c = *p++;
        if (u->left > 0) {
            if (c < u->low || c > u->high) return false;
            u->left--;
            u->low = 0x80;
            u->high = 0xbf;
        } else if (c >= 0x80 && !utf8_begin(u, c)) {
            return false;
        }
    }
    return true;
}

size_t utf8_put(char *p, uint32_t code)
{
    if (code < 0x80) {
        p[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        p[0] = (char)(0xc0 | code >> 6);
        p[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        p[0] = (char)(0xe0 | code >> 12);
        p[1] = (char)(0x80 | (code >> 6 & 0x3f));
        p[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    p[0] = (char)(0xf0 | code >> 18);
    p[1] = (char)(0x80 | (code >> 12 & 0x3f));
    p[2] = (char)(0x80 | (code >> 6 & 0x3f));
    p[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_encoded(size_t n)
{
    return n / 3 * 4 + (n % 3 > 0 ? 4 : 0);
}

size_t base64_encode(char *out, struct span s)
{
    const unsigned char *u = (const unsigned char *)s.p;
    char *to = out;
    size_t i = 0;
    for (; s.n - i >= 3; i += 3) {
        uint32_t v = (uint32_t)u[i] << 16 | (uint32_t)u[i + 1] << 8 | u[i + 2];
        *to++ = base64_digits[v >> 18];
        *to++ = base64_digits[v >> 12 & 63];
        *to++ = base64_digits[v >> 6 & 63];
        *to++ = base64_digits[v & 63];
    }
    if (i < s.n) {
        bool two = s.n - i == 2;
        uint32_t v = (uint32_t)u[i] << 16 | (two ? (uint32_t)u[i + 1] << 8 : 0);
        *to++ = base64_digits[v >> 18];
        *to++ = base64_digits[v >> 12 & 63];
        *to++ = two ? base64_digits[v >> 6 & 63] : '=';
        *to++ = '=';
    }
    return (size_t)(to - out);
}

/* 0 to 63, or 64 and more for anything else, so that one test on four digits or'ed together
 * finds a wrong one. */
static uint32_t base64_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z') return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9') return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* The last four characters, which end in `pad` (1 or 2) signs '='. */
static int base64_tail(char *out, const unsigned char *u, size_t pad)
{
    uint32_t a = base64_digit(u[0]), b = base64_digit(u[1]);
    uint32_t c = pad == 1 ? base64_digit(u[2]) : 0;
    uint32_t v = a << 18 | b << 12 | c << 6;
    if ((a | b | c) > 63 || (v & (pad == 1 ? 0xffU : 0xffffU)) != 0) return -1;
    out[0] = (char)(v >> 16);
    if (pad == 1) out[1] = (char)(v >> 8 & 0xff);
    return 0;
}

int64_t base64_decode(char *out, struct span s)
{
    const unsigned char *u = (const unsigned char *)s.p;
    if (s.n % 4 != 0) return -1;
    if (s.n == 0) return 0;
    size_t pad = u[s.n - 1] != '=' ? 0 : u[s.n - 2] != '=' ? 1 : 2;
    size_t whole = s.n - (pad > 0 ? 4 : 0);
    char *to = out;
    for (size_t i = 0; i < whole; i += 4) {
        uint32_t a = base64_digit(u[i]), b = base64_digit(u[i + 1]);
        uint32_t c = base64_digit(u[i + 2]), d = base64_digit(u[i + 3]);
        if ((a | b | c | d) > 63) return -1;
        uint32_t v = a << 18 | b << 12 | c << 6 | d;
        *to++ = (char)(v >> 16);
        *to++ = (char)(v >> 8 & 0xff);
        *to++ = (char)(v & 0xff);
    }
    if (pad > 0 && base64_tail(to, u + whole, pad) != 0) return -1;
    return (to - out) + (pad > 0 ? (int64_t)(3 - pad) : 0);
}

bool token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c);
}
