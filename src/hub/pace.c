#include "hub/pace.h"

#define SAVED_US 2000 /* of an idle time that may be used up at once */
#define OWED_US 10000 /* of a long turn that must be waited for */

void pace_live(struct pace *p, uint64_t ticks)
{
    p->live_at = ticks;
}

bool pace_is_live(const struct pace *p, uint64_t ticks)
{
    return p->live_at && ticks - p->live_at < PACE_LIVE_MS;
}

bool pace_may(struct pace *p, uint64_t wall, uint64_t work)
{
    if (p->wall) p->credit += (int64_t)(wall - p->wall) / 2 - (int64_t)(work - p->work);
    if (p->credit > SAVED_US) p->credit = SAVED_US;
    if (p->credit < -OWED_US) p->credit = -OWED_US;
    p->wall = wall;
    p->work = work;
    return p->credit >= 0;
}
