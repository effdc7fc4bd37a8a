#include "base/timers.h"

#define DIGIT 6 /* bits: 64 slots */

void timers_init(struct timers *w, uint64_t now)
{
    w->now = now;
    w->count = 0;
    list_init(&w->late);
    for (int level = 0; level < TIMERS_LEVELS; level++) {
        w->occupied[level] = 0;
        for (int i = 0; i < TIMERS_SLOTS; i++)
            list_init(&w->slot[level][i]);
    }
}

void timer_init(struct timer *t, void (*fn)(struct timer *t))
{
    list_init(&t->node);
    t->due = 0;
    t->fn = fn;
}

bool timer_is_set(const struct timer *t)
{
    return !list_empty(&t->node);
}

/* Takes a timer off its list. The last one of a slot has that slot's head on both sides, which
 * tells where it was without remembering it. */
static void timer_unlink(struct timers *w, struct timer *t)
{
    struct list *next = t->node.next;
    bool last = next == t->node.prev;
    list_del(&t->node);
    uintptr_t head = (uintptr_t)next;
    uintptr_t begin = (uintptr_t)&w->slot[0][0];
    if (!last || head < begin || head >= begin + sizeof(w->slot)) return;
    size_t index = (head - begin) / sizeof(struct list);
    w->occupied[index / TIMERS_SLOTS] &= ~(UINT64_C(1) << index % TIMERS_SLOTS);
}

/* `due` is after w->now. What is beyond the last level's turn waits in its farthest slot, from
 * where it is placed anew. */
static void timer_place(struct timers *w, struct timer *t)
{
    unsigned level = (63U - (unsigned)__builtin_clzll(t->due ^ w->now)) / DIGIT;
    uint64_t digit;
    if (level < TIMERS_LEVELS) {
        digit = t->due >> (level * DIGIT);
    } else {
        level = TIMERS_LEVELS - 1;
        uint64_t farthest = (w->now >> (level * DIGIT)) + TIMERS_SLOTS - 1;
        digit = t->due >> (level * DIGIT);
        if (digit > farthest) digit = farthest;
    }
    digit %= TIMERS_SLOTS;
    list_append(&w->slot[level][digit], &t->node);
    w->occupied[level] |= UINT64_C(1) << digit;
}

void timer_set(struct timers *w, struct timer *t, uint64_t due)
{
    if (timer_is_set(t))
        timer_unlink(w, t);
    else
        w->count++;
    t->due = due;
    if (due <= w->now)
        list_append(&w->late, &t->node);
    else
        timer_place(w, t);
}

void timer_stop(struct timers *w, struct timer *t)
{
    if (!timer_is_set(t)) return;
    timer_unlink(w, t);
    w->count--;
}

/* The slot that begins first after w->now: its beginning in ms, its level in *ret_level. */
static uint64_t next_slot(const struct timers *w, unsigned *ret_level)
{
    uint64_t best = UINT64_MAX;
    for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
        uint64_t bits = w->occupied[level];
        if (!bits) continue;
        uint64_t here = w->now >> (level * DIGIT);
        unsigned turn = (unsigned)(here + 1) % TIMERS_SLOTS;
        if (turn) bits = bits >> turn | bits << (TIMERS_SLOTS - turn);
        uint64_t steps = (uint64_t)__builtin_ctzll(bits) + 1;
        uint64_t begin = (here + steps) << (level * DIGIT);
        if (begin >= best) continue;
        best = begin;
        *ret_level = level;
    }
    return best;
}

uint64_t timers_wait(const struct timers *w)
{
    if (!list_empty(&w->late)) return 0;
    unsigned level;
    uint64_t begin = next_slot(w, &level);
    return begin == UINT64_MAX ? UINT64_MAX : begin - w->now;
}

/* Empties the slot of this level that begins at w->now: into finer slots, or into `due`. */
static void open_slot(struct timers *w, unsigned level, struct list *due)
{
    unsigned digit = (unsigned)(w->now >> (level * DIGIT)) % TIMERS_SLOTS;
    struct list moved;
    list_init(&moved);
    list_move(&moved, &w->slot[level][digit]);
    w->occupied[level] &= ~(UINT64_C(1) << digit);
    struct list *n;
    while ((n = list_pop(&moved))) {
        struct timer *t = LIST_ITEM(n, struct timer, node);
        if (t->due <= w->now)
            list_append(due, n);
        else
            timer_place(w, t);
    }
}

void timers_run(struct timers *w, uint64_t now)
{
    /* All are gathered before the first one is called, so that a callback which sets itself again
     * cannot keep a long jump of time busy. */
    struct list due;
    list_init(&due);
    list_move(&due, &w->late);
    unsigned level;
    uint64_t begin;
    while ((begin = next_slot(w, &level)) <= now && begin != UINT64_MAX) {
        w->now = begin;
        open_slot(w, level, &due);
    }
    if (now > w->now) w->now = now;
    struct list *n;
    while ((n = list_pop(&due))) {
        struct timer *t = LIST_ITEM(n, struct timer, node);
        w->count--;
        t->fn(t);
    }
}
