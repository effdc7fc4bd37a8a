/* Redis: a topic is a pub/sub channel or a stream, as its rule says.
 *
 * The state of the bus is that of the connection for commands, which is there from the start; the
 * others are made when they are needed first. */
#include <stdlib.h>

#include <wsbus/backend.h>

#include "base/mem.h"
#include "bus/redis_config.h"
#include "bus/redis_link.h"
#include "bus/redis_publish.h"
#include "bus/redis_pubsub.h"
#include "bus/redis_stream.h"
#include "bus/registry.h"

struct redis {
    const struct wsbus_host *host;
    struct redis_config *config;
    struct redis_link *commands;
    struct redis_publish *publish;
    struct redis_pubsub *pubsub;
    struct redis_tail *tail;
    struct redis_past *past;
    struct wsbus_timer *end; /* frees it all, outside of whatever found out that it is time */
};

/* ---- the connection for commands ----------------------------------------------------------- */

static void on_up(void *owner)
{
    struct redis *b = owner;
    pubsub_hasten(b->pubsub);
    b->host->state(b->host, true, b->config->where);
}

static void on_down(void *owner, const char *words)
{
    struct redis *b = owner;
    b->host->state(b->host, false, words);
}

static const struct link_ops link_ops = {.up = on_up, .down = on_down};

/* ---- operations --------------------------------------------------------------------------- */

static void redis_subscribe(void *bus, uint64_t feed, const struct wsbus_topic *topic)
{
    struct redis *b = bus;
    if (redis_rule(topic->rule).stream)
        tail_subscribe(b->tail, feed, topic);
    else
        pubsub_subscribe(b->pubsub, feed, topic);
}

static void redis_unsubscribe(void *bus, uint64_t feed)
{
    struct redis *b = bus;
    if (!pubsub_unsubscribe(b->pubsub, feed) && !tail_unsubscribe(b->tail, feed))
        b->host->unsubscribed(b->host, feed);
}

static void redis_publish(void *bus, uint64_t token, const struct wsbus_publish *message)
{
    struct redis *b = bus;
    publish_send(b->publish, token, message);
}

static void redis_locate(void *bus, uint64_t token, const struct wsbus_locate *l)
{
    struct redis *b = bus;
    past_locate(b->past, token, l);
}

static void redis_read(void *bus, uint64_t token, const struct wsbus_read *r)
{
    struct redis *b = bus;
    past_read(b->past, token, r);
}

static void redis_stats(void *bus, void (*fn)(void *arg, const char *name, int64_t value),
                        void *arg)
{
    const struct redis *b = bus;
    struct link_figures commands = link_figures(b->commands);
    struct redis_pubsub_figures pubsub = pubsub_figures(b->pubsub);
    struct tail_figures tail = tail_figures(b->tail);
    fn(arg, "commands_total", (int64_t)commands.commands);
    fn(arg, "connections_total", (int64_t)(commands.connections + pubsub.link.connections));
    fn(arg, "publishes_pending", (int64_t)publish_pending(b->publish));
    fn(arg, "queue_bytes", (int64_t)link_queued(b->commands));
    fn(arg, "pubsub_channels", (int64_t)pubsub.channels);
    fn(arg, "pubsub_feeds", (int64_t)pubsub.feeds);
    fn(arg, "pubsub_messages_total", (int64_t)pubsub.messages);
    fn(arg, "streams", (int64_t)tail.streams);
    fn(arg, "stream_feeds", (int64_t)tail.feeds);
    fn(arg, "stream_connections", (int64_t)tail.connections);
}

/* ---- life cycle --------------------------------------------------------------------------- */

static void on_end(void *arg)
{
    struct redis *b = arg;
    const struct wsbus_host *host = b->host;
    link_stop(b->commands);
    publish_free(b->publish);
    pubsub_free(b->pubsub);
    tail_free(b->tail);
    past_free(b->past);
    link_free(b->commands);
    redis_config_free(b->config);
    host->timer_free(b->end);
    free(b);
    host->closed(host);
}

static void *redis_open(const struct wsbus_host *host, const struct wsbus_value *values, char *err,
                        size_t err_size)
{
    struct redis_config *config = redis_config_new(values, err, err_size);
    if (!config) return NULL;
    if (config->tls && !config->tls_verify)
        host->log(host, WSBUS_LOG_WARN,
                  "tls_verify is false: whoever stands between here and %s can read and change "
                  "everything, the password too",
                  config->where);
    struct redis *b = mem_zero(sizeof(*b));
    b->host = host;
    b->config = config;
    struct link_spec spec = {
        .host = host,
        .config = config,
        .name = "commands",
        .ops = &link_ops,
        .owner = b,
        .queue_bytes = config->queue_bytes,
    };
    b->commands = link_new(&spec);
    b->publish = publish_new(host, config, b->commands);
    b->pubsub = pubsub_new(host, config);
    b->tail = tail_new(host, config, b->commands);
    b->past = past_new(host, config);
    b->end = host->timer(host, on_end, b);
    link_start(b->commands);
    return b;
}

static void on_drained(void *arg)
{
    struct redis *b = arg;
    b->host->timer_set(b->end, 0);
}

static void redis_close(void *bus, uint64_t deadline_ms)
{
    struct redis *b = bus;
    pubsub_stop(b->pubsub);
    tail_stop(b->tail);
    past_stop(b->past);
    publish_drain(b->publish, deadline_ms, on_drained, b);
}

/* ---- the backend --------------------------------------------------------------------------- */

static unsigned redis_caps(const struct wsbus_value *rule)
{
    if (!redis_rule(rule).stream) return 0;
    return WSBUS_CAP_LOG | WSBUS_CAP_TIME | WSBUS_CAP_KEY | WSBUS_CAP_HEADERS | WSBUS_CAP_ACK;
}

const struct wsbus_backend backend_redis = {
    .name = "redis",
    .help = "Pub/sub channels and streams of a Redis server.",
    .options = redis_options,
    .rule_options = redis_rule_options,
    .caps = redis_caps,
    .pos_parse = redis_pos_parse,
    .pos_format = redis_pos_format,
    .check = redis_config_check,
    .open = redis_open,
    .subscribe = redis_subscribe,
    .unsubscribe = redis_unsubscribe,
    .publish = redis_publish,
    .locate = redis_locate,
    .read = redis_read,
    .stats = redis_stats,
    .close = redis_close,
};
