/* The options of a bus of type redis: read once, checked before anything starts.
 *
 *   url   redis://[[user]:password@][host][:port][/database]      rediss:// speaks TLS
 *         redis+unix://[[user]:password@]/path/to/socket[?db=N]   unix:// says the same
 *
 * User and password are percent-decoded. What the URL lacks may be given by the options `user` and
 * `password`. No message of this module repeats any part of the URL in which a password may stand.
 * Any thread; redis_config_new() reads certificates from files. */
#ifndef BUS_REDIS_CONFIG_H
#define BUS_REDIS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

struct redis_tls;

struct redis_config {
    char *host, *path; /* one of them; the other is NULL */
    uint16_t port;
    char *user, *password; /* or NULL */
    unsigned database;
    struct redis_tls *tls;       /* NULL: plain text */
    bool tls_verify;             /* false: the server's certificate is not looked at */
    uint64_t timeout;            /* ms without a sign of life */
    uint64_t connect_timeout;    /* ms until a new connection is ready */
    uint64_t publish_timeout;    /* ms that a publish may wait for its answer */
    size_t queue_bytes;          /* of publishes that wait or are not answered */
    unsigned stream_connections; /* that follow streams, at most */
    char *where;                 /* "host:port" or the path, for words to people; no secrets */
};

extern const struct wsbus_option redis_options[];
extern const struct wsbus_option redis_rule_options[];

/* The values of redis_rule_options. */
enum redis_rule_option { REDIS_RULE_KIND, REDIS_RULE_MAXLEN, REDIS_RULE_PAYLOAD, REDIS_RULE_KEY };

struct redis_rule {
    bool stream;         /* kind */
    uint64_t maxlen;     /* of XADD MAXLEN ~; 0: none */
    const char *payload; /* field of the payload; "data" */
    const char *key;     /* field of the key; "key" */
};

/* NULL with one sentence in `err`. */
struct redis_config *redis_config_new(const struct wsbus_value *values, char *err, size_t err_size);
void redis_config_free(struct redis_config *c);
int redis_config_check(const struct wsbus_value *values, char *err, size_t err_size);
struct redis_rule redis_rule(const struct wsbus_value *rule); /* NULL: the defaults */

#endif
