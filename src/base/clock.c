#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

/* Atomic, so that a test may move time while other threads read it. */
static atomic_bool frozen;
static _Atomic uint64_t frozen_ticks;
static _Atomic int64_t frozen_wall;

static int64_t read_ms(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t clock_ticks(void)
{
    if (atomic_load_explicit(&frozen, memory_order_acquire)) return atomic_load(&frozen_ticks);
    return (uint64_t)read_ms(CLOCK_MONOTONIC);
}

int64_t clock_wall(void)
{
    if (atomic_load_explicit(&frozen, memory_order_acquire)) return atomic_load(&frozen_wall);
    return read_ms(CLOCK_REALTIME);
}

static uint64_t read_us(clockid_t id)
{
    struct timespec ts;
    if (atomic_load_explicit(&frozen, memory_order_acquire)) return 1000 * clock_ticks();
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_about_us(void)
{
    return read_us(CLOCK_MONOTONIC_COARSE);
}

void clock_freeze(uint64_t ticks, int64_t wall)
{
    atomic_store(&frozen_ticks, ticks);
    atomic_store(&frozen_wall, wall);
    atomic_store(&frozen, true);
}

void clock_advance(uint64_t ms)
{
    atomic_fetch_add(&frozen_ticks, ms);
    atomic_fetch_add(&frozen_wall, (int64_t)ms);
}

void clock_thaw(void)
{
    atomic_store(&frozen, false);
}

void random_bytes(void *p, uint32_t n)
{
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            perror("wsbus: no random bytes");
            abort();
        }
        at += got;
        n -= (uint32_t)got;
    }
}

uint64_t random_u64(void)
{
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}
