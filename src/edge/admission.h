/* How many connections the process takes, and whether it takes new ones at all: shared by all
 * workers. Any thread. */
#ifndef EDGE_ADMISSION_H
#define EDGE_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Beyond the limit so many more are accepted, to be told 503 (or how the process is: a probe of
 * its health must not fail because it is busy). Others are dropped. */
#define ADMISSION_EXTRA 64

/* Answers over HTTP that are on their way at the same time, fewer where the process may not open
 * many files. Each may need two more descriptors: of the file, and of its sink. */
#define ADMISSION_ANSWERS 512

/* Connections of the admin listener; they count nowhere else. */
#define ADMISSION_ADMIN 32

enum admission_verdict {
    ADMISSION_YES,
    ADMISSION_FULL, /* serve it, but no upgrade */
    ADMISSION_NO,   /* not even that */
};

struct admission {
    atomic_uint_fast64_t open;
    atomic_uint_fast64_t answers;
    atomic_uint_fast64_t admin;
    atomic_uint_fast64_t refusing;  /* below the limit, but only to be told no */
    atomic_uint_fast64_t half_open; /* see edge/half_open.h */
    atomic_uint_fast64_t full_at;   /* of the bucket of new connections */
    uint64_t cost;
    uint64_t limit, answer_limit;
    atomic_bool draining;
};

/* Raises or lowers the process's file limit to what `wanted` connections need (with a reserve for
 * everything else) and sets the limit to what the system allows. Returns that limit, at least 1. */
uint64_t admission_init(struct admission *a, uint64_t wanted, uint64_t per_second);

/* Every answer but ADMISSION_NO needs one admission_leave(). */
enum admission_verdict admission_enter(struct admission *a, bool admin);
void admission_leave(struct admission *a, bool admin);

/* May one more of those be served that are told no for another reason? ADMISSION_EXTRA may at the
 * same time; true needs one admission_refused(). */
bool admission_refuse(struct admission *a);
void admission_refused(struct admission *a);

/* Is there one left of the new connections of this second? `now` in ms. */
bool admission_pace(struct admission *a, uint64_t now);

/* True needs one admission_answered(). */
bool admission_answer(struct admission *a);
void admission_answered(struct admission *a);

#endif
