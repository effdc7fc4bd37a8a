#include "session/flush.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define REPLAY_TURNS 8 /* one of so many is for replays */

static void own_init(struct fan_group *g)
{
    list_init(&g->waiting);
    list_init(&g->turn);
}

void flush_begin(struct flush *f, bool hurry)
{
    f->hurry = hurry;
    pace_turn(&f->pace, clock_us());
}

void flush_init(struct flush *f, struct fanout *fanout)
{
    *f = (struct flush){.fanout = fanout, .gather = mem_alloc(FLUSH_GATHER)};
    list_init(&f->turns);
    list_init(&f->held);
    own_init(&f->control);
    own_init(&f->replays);
    pace_init(&f->pace, PACE_SHARE_WORKER);
    flush_begin(f, false);
}

void flush_done(struct flush *f)
{
    free(f->gather);
}

void flush_node_init(struct flush_node *n)
{
    *n = (struct flush_node){.choked = false};
    list_init(&n->wait);
}

static bool is_own(const struct flush *f, const struct fan_group *g)
{
    return g == &f->control || g == &f->replays;
}

/* Would a session on this list wait for more to come? */
static bool is_held(const struct flush *f, const struct fan_group *g)
{
    return g->waiting_count > 0 ? g->held : f->holds && !is_own(f, g);
}

static void wait_on(struct flush *f, struct flush_node *n, struct fan_group *g)
{
    g->held = is_held(f, g);
    list_append(&g->waiting, &n->wait);
    n->group = g;
    if (g->waiting_count++ > 0) return;
    list_append(g->held ? &f->held : &f->turns, &g->turn);
    if (!g->held && !is_own(f, g)) f->fresh = true;
}

static void wait_off(struct flush *f, struct flush_node *n)
{
    struct fan_group *g = n->group;

    list_del(&n->wait);
    n->group = NULL;
    if (--g->waiting_count > 0) return;
    list_del(&g->turn);
    if (!is_own(f, g)) fanout_release(f->fanout, g);
}

void flush_mark(struct flush *f, struct flush_node *n, struct fan_group *group)
{
    struct fan_group *to = group ? group : &f->control;

    if (n->choked || n->group == to) return;
    if (n->group && is_held(f, to) != n->group->held) {
        if (is_held(f, to)) return; /* it has its turn sooner where it is */
        wait_off(f, n);
    } else if (n->group) {
        /* Half, so that a session which many groups call is not sent to the end each time. */
        if (to->waiting_count >= n->group->waiting_count / 2) return;
        wait_off(f, n);
    }
    wait_on(f, n, to);
}

void flush_drop(struct flush *f, struct flush_node *n)
{
    if (n->group) wait_off(f, n);
}

void flush_hold(struct flush *f)
{
    f->holds = true;
    f->fresh = false;
}

void flush_let_go(struct flush *f)
{
    struct list *n;

    f->holds = false;
    while ((n = list_pop(&f->held))) {
        LIST_ITEM(n, struct fan_group, turn)->held = false;
        list_append(&f->turns, n);
        f->fresh = true;
    }
}

static struct fan_group *next_group(struct flush *f)
{
    struct list *n = list_pop(&f->turns);

    list_append(&f->turns, n);
    return LIST_ITEM(n, struct fan_group, turn);
}

static bool may_replay(const struct flush *f)
{
    return f->hurry || pace_may(&f->pace);
}

struct flush_node *flush_next(struct flush *f)
{
    struct flush_node *n;
    struct fan_group *g;

    if (list_empty(&f->turns)) return NULL;
    g = next_group(f);
    if (g == &f->replays && (!may_replay(f) || ++f->passed % REPLAY_TURNS != 0)) g = next_group(f);
    if (g == &f->replays) {
        if (!may_replay(f)) return NULL;
        f->began = clock_us();
    }
    n = LIST_ITEM(g->waiting.next, struct flush_node, wait);
    wait_off(f, n);
    return n;
}

void flush_done_with(struct flush *f)
{
    if (!f->began) return;
    pace_spent(&f->pace, clock_us() - f->began);
    f->began = 0;
}

enum flush_state flush_state(struct flush *f)
{
    const struct list *first = f->turns.next;

    if (list_empty(&f->turns)) return FLUSH_IDLE;
    if (first != &f->replays.turn || first->next != &f->turns || f->hurry) return FLUSH_READY;
    return pace_waits(&f->pace, clock_us()) ? FLUSH_PAUSED : FLUSH_READY;
}

/* What is to be written of the frame at the head; NULL: there is none. */
static const struct frame *next_form(struct flush *f, const struct outq *q,
                                     const struct transport *t)
{
    const struct frame *frame = outq_head(q);

    if (!frame || !f->packer || t->window_bits == 0) return frame;
    return packer_form(f->packer, frame, t->window_bits);
}

static void count(struct flush *f, const struct frame *frame, const struct frame *form)
{
    f->frames += frame->count;
    f->bytes += form->len;
    if (form == frame) return;
    f->packed.frames += frame->count;
    f->packed.bytes += form->len;
    f->packed.plain += frame->len;
}

enum transport_result flush_write(struct flush *f, struct outq *q, struct transport *t)
{
    const struct frame *form = next_form(f, q, t), *next;
    struct slip *slip = outq_take(q);
    enum transport_result result;
    size_t n = 0;

    next = next_form(f, q, t);
    if (!next || form->len + next->len > FLUSH_GATHER) {
        count(f, slip->frame, form);
        result = t->ops->write(t, form->bytes, form->len);
        slip_unref(slip);
        return result;
    }
    for (;;) {
        memcpy(f->gather + n, form->bytes, form->len);
        n += form->len;
        count(f, slip->frame, form);
        slip_unref(slip);
        form = next_form(f, q, t);
        if (!form || n + form->len > FLUSH_GATHER) break;
        slip = outq_take(q);
    }
    return t->ops->write(t, f->gather, n);
}
