#include "base/inbox.h"

void inbox_init(struct inbox *in, size_t cap, void (*wake)(void *arg), void *arg)
{
    atomic_init(&in->head, NULL);
    atomic_init(&in->bytes, 0);
    atomic_init(&in->refused, false);
    in->cap = cap;
    in->wake = wake;
    in->arg = arg;
}

/* A stack that is only ever taken whole: no item can come back while a push looks at it. */
static void inbox_push(struct inbox *in, struct inbox_item *item)
{
    struct inbox_item *head = atomic_load_explicit(&in->head, memory_order_relaxed);
    do
        item->next = head;
    while (!atomic_compare_exchange_weak_explicit(&in->head, &head, item, memory_order_acq_rel,
                                                  memory_order_relaxed));
    if (!head) in->wake(in->arg);
}

static bool inbox_admit(struct inbox *in, size_t n)
{
    size_t bytes = atomic_load(&in->bytes);
    do {
        if (bytes != 0 && (bytes >= in->cap || n > in->cap - bytes)) return false;
    } while (!atomic_compare_exchange_weak(&in->bytes, &bytes, bytes + n));
    return true;
}

bool inbox_post(struct inbox *in, struct inbox_item *item)
{
    if (!inbox_admit(in, item->bytes)) {
        /* Once more after the refusal can be seen: if there is still no room, a settling that
         * sees the refusal is yet to come. */
        atomic_store(&in->refused, true);
        if (!inbox_admit(in, item->bytes)) return false;
    }
    inbox_push(in, item);
    return true;
}

void inbox_force(struct inbox *in, struct inbox_item *item)
{
    atomic_fetch_add(&in->bytes, item->bytes);
    inbox_push(in, item);
}

struct inbox_item *inbox_take(struct inbox *in)
{
    struct inbox_item *item = atomic_exchange_explicit(&in->head, NULL, memory_order_acq_rel);
    struct inbox_item *oldest = NULL;
    while (item) {
        struct inbox_item *next = item->next;
        item->next = oldest;
        oldest = item;
        item = next;
    }
    return oldest;
}

bool inbox_settle(struct inbox *in, size_t bytes)
{
    size_t left = atomic_fetch_sub(&in->bytes, bytes) - bytes;
    if (left > in->cap / 2 || !atomic_load(&in->refused)) return false;
    return atomic_exchange(&in->refused, false);
}
