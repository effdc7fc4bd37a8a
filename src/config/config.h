/* The effective configuration: defaults, file, environment, --set, in rising order.
 *
 * Every option has one row in the table of config/options.c (buses and rules add the rows of
 * their backend's tables); parser, environment, --help, JSON Schema, reference page and "did you
 * mean" are made from the rows. Read at start on the main thread; afterwards constant and shared
 * by all threads without a lock. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/log.h"

struct config_patterns {
    const char *const *list; /* NULL: not given; given and empty is not NULL */
    size_t count;
};

/* A certificate of a listener. */
struct config_tls {
    const char *cert, *key;       /* files, PEM */
    struct config_patterns names; /* not given: those in the certificate */
};

struct config_listen {
    const char *text;    /* as given, for log lines */
    const char *host;    /* "127.0.0.1", "::1"; NULL: a unix socket */
    const char *path;    /* of the unix socket */
    uint16_t port;       /* 0: any */
    bool loopback;       /* a loopback address, or a unix socket */
    bool proxy_protocol; /* trusted proxies begin with a PROXY header */

    const struct config_tls *tls; /* NULL: plain text */
    size_t tls_count;
    const char *client_ca;     /* file, PEM; NULL: clients are not asked for a certificate */
    bool client_cert_optional; /* one that is asked for may be missing */
};

struct config_bus {
    const char *name;
    const struct wsbus_backend *backend;
    const struct wsbus_value *values; /* of backend->options, in order */
};

struct config_rule {
    const char *prefix; /* literal text in front of the channel's name, taken off before `match`
                              is tried and before the name becomes a topic; NULL: none */
    const char *match;  /* pattern, see hub/route.h */
    unsigned bus;       /* index into buses */
    const char *topic;  /* template; NULL: the channel's name */
    const char *key;    /* template; NULL: none */
    bool publish, history;
    bool hide_internal;               /* a topic that begins with "__": this rule does not match */
    const struct wsbus_value *values; /* of backend->rule_options, in order; NULL if it has none */
};

struct config {
    struct config_listen *listen;
    size_t listen_count;
    const char *admin_text;                 /* as given; NULL: none */
    struct config_listen admin;             /* its address; text NULL: none */
    struct config_patterns trusted_proxies; /* as base/address.h reads networks */
    unsigned workers;                       /* as given, 0: one for each core */

    struct config_bus *buses;
    size_t bus_count;
    struct config_rule *rules;
    size_t rule_count;

    struct {
        bool given; /* an `access` object stands in the configuration */
        struct config_patterns origins;
        struct config_patterns subscribe, publish; /* anonymous */
        bool anonymous_given; /* false on loopback without `access`: all is allowed */
    } access;

    struct {
        uint64_t message_bytes, frame_bytes;
        uint64_t half_open;     /* connections without a finished request */
        uint64_t header_bytes;  /* of a request over HTTP */
        uint64_t fragments;     /* of one message; 0: any number, likewise below */
        uint64_t inflate_ratio; /* bytes that may come of one of a compressed message */
        uint64_t connections, subscriptions, history;
        uint64_t channel_bytes; /* of a channel's name */
        uint64_t address_connections;
        uint64_t handshakes_per_second, address_handshakes_per_second;
        /* of one connection */
        uint64_t frames_per_second, bytes_per_second;
        uint64_t publishes_per_second, subscribes_per_second;
        uint64_t queue_bytes, queue_ms; /* a client's send queue: bytes, age of its head */
        uint64_t inbox_bytes;           /* between two threads */
        uint64_t handshake_ms;
        uint64_t message_ms;   /* from its first byte to its last; 0: any time */
        uint64_t ping_ms;      /* 0: none */
        uint64_t pong_ms;      /* no sign of life for ping_ms + pong_ms: 4001 */
        uint64_t errors;       /* in 10 s, before 4501 */
        uint64_t send_buffer;  /* SO_SNDBUF; 0: the kernel's */
        uint64_t memory_bytes; /* of the process; 0: no ceiling */
        uint64_t unsent_bytes; /* TCP_NOTSENT_LOWAT; 0: no bound */
    } limits;

    struct {
        uint64_t ring_messages, ring_bytes;
        uint64_t ring_keys; /* newest message of so many keys is kept beyond the ring */
        uint64_t readers;
        uint64_t max_messages;
        uint64_t pass_bytes; /* of pieces of the past that several replays share */
        uint64_t at_once;    /* replays of a bus, and history pages that wait */
        uint64_t each;       /* replays of one connection */
    } replay;

    struct {
        bool enabled;
        uint64_t level, min_bytes;
    } compression; /* permessage-deflate */

    struct {
        bool demo;
        const char *root; /* NULL: none */
    } web;

    uint64_t bus_wait;       /* ms a subscribe or history waits for a bus */
    uint64_t flush_interval; /* ms in which one socket gets one packet; 0: none is waited for */
    uint64_t linger;         /* ms a feed lives on after its last subscriber */
    uint64_t drain;          /* ms between SIGTERM and the end, at most */

    enum log_level log_level;
    enum log_format log_format;

    void *memory; /* all of the above lives here */
};

/* What the command line asked for. */
enum config_action {
    CONFIG_RUN,
    CONFIG_CHECK,
    CONFIG_PRINT,
    CONFIG_SCHEMA,
    CONFIG_VERSION,
    CONFIG_HELP,
    CONFIG_REFERENCE, /* the option table as a Markdown page (docs/configuration.md is made so) */
};

/* Where a configuration comes from. */
struct config_input {
    int argc;
    char *const *argv;
    char *const *environment;
    const struct wsbus_backend *const *backends; /* the registry, NULL-terminated */
};

/* Reads command line, file and environment. 0 with *ret filled; -1 with every mistake on a line of
 * its own in `errors`. */
int config_load(const struct config_input *in, struct config *ret, enum config_action *ret_action,
                struct buf *errors);
void config_free(struct config *c);

/* The answers to `config`, `schema`, `--help` and the manual's reference page. */
void config_print(const struct config *c, struct buf *out); /* secrets blotted out */
void config_schema(const struct wsbus_backend *const *backends, struct buf *out);
void config_help(const struct wsbus_backend *const *backends, struct buf *out);
void config_reference(const struct wsbus_backend *const *backends, struct buf *out);

#endif
