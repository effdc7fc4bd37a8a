/* locate(): XINFO gives the ends and what was lost; what has to be counted is counted back from the
 * end by XREVRANGE, in pieces. */
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "bus/redis_past.h"
#include "protocol/cursor.h"

struct finder {
    struct past_job job;
    enum wsbus_place place;
    struct wsbus_pos cursor; /* WSBUS_AFTER */
    bool foreign;            /* the cursor names partitions that are not there */
    struct wsbus_pos until;  /* WSBUS_LAST, with `bounded` */
    bool bounded;
    int64_t time;
    uint64_t count, max_messages;
    /* found so far */
    struct wsbus_pos at;
    enum wsbus_lost lost;
    bool limited;
    /* counting back */
    bool counting;
    struct wsbus_pos upper; /* to be looked at next, and below */
    struct wsbus_pos lower; /* nothing at or below is counted */
    uint64_t wanted;        /* stop behind so many that match */
    bool one_more;          /* ... but find out whether there is another one */
    uint64_t max_scan;      /* 0: none */
    uint64_t matched, scanned, asked;
    struct wsbus_pos oldest; /* the place before the last that matched */
};

static void answer(struct finder *f)
{
    const struct wsbus_host *host = f->job.past->host;
    const struct wsbus_answer ok = {.status = WSBUS_OK};
    union {
        struct wsbus_cursor cursor;
        char room[sizeof(struct wsbus_cursor) + sizeof(struct wsbus_pos)];
    } place;
    struct wsbus_located l = {.lost = f->lost, .limited = f->limited};

    place.cursor.count = 1;
    place.cursor.pos[0] = f->at;
    l.cursor = &place.cursor;
    host->located(host, f->job.token, &ok, &l);
    past_done(&f->job);
}

/* ---- counting back ---------------------------------------------------------------------------------- */

/* Sends the next piece, or answers. `end`: nothing is left above `lower`. */
static void count_on(struct finder *f, bool end)
{
    bool enough = f->matched >= f->wanted + (f->one_more ? 1 : 0);
    bool tired = f->max_scan && f->scanned >= f->max_scan;

    if (!enough && !end && !tired) {
        past_again(&f->job);
        return;
    }
    if (f->matched > f->wanted) {
        f->limited = true; /* `oldest` is where the wanted ones begin */
        f->at = f->oldest;
    } else if (f->place == WSBUS_LAST) {
        f->limited = tired && !end && !enough;
        if (f->scanned > 0) f->at = f->matched >= f->wanted ? f->oldest : f->upper;
    }
    answer(f);
}

static void start_counting(struct finder *f, struct wsbus_pos from)
{
    f->counting = true;
    f->upper = from;
    past_again(&f->job);
}

static void count_entry(struct finder *f, const struct redis_entry *e)
{
    f->scanned++;
    f->upper = pos_before(e->pos);
    past_learn(&f->job, e->bytes);
    if (!past_matches(&f->job, e)) return;
    if (f->matched++ < f->wanted) f->oldest = f->upper;
}

static void take_piece(struct finder *f, const struct redisReply *reply)
{
    bool stop = false;

    if (reply->type != REDIS_REPLY_ARRAY) {
        past_refuse(&f->job, WSBUS_REFUSED, "the answer to XREVRANGE was not understood");
        return;
    }
    for (size_t i = 0; i < reply->elements && !stop; i++) {
        struct redis_entry e;
        (void)entry_parse(reply->element[i], &f->job.past->room, &e);
        if (pos_compare(&e.pos, &f->lower) > 0) count_entry(f, &e);
        stop = f->matched >= f->wanted + (f->one_more ? 1 : 0) ||
               (f->max_scan && f->scanned >= f->max_scan);
    }
    count_on(f, !stop && (reply->elements < f->asked || pos_compare(&f->upper, &f->lower) <= 0));
}

static void send_piece(struct finder *f)
{
    uint64_t most = f->max_scan ? f->max_scan - f->scanned : UINT64_MAX;
    char upper[REDIS_ID_MAX], lower[REDIS_ID_MAX], count[24];
    struct wsbus_pos above = redis_id_next(f->lower);
    const char *argv[] = {"XREVRANGE", f->job.name.p, upper, lower, "COUNT", count};

    if (!f->job.key && most > f->wanted - f->matched) most = f->wanted - f->matched + 1;
    f->asked = past_count(&f->job, PAST_PIECE, most);
    redis_id_text(&f->upper, upper);
    redis_id_text(&above, lower);
    snprintf(count, sizeof count, "%llu", (unsigned long long)f->asked);
    past_send(&f->job, 6, argv);
}

/* ---- places ----------------------------------------------------------------------------------------- */

static struct wsbus_pos later_of(struct wsbus_pos a, struct wsbus_pos b)
{
    return pos_compare(&a, &b) >= 0 ? a : b;
}

static struct wsbus_pos earlier_of(struct wsbus_pos a, struct wsbus_pos b)
{
    return pos_compare(&a, &b) <= 0 ? a : b;
}

static void find_last(struct finder *f, const struct redis_info *i)
{
    struct wsbus_pos floor = info_floor(i);
    struct wsbus_pos end = f->bounded ? earlier_of(f->until, i->last) : i->last;
    bool cut = f->max_messages && f->count > f->max_messages;

    f->at = later_of(end, floor);
    if (f->count == 0 || i->length == 0 || pos_compare(&end, &floor) <= 0) {
        answer(f);
        return;
    }
    f->lower = floor;
    f->wanted = cut ? f->max_messages : f->count;
    f->one_more = cut;
    if (f->job.key) f->max_scan = f->max_messages;
    start_counting(f, end);
}

/* Where only single entries behind the cursor were deleted, it goes on from there: who reads page by
 * page must not begin anew with each of them. */
static void find_after(struct finder *f, const struct redis_info *i)
{
    f->lost = info_lost(i, &f->cursor);
    f->at = f->lost && f->lost != WSBUS_LOST_UNKNOWN ? info_floor(i) : f->cursor;
    if (f->foreign && !f->lost) f->lost = WSBUS_LOST_EPOCH;
}

/* Entries come in the order of their times: those of this one and later are behind one place. */
static struct wsbus_pos place_of_time(int64_t time, const struct redis_info *i)
{
    struct wsbus_pos before = pos_before(redis_id_at(time));

    return later_of(info_floor(i), earlier_of(before, i->last));
}

static void find_place(struct finder *f, const struct redis_info *i)
{
    switch (f->place) {
    case WSBUS_LAST: find_last(f, i); return;
    case WSBUS_EARLIEST: f->at = info_floor(i); break;
    case WSBUS_LATEST: f->at = i->last; break;
    case WSBUS_AT_TIME: f->at = place_of_time(f->time, i); break;
    case WSBUS_AFTER: find_after(f, i); break;
    }
    if (!f->max_messages || i->length <= f->max_messages || pos_compare(&f->at, &i->last) >= 0) {
        answer(f);
        return;
    }
    f->lower = f->at;
    f->wanted = f->max_messages;
    f->one_more = true;
    start_counting(f, i->last);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

static void finder_next(struct past_job *j)
{
    struct finder *f = CONTAINER_OF(j, struct finder, job);

    if (f->counting)
        send_piece(f);
    else
        past_send_info(j);
}

static void finder_take(struct past_job *j, const struct redisReply *reply)
{
    struct finder *f = CONTAINER_OF(j, struct finder, job);
    struct redis_info i;

    if (f->counting) {
        take_piece(f, reply);
    } else if (info_parse(reply, &i) < 0) {
        past_refuse(j, WSBUS_REFUSED, "the answer to XINFO STREAM was not understood");
    } else {
        if (i.entry_bytes) past_learn(j, i.entry_bytes);
        find_place(f, &i);
    }
}

static void finder_fail(struct past_job *j, const struct wsbus_answer *a)
{
    j->past->host->located(j->past->host, j->token, a, NULL);
}

static void finder_free(struct past_job *j)
{
    free(CONTAINER_OF(j, struct finder, job));
}

static const struct past_kind finder_kind = {finder_next, finder_take, finder_fail, finder_free};

static bool names_others(const struct wsbus_cursor *c)
{
    for (uint32_t i = 0; c && i < c->count; i++)
        if (c->pos[i].partition != 0) return true;
    return false;
}

void past_locate(struct redis_past *p, uint64_t token, const struct wsbus_locate *l)
{
    struct finder *f = mem_zero(sizeof *f);
    const struct wsbus_pos *after = l->cursor ? cursor_get(l->cursor, 0) : NULL;
    const struct wsbus_pos *until = l->until ? cursor_get(l->until, 0) : NULL;

    f->job.kind = &finder_kind;
    f->job.token = token;
    f->place = l->place;
    if (after) f->cursor = *after;
    f->foreign = l->place == WSBUS_AFTER && names_others(l->cursor);
    f->bounded = until != NULL;
    if (until) f->until = *until;
    f->time = l->time;
    f->count = l->count;
    f->max_messages = l->max_messages;
    past_add(p, &f->job, &l->topic, span_of(l->key, l->key_len));
}
