/* Intrusive doubly linked circular list. The head is a node too; a node on no list points to
 * itself once list_init() or list_del() was called. No ownership, no locking. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define LIST_ITEM(ptr, type, member) CONTAINER_OF(ptr, type, member)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

static inline void list_prepend(struct list *head, struct list *n)
{
    list_append(head->next, n);
}

/* Takes a node off whatever list it is on (none is fine) and makes it a node on no list. */
static inline void list_del(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Takes the first node off, or returns NULL. */
static inline struct list *list_pop(struct list *head)
{
    struct list *n = head->next;
    if (n == head) return NULL;
    list_del(n);
    return n;
}

/* Moves all nodes of `from` to the end of `to`; `from` is empty then. */
static inline void list_move(struct list *to, struct list *from)
{
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
