/* The message that all of this folder's programs send and know again:
 *
 *     {"c":"CCCCCCC","s":"SSSSSSSS","t":"TTTTTTTTTTTTTTTT",…}
 *
 * C the channel; S its number in the channel, from 1; T when it was due, in us of the monotonic clock,
 * whether or not it could be sent then. All have leading zeros: where a server puts the message the fields
 * are found without looking, so that 10 million of them in a second can be checked. */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_MARK "{\"c\":\""
enum { TEXT_MARK_LEN = 6, TEXT_CHANNEL = 6, TEXT_NUMBER = 20, TEXT_DUE = 35, TEXT_HEAD = 53 };
enum { TEXT_MAX = 65536 };
/* What follows the head: one letter again and again, or prices that hardly repeat. */
enum text_form { TEXT_PLAIN, TEXT_PRICES };

/* A message of about `size` bytes, at least TEXT_HEAD + 7, at most TEXT_MAX + 128. Returns its length. */
size_t text_message(char *out, size_t size, enum text_form form, const uint64_t fields[3]);

/* `count` digits. */
static inline uint64_t text_digits(const char *p, unsigned count)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < count; i++)
        n = n * 10 + (uint64_t)(p[i] - '0');
    return n;
}

#endif
