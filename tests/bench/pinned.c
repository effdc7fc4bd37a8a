/* src/base/clock.h where nothing is left to chance: a clock that moves when it is told to, and the same
 * random numbers each time. Takes the place of src/base/clock.c in guard.c, whose counts have to be
 * equal from one run to the next. */
#include "base/clock.h"

#include <string.h>

static uint64_t ticks = 1000000, chance = 1;
static int64_t wall = INT64_C(1700000000000);

uint64_t clock_ticks(void)
{
    return ticks;
}

int64_t clock_wall(void)
{
    return wall;
}

uint64_t clock_us(void)
{
    return ticks * 1000;
}

uint64_t clock_about_us(void)
{
    return clock_us();
}

void clock_freeze(uint64_t to_ticks, int64_t to_wall)
{
    ticks = to_ticks;
    wall = to_wall;
}

void clock_advance(uint64_t ms)
{
    ticks += ms;
    wall += (int64_t)ms;
}

void clock_thaw(void) {}

/* Knuth's MMIX generator; the high bits are the better ones. */
uint64_t random_u64(void)
{
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return chance >> 32 ^ chance << 32;
}

void random_bytes(void *p, uint32_t n)
{
    unsigned char *out = p;
    for (uint32_t i = 0; i < n; i++)
        out[i] = (unsigned char)(random_u64() >> 24);
}
