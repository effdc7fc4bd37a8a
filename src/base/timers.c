#include "base/timers.h"

#define DIGIT 8 /* bits: 256 slots */

_Static_assert(TIMERS_WORDS == 4, "next_slot() looks at four");

void timers_init(struct timers *w, uint64_t now)
{
    w->now = now;
    w->count = 0;
    list_init(&w->late);
    for (int level = 0; level < TIMERS_LEVELS; level++) {
        for (int i = 0; i < TIMERS_WORDS; i++)
            w->occupied[level][i] = 0;
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

static void vacate(struct timers *w, unsigned level, unsigned slot)
{
    w->occupied[level][slot / 64] &= ~(UINT64_C(1) << slot % 64);
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
    vacate(w, (unsigned)(index / TIMERS_SLOTS), (unsigned)(index % TIMERS_SLOTS));
}

/* `due` is after w->now. What is beyond the last level's turn waits in its farthest slot, from
 * where it is placed anew. */
static void timer_place(struct timers *w, struct timer *t)
{
    unsigned level = (63U - (unsigned)__builtin_clzll(t->due - w->now)) / DIGIT;
    uint64_t here, steps = TIMERS_SLOTS;

    /* By its distance; where a slot's border lies in between it may be one level more. */
    for (; level < TIMERS_LEVELS; level++) {
        steps = (t->due >> (level * DIGIT)) - (w->now >> (level * DIGIT));
        if (steps < TIMERS_SLOTS) break;
    }
    if (level >= TIMERS_LEVELS) {
        level = TIMERS_LEVELS - 1;
        steps = TIMERS_SLOTS - 1;
    }
    here = w->now >> (level * DIGIT);
    unsigned slot = (unsigned)(here + steps) % TIMERS_SLOTS;
    list_append(&w->slot[level][slot], &t->node);
    w->occupied[level][slot / 64] |= UINT64_C(1) << slot % 64;
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

/* How many slots behind `slot` the next one is that has something in it; 0: none has. */
static unsigned next_occupied(const uint64_t *words, unsigned slot)
{
    unsigned from = (slot + 1) % TIMERS_SLOTS;
    uint64_t bits = words[from / 64] & UINT64_MAX << from % 64;

    for (unsigned i = 0; i <= TIMERS_WORDS; i++) {
        if (bits) {
            unsigned found = (from / 64 + i) % TIMERS_WORDS * 64 + (unsigned)__builtin_ctzll(bits);
            return (found - slot - 1) % TIMERS_SLOTS + 1;
        }
        bits = words[(from / 64 + i + 1) % TIMERS_WORDS];
    }
    return 0;
}

/* When the slot begins that begins first after w->now, in ms; UINT64_MAX: nothing is set. */
static uint64_t next_slot(const struct timers *w)
{
    uint64_t best = UINT64_MAX;
    for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
        const uint64_t *words = w->occupied[level];
        if (!(words[0] | words[1] | words[2] | words[3])) continue;
        uint64_t here = w->now >> (level * DIGIT);
        unsigned steps = next_occupied(words, (unsigned)here % TIMERS_SLOTS);
        uint64_t begin = (here + steps) << (level * DIGIT);
        if (steps > 0 && begin < best) best = begin;
    }
    return best;
}

uint64_t timers_wait(const struct timers *w)
{
    if (!list_empty(&w->late)) return 0;
    uint64_t begin = next_slot(w);
    return begin == UINT64_MAX ? UINT64_MAX : begin - w->now;
}

/* Empties the slot of this level that begins at w->now: into finer slots, or into `due`. */
static void open_slot(struct timers *w, unsigned level, struct list *due)
{
    unsigned slot = (unsigned)(w->now >> (level * DIGIT)) % TIMERS_SLOTS;
    struct list moved;
    list_init(&moved);
    list_move(&moved, &w->slot[level][slot]);
    vacate(w, level, slot);
    struct list *n;
    while ((n = list_pop(&moved))) {
        struct timer *t = LIST_ITEM(n, struct timer, node);
        if (t->due <= w->now)
            list_append(due, n);
        else
            timer_place(w, t);
    }
}

/* Of every level on which one begins at w->now. */
static void open_slots(struct timers *w, struct list *due)
{
    for (unsigned level = 0; level < TIMERS_LEVELS; level++) {
        if (w->now & ((UINT64_C(1) << level * DIGIT) - 1)) return;
        open_slot(w, level, due);
    }
}

void timers_run(struct timers *w, uint64_t now)
{
    /* All are gathered before the first one is called, so that a callback which sets itself again
     * cannot keep a long jump of time busy. */
    struct list due;
    list_init(&due);
    list_move(&due, &w->late);
    uint64_t begin;
    while ((begin = next_slot(w)) <= now && begin != UINT64_MAX) {
        w->now = begin;
        open_slots(w, &due);
    }
    if (now > w->now) w->now = now;
    struct list *n;
    while ((n = list_pop(&due))) {
        struct timer *t = LIST_ITEM(n, struct timer, node);
        w->count--;
        t->fn(t);
    }
}
