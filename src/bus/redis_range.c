/* read(): a piece of a stream's past, by XRANGE.
 *
 * It asks from the place itself on, one entry more: if that very entry is still there, or the first
 * one follows on the place at once, nothing between was trimmed. Otherwise XINFO, sent behind, decides
 * whether the piece begins with a loss. */
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "bus/redis_past.h"
#include "protocol/cursor.h"

struct range {
    struct past_job job;
    struct wsbus_pos from;  /* where it began */
    struct wsbus_pos at;    /* everything up to here was looked at */
    struct wsbus_pos until; /* with `bounded` */
    bool bounded;
    bool checked; /* what is missing behind the first place must be told */
    bool asking;  /* XINFO is under way */
    bool full, end;
    uint32_t max_messages, max_bytes, max_scan;
    uint32_t scanned;
    uint64_t asked; /* entries asked for, the place itself included */
    uint64_t bytes;
    struct wsbus_pos first; /* of what was found */
    bool found;
    struct wsbus_message **messages;
    size_t count, size;
};

union place {
    struct wsbus_cursor cursor;
    char room[sizeof(struct wsbus_cursor) + sizeof(struct wsbus_pos)];
};

static struct wsbus_cursor *place_at(union place *p, const struct wsbus_pos *pos)
{
    p->cursor.count = 1;
    p->cursor.pos[0] = *pos;
    return &p->cursor;
}

static void answer(struct range *r, enum wsbus_lost lost, const struct wsbus_pos *lost_until)
{
    const struct wsbus_host *host = r->job.past->host;
    const struct wsbus_answer ok = {.status = WSBUS_OK};
    union place at, until;
    struct wsbus_chunk c = {
        .messages = r->messages,
        .count = r->count,
        .end = r->end,
        .lost = lost,
        .lost_until = lost ? place_at(&until, lost_until) : NULL,
    };

    if (lost && pos_compare(lost_until, &r->at) > 0) r->at = *lost_until;
    c.cursor = place_at(&at, &r->at);
    host->chunk(host, r->job.token, &ok, &c);
    past_done(&r->job);
}

/* ---- what was found --------------------------------------------------------------------------------- */

static void add_message(struct range *r, struct wsbus_message *m)
{
    if (r->count == r->size) {
        r->size = r->size ? r->size * 2 : 64;
        r->messages = mem_grow(r->messages, r->size * sizeof(struct wsbus_message *));
    }
    r->messages[r->count++] = m;
    r->bytes += m->size;
}

static void take_entry(struct range *r, const struct redis_entry *e)
{
    if (!r->found) r->first = e->pos;
    r->found = true;
    r->at = e->pos;
    r->scanned++;
    past_learn(&r->job, e->bytes);
    if (e->count > 0 && past_matches(&r->job, e)) add_message(r, entry_message(e, &r->job.rule));
    r->full = r->count >= r->max_messages || r->bytes >= r->max_bytes || r->scanned >= r->max_scan;
}

/* Is it certain that nothing between the place and the first entry of the reply was trimmed? */
static bool is_proven(const struct range *r, const struct redisReply *reply)
{
    struct wsbus_pos pos, next = redis_id_next(r->at);

    if (reply->elements == 0 || entry_pos(reply->element[0], &pos) < 0) return false;
    return pos_compare(&pos, &next) <= 0;
}

static void take_reply(struct range *r, const struct redisReply *reply)
{
    for (size_t i = 0; i < reply->elements && !r->full; i++) {
        struct redis_entry e;
        (void)entry_parse(reply->element[i], &r->job.past->room, &e);
        if (pos_compare(&e.pos, &r->at) > 0) take_entry(r, &e);
        if (i + 1 == reply->elements) r->end = reply->elements < r->asked;
    }
    if (reply->elements == 0) r->end = true;
    if (r->bounded && pos_compare(&r->at, &r->until) >= 0) r->end = true;
}

static void go_on(struct range *r)
{
    if (r->full || r->end)
        answer(r, WSBUS_NOTHING_LOST, NULL);
    else
        past_again(&r->job);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

static void range_next(struct past_job *j)
{
    struct range *r = CONTAINER_OF(j, struct range, job);
    uint64_t left = r->max_bytes - r->bytes, most = r->max_scan - r->scanned;
    char from[REDIS_ID_MAX], until[REDIS_ID_MAX], count[24];
    const char *argv[] = {"XRANGE", j->name.p, from, "+", "COUNT", count};

    if (r->asking) {
        past_send_info(j);
        return;
    }
    if (r->bounded && pos_compare(&r->at, &r->until) >= 0) {
        r->end = true;
        answer(r, WSBUS_NOTHING_LOST, NULL);
        return;
    }
    if (!j->key && most > r->max_messages - r->count) most = r->max_messages - r->count;
    if (j->key || left > PAST_PIECE) left = PAST_PIECE;
    r->asked = past_count(j, left, most) + 1;
    redis_id_text(&r->at, from);
    if (r->bounded) argv[3] = redis_id_text(&r->until, until);
    snprintf(count, sizeof count, "%llu", (unsigned long long)r->asked);
    past_send(j, 6, argv);
}

/* The first piece begins with a loss, or not; it is here already. */
static void take_info(struct range *r, const struct redisReply *reply, const struct wsbus_pos *from)
{
    struct redis_info i;
    struct wsbus_pos until;
    enum wsbus_lost lost;

    if (info_parse(reply, &i) < 0) {
        past_refuse(&r->job, WSBUS_REFUSED, "the answer to XINFO STREAM was not understood");
        return;
    }
    if (i.exists && pos_compare(from, &i.last) > 0) {
        past_refuse(&r->job, WSBUS_REFUSED, "the stream was deleted and created anew");
        return;
    }
    lost = info_lost(&i, from);
    if (lost == WSBUS_NOTHING_LOST || lost == WSBUS_LOST_UNKNOWN) {
        go_on(r);
        return;
    }
    until = r->found ? pos_before(r->first) : info_floor(&i);
    if (r->bounded && (!i.exists || pos_compare(&until, &r->until) > 0)) until = r->until;
    if (pos_compare(&until, from) < 0) until = *from;
    answer(r, i.exists ? lost : WSBUS_LOST_EXPIRED, &until);
}

static void range_take(struct past_job *j, const struct redisReply *reply)
{
    struct range *r = CONTAINER_OF(j, struct range, job);
    bool proven;

    if (r->asking) {
        r->asking = false;
        r->checked = false;
        take_info(r, reply, &r->from);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        past_refuse(j, WSBUS_REFUSED, "the answer to XRANGE was not understood");
        return;
    }
    proven = is_proven(r, reply);
    if (!proven && r->scanned > 0) {
        answer(r, WSBUS_NOTHING_LOST, NULL); /* the next read will find out */
        return;
    }
    take_reply(r, reply);
    if (r->checked && !proven) {
        r->asking = true;
        past_again(j);
    } else {
        r->checked = false;
        go_on(r);
    }
}

static void range_fail(struct past_job *j, const struct wsbus_answer *a)
{
    j->past->host->chunk(j->past->host, j->token, a, NULL);
}

static void range_free(struct past_job *j)
{
    struct range *r = CONTAINER_OF(j, struct range, job);

    for (size_t i = 0; i < r->count; i++)
        wsbus_message_unref(r->messages[i]);
    free(r->messages);
    free(r);
}

static const struct past_kind range_kind = {range_next, range_take, range_fail, range_free};

void past_read(struct redis_past *p, uint64_t token, const struct wsbus_read *read)
{
    struct range *r = mem_zero(sizeof *r);
    const struct wsbus_pos *from = read->from ? cursor_get(read->from, 0) : NULL;
    const struct wsbus_pos *until = read->until ? cursor_get(read->until, 0) : NULL;

    r->job.kind = &range_kind;
    r->job.token = token;
    r->checked = from != NULL;
    if (from) r->at = r->from = *from;
    r->bounded = until != NULL;
    if (until) r->until = *until;
    r->max_messages = read->max_messages;
    r->max_bytes = read->max_bytes;
    r->max_scan = read->max_scan;
    past_add(p, &r->job, &read->topic, span_of(read->key, read->key_len));
}
