/* What came: each number of each channel at each connection, and how old it was. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdbool.h>
#include <stdint.h>

/* A connection receives the channels first, first+1, … (each of them, modulo total). */
struct tally_line {
    unsigned first;
    uint32_t
        *last; /* the number that came last, by channel; TALLY_GAP: a gap was announced since */
};

#define TALLY_GAP (1U << 31)

void tally_open(unsigned each, unsigned total);
void tally_begin(struct tally_line *l, unsigned first);
/* A message that came so long after it was due. */
void tally_message(struct tally_line *l, unsigned channel, uint32_t number, uint64_t age_us);
void tally_gap(struct tally_line *l, unsigned channel);
/* The stream is over, and had `count` messages in all channels together: what is missing at the end of this
 * line's channels is lost too. */
void tally_end(struct tally_line *l, uint64_t count);
/* The next stream begins: each number counts from 1 again. */
void tally_anew(struct tally_line *l);
void tally_age(uint64_t us);

struct tally {
    uint64_t messages, lost, told, again;
};
extern struct tally tally;
void tally_clear_ages(void);
/* Writes the members of a JSON object, without the braces. */
void tally_print(void);

#endif
