/* Time, in one place so that a test can set it. Safe from any thread (the test's setters are not). */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_ticks(void); /* monotonic, milliseconds */
uint64_t clock_us(void);    /* the same in microseconds */
/* The same by the clock of the scheduler, up to 10 ms behind: a fifth of the price, for what is done with
 * each message. */
uint64_t clock_about_us(void);
int64_t clock_wall(void); /* milliseconds since the Unix epoch */

/* For tests: from now on all clocks stand still at these values, until clock_thaw(). */
void clock_freeze(uint64_t ticks, int64_t wall);
void clock_advance(uint64_t ms);
void clock_thaw(void);

/* Random bytes of the kernel; ends the process if there are none. */
void random_bytes(void *p, uint32_t n);
uint64_t random_u64(void);

#endif
