/* A token bucket that is one number: the time at which it will be full again. Taking from it moves
 * that time forward by what the thing costs; what would move it further than the bucket is deep is
 * refused. Nothing runs while nobody takes. Pure; time is handed in, in ns. */
#ifndef BASE_BUCKET_H
#define BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define BUCKET_S UINT64_C(1000000000)
#define BUCKET_MS UINT64_C(1000000)
#define BUCKET_DEPTH (5 * BUCKET_S) /* so many seconds' worth may come at once */

/* What one of so many in a second costs; 0: they are free, there is no limit. */
static inline uint64_t bucket_cost(uint64_t per_second)
{
    if (per_second == 0) return 0;
    return per_second < BUCKET_S ? BUCKET_S / per_second : 1;
}

/* False: that is too much now, and nothing was taken. A full bucket gives any amount. */
static inline bool bucket_take(uint64_t *full_at, uint64_t cost, uint64_t now)
{
    if (*full_at <= now) {
        *full_at = now + cost;
        return true;
    }
    if (*full_at + cost - now > BUCKET_DEPTH) return false;
    *full_at += cost;
    return true;
}

/* After a refusal: ns until the same can be taken. */
static inline uint64_t bucket_wait(uint64_t full_at, uint64_t cost, uint64_t now)
{
    uint64_t level = full_at > now ? full_at - now : 0;
    uint64_t over = level + cost > BUCKET_DEPTH ? level + cost - BUCKET_DEPTH : 0;
    return over < level ? over : level;
}

#endif
