/* How far a JSON string's inside stands for itself. Pure; reads nothing at or behind `end`.
 *
 * Every text that comes in is gone over by this, several times, and every one that has to be escaped:
 * 16 bytes at a time where the processor is known to have SSE2, as every x86-64 has, 8 elsewhere. */
#ifndef BASE_PLAIN_H
#define BASE_PLAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define PLAIN_EACH(b) (UINT64_C(0x0101010101010101) * (b))

/* A byte inside a string that stands for itself and needs no look at its neighbours. */
static inline bool plain_is(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* Nonzero if one of eight bytes is not plain. Each subtraction borrows into the top bit of a byte
 * that is too small; a false alarm can only come after a true one. */
static inline uint64_t plain_special(uint64_t w)
{
    uint64_t quote = w ^ PLAIN_EACH('"');
    uint64_t slash = w ^ PLAIN_EACH('\\');
    uint64_t low = (w - PLAIN_EACH(0x20)) | (quote - PLAIN_EACH(1)) | (slash - PLAIN_EACH(1));
    return (low | w) & PLAIN_EACH(0x80);
}

/* The first byte that is not plain, or end. */
static inline const char *plain_skip(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        /* Signed: a byte from 0x80 on is less too. */
        __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        int special = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), other));
        if (special != 0) return p + __builtin_ctz((unsigned)special);
    }
#endif
    while (end - p >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        uint64_t special = plain_special(w);
        if (special != 0) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + __builtin_ctzll(special) / 8;
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < end && plain_is(*p))
        p++;
    return p;
}

#endif
