/* Connection cap and file limit. */
#include "edge/admission.h"

#include <sys/resource.h>

#include "base/bucket.h"

/* Listening sockets, loops, buses, the log, and those who come only to hear "503". */
#define FILE_RESERVE (448 + ADMISSION_ADMIN + ADMISSION_EXTRA)

#define ANSWERS_LEAST 4

uint64_t admission_init(struct admission *a, uint64_t wanted, uint64_t per_second)
{
    atomic_init(&a->open, 0);
    atomic_init(&a->answers, 0);
    atomic_init(&a->admin, 0);
    atomic_init(&a->refusing, 0);
    atomic_init(&a->full_at, 0);
    a->cost = bucket_cost(per_second);
    atomic_init(&a->half_open, 0);
    atomic_init(&a->draining, false);
    a->limit = wanted;
    a->answer_limit = ADMISSION_ANSWERS;
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) < 0) return a->limit;
    /* Lower is as good as higher: libwebsockets sizes its tables by this limit, and containers
     * come with a million and more. */
    rl.rlim_cur = wanted + FILE_RESERVE + 2 * ADMISSION_ANSWERS;
    if (rl.rlim_max != RLIM_INFINITY && rl.rlim_cur > rl.rlim_max) rl.rlim_cur = rl.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &rl) < 0 && getrlimit(RLIMIT_NOFILE, &rl) < 0) return a->limit;
    uint64_t room = rl.rlim_cur > FILE_RESERVE ? rl.rlim_cur - FILE_RESERVE : 1;
    /* Where files are scarce, most of them are for connections. */
    if (a->answer_limit > room / 8) a->answer_limit = room / 8;
    if (a->answer_limit < ANSWERS_LEAST) a->answer_limit = ANSWERS_LEAST;
    room = room > 2 * a->answer_limit ? room - 2 * a->answer_limit : 1;
    if (a->limit > room) a->limit = room;
    return a->limit;
}

enum admission_verdict admission_enter(struct admission *a, bool admin)
{
    if (admin) {
        if (atomic_fetch_add(&a->admin, 1) < ADMISSION_ADMIN) return ADMISSION_YES;
        atomic_fetch_sub(&a->admin, 1);
        return ADMISSION_NO;
    }
    uint64_t before = atomic_fetch_add(&a->open, 1);
    if (before < a->limit) return ADMISSION_YES;
    if (before < a->limit + ADMISSION_EXTRA) return ADMISSION_FULL;
    atomic_fetch_sub(&a->open, 1);
    return ADMISSION_NO;
}

void admission_leave(struct admission *a, bool admin)
{
    atomic_fetch_sub(admin ? &a->admin : &a->open, 1);
}

bool admission_refuse(struct admission *a)
{
    if (atomic_fetch_add(&a->refusing, 1) < ADMISSION_EXTRA) return true;
    atomic_fetch_sub(&a->refusing, 1);
    return false;
}

void admission_refused(struct admission *a)
{
    atomic_fetch_sub(&a->refusing, 1);
}

bool admission_pace(struct admission *a, uint64_t now)
{
    uint64_t before, after;
    if (a->cost == 0) return true;
    before = atomic_load(&a->full_at);
    do {
        after = before;
        if (!bucket_take(&after, a->cost, now * BUCKET_MS)) return false;
    } while (!atomic_compare_exchange_weak(&a->full_at, &before, after));
    return true;
}

bool admission_answer(struct admission *a)
{
    if (atomic_fetch_add(&a->answers, 1) < a->answer_limit) return true;
    atomic_fetch_sub(&a->answers, 1);
    return false;
}

void admission_answered(struct admission *a)
{
    atomic_fetch_sub(&a->answers, 1);
}
