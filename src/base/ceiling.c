#include "base/ceiling.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define LOOK_MS 50
#define TRIM_MS 5000

static struct {
    uint64_t limit;
    uint64_t (*resident)(void);
    int statm;
    atomic_size_t counted;
    atomic_size_t allowed; /* of what is counted */
    atomic_uint_fast64_t looked;
    atomic_bool crowded;
    /* Of the one who looks. */
    atomic_flag looking;
    atomic_uint_fast64_t mark; /* what there was when `allowed` was last lowered; 0: it follows
                                  the room. Written by the one who looks, read by all */
    uint64_t trimmed;
} ceiling = {.statm = -1, .allowed = SIZE_MAX, .looking = ATOMIC_FLAG_INIT};

static _Thread_local ptrdiff_t mine;

static uint64_t ask_kernel(void)
{
    char text[64] = "";
    char *end;

    if (ceiling.statm < 0 || pread(ceiling.statm, text, sizeof text - 1, 0) <= 0) return 0;
    (void)strtoull(text, &end, 10); /* all; the second is what is resident */
    return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

void ceiling_set(uint64_t bytes)
{
    ceiling.limit = bytes;
    ceiling.mark = ceiling.trimmed = 0;
    atomic_store(&ceiling.allowed, SIZE_MAX);
    atomic_store(&ceiling.looked, 0);
    atomic_store(&ceiling.crowded, false);
    if (!ceiling.resident) ceiling.resident = ask_kernel;
    if (bytes > 0 && ceiling.statm < 0)
        ceiling.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

bool ceiling_is_set(void)
{
    return ceiling.limit > 0;
}

void ceiling_pretend(uint64_t (*resident)(void))
{
    ceiling.resident = resident ? resident : ask_kernel;
}

/* ---- counting -------------------------------------------------------------------------------- */

void ceiling_count(ptrdiff_t n)
{
    mine += n;
    if (mine < CEILING_STEP && mine > -CEILING_STEP) return;
    atomic_fetch_add_explicit(&ceiling.counted, (size_t)mine, memory_order_relaxed);
    mine = 0;
}

/* Threads count in steps, so that for a moment the sum may be below zero. */
size_t ceiling_counted(void)
{
    size_t n = atomic_load_explicit(&ceiling.counted, memory_order_relaxed);

    return n > SIZE_MAX / 2 ? 0 : n;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void lower(uint64_t resident, size_t from, uint64_t by)
{
    size_t n = (size_t)by;

    atomic_store(&ceiling.allowed, from > n ? from - n : 0);
    if (ceiling.mark == 0)
        log_warn(log_event("memory_ceiling"), log_i("resident", resident),
                 log_i("limit", ceiling.limit));
    ceiling.mark = resident;
}

/* What was freed lies between what is in use: ask for it back, seldom, since that takes time. */
static void trim(uint64_t now)
{
    if (now - ceiling.trimmed < TRIM_MS) return;
    ceiling.trimmed = now;
    malloc_trim(0);
}

static void look(uint64_t now)
{
    uint64_t percent = ceiling.limit / 100, resident = ceiling.resident();
    size_t counted = ceiling_counted(), allowed = atomic_load(&ceiling.allowed);

    if (resident <= 95 * percent && (ceiling.mark == 0 || resident < 90 * percent)) {
        atomic_store(&ceiling.allowed, counted + (size_t)(96 * percent - resident));
        ceiling.mark = 0;
    } else if (ceiling.mark == 0) {
        lower(resident, counted, 5 * percent);
    } else if (resident > ceiling.mark + percent / 2) {
        lower(resident, counted < allowed ? counted : allowed, resident - ceiling.mark);
    }
    atomic_store(&ceiling.crowded, resident > 103 * percent);
    if (resident > 101 * percent && counted <= atomic_load(&ceiling.allowed)) trim(now);
}

bool ceiling_over(uint64_t now)
{
    bool over = ceiling_counted() > atomic_load_explicit(&ceiling.allowed, memory_order_relaxed);
    uint64_t looked = atomic_load_explicit(&ceiling.looked, memory_order_relaxed);

    if (ceiling.limit == 0) return false;
    /* `allowed` is a guess where it follows the room, and certain at the ceiling. */
    if (now - looked < LOOK_MS && (!over || ceiling.mark > 0)) return over;
    if (atomic_flag_test_and_set(&ceiling.looking)) return over;
    atomic_store(&ceiling.looked, now);
    look(now);
    atomic_flag_clear(&ceiling.looking);
    return ceiling_counted() > atomic_load(&ceiling.allowed);
}

bool ceiling_crowded(void)
{
    return atomic_load_explicit(&ceiling.crowded, memory_order_relaxed);
}
