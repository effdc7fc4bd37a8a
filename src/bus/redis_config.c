#include "bus/redis_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bus/redis_tls.h"
#include "bus/redis_url.h"

enum option {
    URL,
    USER,
    PASSWORD,
    TLS_VERIFY,
    CA,
    CERT,
    KEY,
    SERVER_NAME,
    TIMEOUT,
    CONNECT_TIMEOUT,
    PUBLISH_TIMEOUT,
    QUEUE_BYTES,
    STREAM_CONNECTIONS,
};

const struct wsbus_option redis_options[] = {
    [URL] = {.name = "url",
             .type = WSBUS_STRING,
             .fallback = "redis://localhost:6379",
             .help = "Server: redis://user:password@host:port/database, rediss:// for TLS, "
                     "redis+unix:///path/to/socket?db=0."},
    [USER] = {.name = "user",
              .type = WSBUS_STRING,
              .help = "Name of an ACL user, if the URL has none."},
    [PASSWORD] = {.name = "password",
                  .type = WSBUS_STRING,
                  .flags = WSBUS_SECRET,
                  .help = "Password, if the URL has none."},
    [TLS_VERIFY] = {.name = "tls_verify",
                    .type = WSBUS_BOOL,
                    .fallback = "true",
                    .help = "With rediss://: check the server's certificate and its name; without "
                            "it anybody in between can read and change everything."},
    [CA] = {.name = "ca",
            .type = WSBUS_STRING,
            .help = "With rediss://: file of trusted certificates (PEM), in place of the "
                    "system's."},
    [CERT] = {.name = "cert",
              .type = WSBUS_STRING,
              .help = "With rediss://: file of our own certificate and its chain (PEM)."},
    [KEY] = {.name = "key",
             .type = WSBUS_STRING,
             .help = "With rediss://: file of the private key of `cert` (PEM)."},
    [SERVER_NAME] = {.name = "server_name",
                     .type = WSBUS_STRING,
                     .help = "With rediss://: name that the certificate must have, if it is not "
                             "the host of the URL."},
    [TIMEOUT] = {.name = "timeout",
                 .type = WSBUS_INT,
                 .fallback = "10000",
                 .min = 100,
                 .max = 600000,
                 .help = "Milliseconds without a sign of life after which a connection counts as "
                         "dead."},
    [CONNECT_TIMEOUT] = {.name = "connect_timeout",
                         .type = WSBUS_INT,
                         .fallback = "5000",
                         .min = 100,
                         .max = 600000,
                         .help = "Milliseconds until a new connection must be ready, name look-up "
                                 "and login included."},
    [PUBLISH_TIMEOUT] = {.name = "publish_timeout",
                         .type = WSBUS_INT,
                         .fallback = "5000",
                         .min = 100,
                         .max = 600000,
                         .help = "Milliseconds that a message may wait for the server's answer, "
                                 "also while the server is down."},
    [QUEUE_BYTES] = {.name = "queue_bytes",
                     .type = WSBUS_INT,
                     .fallback = "16777216",
                     .min = 65536,
                     .max = INT64_C(1) << 40,
                     .help = "Bytes of published messages that wait or are not answered yet, at "
                             "most."},
    [STREAM_CONNECTIONS] = {.name = "stream_connections",
                            .type = WSBUS_INT,
                            .fallback = "64",
                            .min = 1,
                            .max = 10000,
                            .help = "Connections that follow streams, at most; each carries up to "
                                    "256 streams, beyond that subscriptions are refused."},
    {.name = NULL},
};

static const char *const kinds[] = {"pubsub", "stream", NULL};

const struct wsbus_option redis_rule_options[] = {
    [REDIS_RULE_KIND] = {.name = "kind",
                         .type = WSBUS_ENUM,
                         .fallback = "pubsub",
                         .choices = kinds,
                         .help = "What a topic is in Redis: a pub/sub channel or a stream."},
    [REDIS_RULE_MAXLEN] = {.name = "maxlen",
                           .type = WSBUS_INT,
                           .fallback = "0",
                           .min = 0,
                           .max = INT64_C(1) << 40,
                           .help = "Streams: with each message trim to about so many entries; 0 "
                                   "never trims."},
    [REDIS_RULE_PAYLOAD] = {.name = "payload_field",
                            .type = WSBUS_STRING,
                            .fallback = "data",
                            .help = "Streams: field of an entry that is the payload; an entry "
                                    "without it is an object of all its fields."},
    [REDIS_RULE_KEY] = {.name = "key_field",
                        .type = WSBUS_STRING,
                        .fallback = "key",
                        .help = "Streams: field of an entry that is the key of the message."},
    {.name = NULL},
};

struct redis_rule redis_rule(const struct wsbus_value *rule)
{
    if (!rule) return (struct redis_rule){.payload = "data", .key = "key"};
    return (struct redis_rule){
        .stream = strcmp(rule[REDIS_RULE_KIND].string, "stream") == 0,
        .maxlen = (uint64_t)rule[REDIS_RULE_MAXLEN].number,
        .payload = rule[REDIS_RULE_PAYLOAD].string,
        .key = rule[REDIS_RULE_KEY].string,
    };
}

static const char *given(const struct wsbus_value *v)
{
    return v->string && *v->string ? v->string : NULL;
}

static char *copy(const char *text)
{
    return text ? mem_dup(text, strlen(text)) : NULL;
}

/* Moves what the URL says into the configuration. */
static int take_url(struct redis_config *c, const struct wsbus_value *values, bool *ret_tls,
                    char *err, size_t err_size)
{
    struct redis_url url;
    int rc = redis_url_parse(values[URL].string, &url, err, err_size);
    if (rc == 0) {
        c->host = url.host;
        c->path = url.path;
        c->user = url.user;
        c->password = url.password;
        c->port = url.port;
        c->database = url.database;
        *ret_tls = url.tls;
        url = (struct redis_url){0};
    }
    redis_url_free(&url);
    return rc;
}

static int take_login(struct redis_config *c, const struct wsbus_value *values, char *err,
                      size_t err_size)
{
    const char *user = given(&values[USER]), *password = given(&values[PASSWORD]);
    if ((user && c->user) || (password && c->password)) {
        snprintf(err, err_size, "\"%s\" is given twice, in the URL and by itself",
                 user && c->user ? "user" : "password");
        return -1;
    }
    if (user) c->user = copy(user);
    if (password) c->password = copy(password);
    if (c->user && !c->password) {
        snprintf(err, err_size, "\"user\" needs a \"password\"");
        return -1;
    }
    return 0;
}

static int take_tls(struct redis_config *c, const struct wsbus_value *values, char *err,
                    size_t err_size)
{
    struct redis_tls_spec spec = {
        .name = given(&values[SERVER_NAME]) ? values[SERVER_NAME].string : c->host,
        .ca = given(&values[CA]),
        .cert = given(&values[CERT]),
        .key = given(&values[KEY]),
        .verify = c->tls_verify,
    };
    c->tls = redis_tls_new(&spec, err, err_size);
    return c->tls ? 0 : -1;
}

/* What only makes sense with TLS must not be ignored without it. */
static int refuse_tls(const struct wsbus_value *values, char *err, size_t err_size)
{
    static const enum option rows[] = {TLS_VERIFY, CA, CERT, KEY, SERVER_NAME};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (!values[rows[i]].set) continue;
        snprintf(err, err_size, "\"%s\" is for TLS, which the URL must ask for: rediss://",
                 redis_options[rows[i]].name);
        return -1;
    }
    return 0;
}

static char *name_place(const struct redis_config *c)
{
    if (c->path) return copy(c->path);
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    buf_printf(&text, strchr(c->host, ':') ? "[%s]:%u" : "%s:%u", c->host, c->port);
    return buf_steal(&text);
}

struct redis_config *redis_config_new(const struct wsbus_value *values, char *err, size_t err_size)
{
    struct redis_config *c = mem_zero(sizeof(*c));
    bool tls = false;
    c->tls_verify = values[TLS_VERIFY].boolean;
    c->timeout = (uint64_t)values[TIMEOUT].number;
    c->connect_timeout = (uint64_t)values[CONNECT_TIMEOUT].number;
    c->publish_timeout = (uint64_t)values[PUBLISH_TIMEOUT].number;
    c->queue_bytes = (size_t)values[QUEUE_BYTES].number;
    c->stream_connections = (unsigned)values[STREAM_CONNECTIONS].number;
    int rc = take_url(c, values, &tls, err, err_size);
    if (rc == 0) rc = take_login(c, values, err, err_size);
    if (rc == 0) rc = tls ? take_tls(c, values, err, err_size) : refuse_tls(values, err, err_size);
    if (rc < 0) {
        redis_config_free(c);
        return NULL;
    }
    c->where = name_place(c);
    return c;
}

void redis_config_free(struct redis_config *c)
{
    if (!c) return;
    redis_tls_free(c->tls);
    free(c->host);
    free(c->path);
    free(c->user);
    free(c->password);
    free(c->where);
    free(c);
}

int redis_config_check(const struct wsbus_value *values, char *err, size_t err_size)
{
    struct redis_config *c = redis_config_new(values, err, err_size);
    redis_config_free(c);
    return c ? 0 : -1;
}
