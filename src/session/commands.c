/* Frames of the client -> mail to the buses. Each is refused or posted before the next is read,
 * so that frames take effect in the order in which they came. */
#include "access/access.h"
#include "protocol/cursor.h"
#include "session/errand.h"
#include "session/inside.h"
#include "session/lane.h"
#include "session/subscription.h"

static void refuse_with(struct session *s, const struct request *r, const struct reply_error *e)
{
    struct subscription *before = NULL;

    if (r->type == REQUEST_SUBSCRIBE || r->type == REQUEST_UNSUBSCRIBE)
        before = subscription_awaited(s, r->channel);
    if (!before) {
        session_error(s, e);
        return;
    }
    session_write_error(s, e);
    subscription_hold(before, session_slip(s));
    session_count_error(s, e->code);
}

/* Always false, so that a check can end with it. */
static bool refuse(struct session *s, const struct request *r, enum error_code code,
                   const char *message)
{
    struct reply_error e = {
        .id = r->id,
        .channel = r->channel,
        .code = code,
        .message = message ? span_str(message) : span_of(NULL, 0),
    };

    if (code == ERR_TOO_LARGE) counter_add(&s->w->counters, COUNTER_LIMIT_MESSAGE_BYTES, 1);
    refuse_with(s, r, &e);
    return false;
}

static bool refuse_limit(struct session *s, const struct request *r, const char *option,
                         enum counter which)
{
    struct reply_error e = {.id = r->id, .channel = r->channel, .code = ERR_LIMIT, .limit = option};

    counter_add(&s->w->counters, which, 1);
    refuse_with(s, r, &e);
    return false;
}

/* Is there one left of what a second has of this? */
static bool afford(struct session *s, const struct request *r, enum budget_kind kind)
{
    struct session_worker *w = s->w;
    bool publishes = kind == BUDGET_PUBLISHES;
    enum counter which = publishes ? COUNTER_LIMIT_PUBLISHES : COUNTER_LIMIT_SUBSCRIBES;
    struct reply_error e = {.id = r->id, .channel = r->channel, .code = ERR_RATE_LIMITED};

    if (budget_take(&s->budget, &w->rates, kind, 1, w->now)) return true;
    e.retry_after = budget_wait(&s->budget, &w->rates, kind, 1, w->now);
    e.limit = publishes ? "limits.publishes_per_second" : "limits.subscribes_per_second";
    if (s->raw) { /* which cannot be told of one message that is lost */
        session_limit(s, e.limit, which);
        return false;
    }
    counter_add(&w->counters, which, 1);
    refuse_with(s, r, &e);
    return false;
}

static bool find_route(struct session *s, const struct request *r, enum access_right right,
                       struct route *ret)
{
    struct session_worker *w = s->w;
    uint64_t longest = w->spec.config->limits.channel_bytes;

    if (longest > 0 && r->channel.n > longest)
        return refuse_limit(s, r, "limits.channel_bytes", COUNTER_LIMIT_CHANNEL_BYTES);
    if (!route_find(w->spec.routes, r->channel, &w->topic, ret))
        return refuse(s, r, ERR_UNKNOWN_CHANNEL, NULL);
    if (!access_channel(w->spec.access, right, r->channel))
        return refuse(s, r, ERR_FORBIDDEN, NULL);
    return true;
}

/* ---- reading: subscribe and history ---------------------------------------------------------- */

static bool is_replay(const struct request *r)
{
    return r->from.kind != FROM_NOW && r->from.kind != FROM_ABSENT;
}

static bool may_read(struct session *s, const struct request *r, const struct route *route)
{
    enum from_kind from = r->from.kind;
    bool past = r->type == REQUEST_HISTORY || is_replay(r);

    if (past && !route->rule->history)
        return refuse(s, r, ERR_FORBIDDEN, "The history of this channel is not open.");
    if (r->has_filter) return refuse(s, r, ERR_UNSUPPORTED, "Filters are not supported yet.");
    if (r->has_interval || (r->policy.p && span_eq(r->policy, SPAN("conflate"))))
        return refuse(s, r, ERR_UNSUPPORTED, "The policy conflate is not supported yet.");
    if (from == FROM_SNAPSHOT)
        return refuse(s, r, ERR_UNSUPPORTED, "Snapshots are not supported yet.");
    if (past && !(route->caps & WSBUS_CAP_LOG))
        return refuse(s, r, ERR_UNSUPPORTED, "The bus of this channel keeps no history.");
    if ((from == FROM_TIME || from == FROM_AGO) && !(route->caps & WSBUS_CAP_TIME))
        return refuse(s, r, ERR_UNSUPPORTED, "The bus of this channel cannot look up times.");
    return true;
}

/* NULL: refused. */
static struct mail_ask *ask(struct session *s, const struct request *r, const struct route *route)
{
    struct session_worker *w = s->w;
    const struct wsbus_backend *b = w->spec.config->buses[route->rule->bus].backend;
    enum mail_kind kind = r->type == REQUEST_SUBSCRIBE ? MAIL_SUBSCRIBE : MAIL_HISTORY;
    struct mail_ask *m = mail_ask_new(kind, r->channel, route->topic, route->key);
    const char *why = NULL;

    m->worker = w->spec.index;
    m->rule = route->rule;
    m->caps = route->caps;
    m->from = r->from.kind;
    m->number = r->from.number;
    if ((m->from == FROM_AFTER && cursor_parse(r->from.cursor, b, &m->cursor, &why) != 0) ||
        (r->until.p && cursor_parse(r->until, b, &m->until, &why) != 0)) {
        mail_free(&m->item);
        refuse(s, r, ERR_BAD_REQUEST, why);
        return NULL;
    }
    return m;
}

/* What is lost when the client is too slow: messages, or the connection. */
static void give_policy(struct subscription *sub, const struct request *r,
                        const struct route *route)
{
    const struct session_worker *w = sub->session->w;
    bool log = route->caps & WSBUS_CAP_LOG;
    bool drop = r->policy.p ? span_eq(r->policy, SPAN("drop")) : !log;

    if (!drop || sub->session->raw) return; /* /raw has no way to tell a gap */
    lane_new(sub, log ? w->spec.config->buses[route->rule->bus].backend : NULL,
             log && route->caps & WSBUS_CAP_PARTITION);
}

static void subscribe(struct session *s, const struct request *r)
{
    uint64_t limit = s->w->spec.config->limits.subscriptions;
    struct subscription *sub, *before;
    struct mail_ask *m;
    struct route route;

    if (subscription_named(s, r->channel)) {
        refuse(s, r, ERR_ALREADY_SUBSCRIBED, NULL);
        return;
    }
    if (s->subscribed >= limit) {
        refuse_limit(s, r, "limits.subscriptions", COUNTER_LIMIT_SUBSCRIPTIONS);
        return;
    }
    /* Those that wait for the bus to let them go have a cap too. */
    if (s->leaving >= limit) {
        refuse(s, r, ERR_BUSY, NULL);
        return;
    }
    if (!find_route(s, r, ACCESS_SUBSCRIBE, &route) || !may_read(s, r, &route)) return;
    if (is_replay(r) && s->replays >= s->w->spec.config->replay.each) {
        refuse(s, r, ERR_BUSY,
               "Too many replays of this connection are under way; ask again later.");
        return;
    }
    m = ask(s, r, &route);
    if (!m) return;
    before = subscription_awaited(s, r->channel);
    if (before) m->before = before->number;
    sub = subscription_new(s, route.rule->bus, r->channel, r->id);
    if (is_replay(r)) subscription_replays(sub);
    m->id = sub->number;
    give_policy(sub, r, &route);
    if (worker_post(s->w, route.rule->bus, &m->item)) return;
    subscription_free(sub);
    mail_free(&m->item);
    refuse(s, r, ERR_BUSY, NULL);
}

static void unsubscribe(struct session *s, const struct request *r)
{
    struct subscription *sub = subscription_named(s, r->channel);

    if (!sub) {
        refuse(s, r, ERR_NOT_SUBSCRIBED, NULL);
        return;
    }
    if (sub->state == SUB_PENDING) {
        subscription_leave(sub, r->id);
        return;
    }
    subscription_withdraw(sub);
    if (!r->id.p) return;
    reply_unsubscribed(session_writer(s), r->id, r->channel, NULL);
    session_reply(s, OUTQ_CAPPED);
}

static void history(struct session *s, const struct request *r)
{
    uint64_t most = s->w->spec.config->limits.history;
    uint64_t limit = r->limit > 0 ? (uint64_t)r->limit : HISTORY_DEFAULT;
    struct mail_ask *m;
    struct route route;

    if (!find_route(s, r, ACCESS_SUBSCRIBE, &route) || !may_read(s, r, &route)) return;
    if (s->histories_count >= HISTORY_WAITING) {
        refuse(s, r, ERR_BUSY, NULL);
        return;
    }
    m = ask(s, r, &route);
    if (!m) return;
    m->limit = (uint32_t)(limit < most ? limit : most);
    errand_history(errand_new(s, ERRAND_HISTORY, r->channel, r->id), route.rule->bus, m);
}

/* ---- publish --------------------------------------------------------------------------------- */

static uint64_t publish_size(const struct request *r, struct span key)
{
    uint64_t n = r->payload.n + key.n;

    for (uint32_t i = 0; i < r->header_count; i++)
        n += (uint64_t)r->headers[i].name_len + r->headers[i].value_len;
    return n;
}

static bool bus_can_store(struct session *s, const struct request *r, unsigned caps)
{
    if (r->key.p && !(caps & WSBUS_CAP_KEY))
        return refuse(s, r, ERR_UNSUPPORTED, "The bus of this channel stores no keys.");
    if (r->header_count && !(caps & WSBUS_CAP_HEADERS))
        return refuse(s, r, ERR_UNSUPPORTED, "The bus of this channel stores no headers.");
    if (!r->payload.p && !(caps & WSBUS_CAP_TOMBSTONE))
        return refuse(s, r, ERR_UNSUPPORTED, "The bus of this channel stores no tombstones.");
    if (r->partition > 0 && !(caps & WSBUS_CAP_PARTITION))
        return refuse(s, r, ERR_BAD_REQUEST, "The topic does not have this partition.");
    return true;
}

static bool may_publish(struct session *s, const struct request *r, const struct route *route)
{
    struct span key = route->key.p ? route->key : r->key;

    if (!route->rule->publish) return refuse(s, r, ERR_FORBIDDEN, NULL);
    if (publish_size(r, key) > s->w->spec.config->limits.message_bytes)
        return refuse(s, r, ERR_TOO_LARGE, NULL);
    if (!bus_can_store(s, r, route->caps)) return false;
    if (route->key.p && r->key.p && !span_eq(r->key, route->key))
        return refuse(s, r, ERR_BAD_REQUEST, "The channel stands for another key.");
    return true;
}

static void publish(struct session *s, const struct request *r)
{
    struct wsbus_publish p = {.headers = r->headers, .header_count = r->header_count};
    struct mail_publish *m;
    struct errand *e;
    struct route route;
    struct span key;

    if (!find_route(s, r, ACCESS_PUBLISH, &route) || !may_publish(s, r, &route)) return;
    key = route.key.p ? route.key : r->key;
    p.topic = (struct wsbus_topic){route.topic.p, route.topic.n, route.rule->values};
    p.key = key.p;
    p.key_len = (uint32_t)key.n;
    p.payload = r->payload.p;
    p.payload_len = (uint32_t)r->payload.n;
    p.partition = r->partition;
    m = mail_publish_new(&p);
    e = errand_new(s, ERRAND_PUBLISH, r->channel, r->id);
    m->worker = s->w->spec.index;
    m->id = e->number;
    m->placed = r->id.p != NULL;
    if (worker_post(s->w, route.rule->bus, &m->item)) {
        counter_add(&s->w->counters, COUNTER_PUBLISHES, 1);
        return;
    }
    errand_free(e);
    mail_free(&m->item);
    refuse(s, r, ERR_BUSY, NULL);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static void pong(struct session *s, const struct request *r)
{
    if (!r->id.p) return;
    reply_pong(session_writer(s), r->id);
    session_reply(s, OUTQ_CAPPED);
}

void session_request(struct session *s, const struct request *r)
{
    switch (r->type) {
    case REQUEST_SUBSCRIBE:
        if (afford(s, r, BUDGET_SUBSCRIBES)) subscribe(s, r);
        break;
    case REQUEST_UNSUBSCRIBE: unsubscribe(s, r); break;
    case REQUEST_PUBLISH:
        if (afford(s, r, BUDGET_PUBLISHES)) publish(s, r);
        break;
    case REQUEST_HISTORY:
        if (afford(s, r, BUDGET_SUBSCRIBES)) history(s, r);
        break;
    case REQUEST_PING: pong(s, r); break;
    case REQUEST_AUTH: refuse(s, r, ERR_UNSUPPORTED, "No login is configured."); break;
    case REQUEST_UNKNOWN: break; /* the parser refuses it */
    }
}

void session_command(struct session *s, struct span text)
{
    struct request_parser *parser = &s->w->parser;
    struct request_error err;
    struct request r;

    if (request_parse(parser, text, &r, &err) != 0) {
        struct reply_error e = {.id = err.id, .channel = err.channel, .code = err.code};
        e.message = span_str(err.message);
        session_error(s, &e);
    } else {
        session_request(s, &r);
    }
    request_parser_shrink(parser);
}
