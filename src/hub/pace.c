#include "hub/pace.h"

#define SAVED_US 2000 /* of time that replays did not need, and may use up at once */
#define OWED_US 2000  /* of a long turn that must be waited for */

void pace_init(struct pace *p, unsigned share)
{
    *p = (struct pace){.share = share};
}

void pace_live(struct pace *p, uint64_t now)
{
    p->live_at = now;
}

bool pace_is_live(const struct pace *p, uint64_t now)
{
    return p->live_at && now - p->live_at < PACE_LIVE_US;
}

bool pace_waits(struct pace *p, uint64_t now)
{
    uint64_t earned = (now - p->at) / p->share;

    if (!p->at || earned >= OWED_US + SAVED_US) {
        p->credit = SAVED_US;
        p->at = now;
    } else {
        p->credit += (int64_t)earned;
        p->at += earned * p->share;
    }
    if (p->credit > SAVED_US) p->credit = SAVED_US;
    return p->credit <= 0 && pace_is_live(p, now);
}

void pace_turn(struct pace *p, uint64_t now)
{
    p->left = pace_waits(p, now) ? 0 : PACE_TURN_US;
    if (!pace_is_live(p, now)) return;
    if (p->left > PACE_TURN_LIVE_US) p->left = PACE_TURN_LIVE_US;
    if (p->credit < p->left) p->left = p->credit;
}

bool pace_may(const struct pace *p)
{
    return p->left > 0;
}

void pace_spent(struct pace *p, uint64_t us)
{
    int64_t spent = us < OWED_US + SAVED_US ? (int64_t)us : OWED_US + SAVED_US;

    p->left -= spent;
    p->credit -= spent;
    if (p->credit < -OWED_US) p->credit = -OWED_US;
}
