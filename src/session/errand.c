#include "session/errand.h"

#include <stdlib.h>

#include "base/mem.h"

struct errand *errand_new(struct session *s, enum errand_kind kind, struct span channel,
                          struct span id)
{
    struct errand *e = mem_zero(sizeof *e + channel.n + id.n);

    e->session = s;
    e->number = worker_number(s->w);
    e->kind = (uint8_t)kind;
    e->channel_len = (uint8_t)channel.n;
    e->id_len = (uint16_t)id.n;
    memcpy(e->text, channel.p, channel.n);
    if (id.n) memcpy(e->text + channel.n, id.p, id.n);
    list_append(&s->errands, &e->node);
    map_insert(&s->w->errands, &e->by_number, hash_u64(e->number));
    return e;
}

struct errand *errand_find(struct session_worker *w, uint64_t number)
{
    struct map_node *n = map_find(&w->errands, hash_u64(number));

    for (; n; n = map_again(n)) {
        struct errand *e = CONTAINER_OF(n, struct errand, by_number);
        if (e->number == number) return e;
    }
    return NULL;
}

struct span errand_channel(const struct errand *e)
{
    return span_of(e->text, e->channel_len);
}

struct span errand_id(const struct errand *e)
{
    return span_of(e->id_len ? e->text + e->channel_len : NULL, e->id_len);
}

void errand_free(struct errand *e)
{
    struct session *s = e->session;

    if (e->held) {
        s->histories_count--;
        mail_free(&e->held->item);
    } else if (e->kind == ERRAND_HISTORY) {
        s->history_open = false;
    }
    map_remove(&s->w->errands, &e->by_number);
    list_del(&e->node);
    free(e);
}

static void errand_error(struct errand *e, enum error_code code)
{
    struct reply_error error = {.id = errand_id(e), .channel = errand_channel(e), .code = code};
    struct session *s = e->session;

    session_error(s, &error);
    errand_free(e);
}

/* ---- history --------------------------------------------------------------------------------- */

void errand_history(struct errand *e, unsigned bus, struct mail_ask *mail)
{
    struct session *s = e->session;

    e->bus = (uint16_t)bus;
    e->held = mail;
    mail->id = e->number;
    list_del(&e->node);
    list_append(&s->histories, &e->node);
    s->histories_count++;
    errands_history(s);
}

static void send_next(struct session *s)
{
    struct errand *e = LIST_ITEM(s->histories.next, struct errand, node);

    if (!worker_post(s->w, e->bus, &e->held->item)) {
        errand_error(e, ERR_BUSY);
        return;
    }
    e->held = NULL;
    s->histories_count--;
    s->history_open = true;
    list_del(&e->node);
    list_append(&s->errands, &e->node);
}

void errands_history(struct session *s)
{
    while (!list_empty(&s->histories) && !s->history_open && session_room(s))
        send_next(s);
}

/* ---- all of a session ------------------------------------------------------------------------ */

static struct errand *first_of(struct session *s)
{
    struct list *from = list_empty(&s->errands) ? &s->histories : &s->errands;

    return list_empty(from) ? NULL : LIST_ITEM(from->next, struct errand, node);
}

void errands_forget(struct session *s)
{
    struct errand *e;

    while ((e = first_of(s)))
        errand_free(e);
}

void errands_fail(struct session *s)
{
    struct errand *e;

    while ((e = first_of(s)))
        errand_error(e, e->kind == ERRAND_PUBLISH ? ERR_OUTCOME_UNKNOWN : ERR_BUS_UNAVAILABLE);
}
