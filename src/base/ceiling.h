/* The memory ceiling of the process (limits.memory_bytes): when must something go that waits for
 * clients?
 *
 * What counts is what the kernel says that the process holds. But memory that is freed is not given
 * back at once, and looking is a system call: so those who hold what can go count it
 * (ceiling_count()), and a look turns into how much of that there may be. Below the ceiling it is
 * what there is and the room that is left. At the ceiling it is a little less than what there is,
 * and stays so as long as the process does not grow: what is freed is used again.
 *
 * One for the process; any thread. Counting is in steps of CEILING_STEP for each thread. */
#ifndef BASE_CEILING_H
#define BASE_CEILING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CEILING_STEP 32768

/* 0: none, which is how it begins. Before other threads are started. */
void ceiling_set(uint64_t bytes);
bool ceiling_is_set(void);

/* So many bytes more (or less) are held that could go. */
void ceiling_count(ptrdiff_t n);
size_t ceiling_counted(void);

/* Is there more than there may be? Looks when the room is used up, and now and then. */
bool ceiling_over(uint64_t now);
/* The process is above its ceiling although all has gone that could: take no newcomers. */
bool ceiling_crowded(void);

/* For tests: instead of asking the kernel. NULL: ask it. */
void ceiling_pretend(uint64_t (*resident)(void));

#endif
