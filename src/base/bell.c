#include "base/bell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HELD_MOST 16u /* bells; what is rung beyond that is rung at once */

struct held {
    bool on;
    unsigned count;
    const struct bell *list[HELD_MOST];
};

static _Thread_local struct held held;

int bell_open(struct bell *b)
{
    b->visit = NULL;
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return b->fd < 0 ? -errno : 0;
}

void bell_close(struct bell *b)
{
    if (b->fd >= 0) close(b->fd);
    b->fd = -1;
}

/* Neither this nor the answer can fail but for reasons that leave the bell as it is to be: one that
 * has been rung so often that the counter is full is readable, one that was not rung has nothing. */
static void ring(const struct bell *b)
{
    (void)!eventfd_write(b->fd, 1);
}

void bell_ring(const struct bell *b)
{
    for (unsigned i = 0; i < held.count; i++)
        if (held.list[i] == b) return;
    if (held.on && held.count < HELD_MOST)
        held.list[held.count++] = b;
    else
        ring(b);
}

void bell_answer(const struct bell *b)
{
    eventfd_t rings;
    (void)!eventfd_read(b->fd, &rings);
}

void bells_hold(void)
{
    held.on = true;
}

void bells_ring(void)
{
    for (unsigned i = 0; i < held.count; i++)
        ring(held.list[i]);
    held.count = 0;
}

/* What is rung during a visit waits for the end of all, and is rung then. */
bool bells_visit(const struct bell *own)
{
    struct held now = held;
    bool mine = false;
    unsigned left = 0;
    held.count = 0;
    for (unsigned i = 0; i < now.count; i++) {
        const struct bell *b = now.list[i];
        if (!b->visit || !b->visit(b->arg)) bell_ring(b);
    }
    for (unsigned i = 0; i < held.count; i++) {
        if (held.list[i] == own)
            mine = true;
        else
            held.list[left++] = held.list[i];
    }
    held.count = left;
    bells_ring();
    return mine;
}

void bells_free(void)
{
    held.on = false;
    bells_ring();
}
