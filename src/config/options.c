#include "config/options.h"

#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/pattern.h"
#include "config/origin.h"

#define KIB 1024LL
#define GIB (1024LL * 1024 * 1024)
#define DAY_MS (24LL * 3600 * 1000)
#define AT(member) offsetof(struct config, member)

#define ROW_INT(sec, nam, def, lo, hi, what)        \
    .section = (sec), .option = {.name = (nam),     \
                                 .type = WSBUS_INT, \
                                 .fallback = (def), \
                                 .min = (lo),       \
                                 .max = (hi),       \
                                 .help = (what)}
#define ROW_U64(sec, nam, def, lo, hi, what)                                            \
    {                                                                                   \
        ROW_INT(#sec, #nam, def, lo, hi, what), .land = LAND_U64, .offset = AT(sec.nam) \
    }
#define ROW_MS(nam, def, hi, what)                                               \
    {                                                                            \
        ROW_INT("", #nam, def, 0, hi, what), .land = LAND_U64, .offset = AT(nam) \
    }

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const client_certs[] = {"required", "optional", NULL};
static const char *const formats[] = {"logfmt", "json", NULL};

static int check_origin(const char *text, char *err, size_t err_size)
{
    struct origin origin;
    return origin_pattern(span_str(text), &origin, err, err_size);
}

static int check_pattern(const char *text, char *err, size_t err_size)
{
    struct pattern *p = pattern_new(span_str(text), err, err_size);
    pattern_free(p);
    return p ? 0 : -1;
}

static int check_network(const char *text, char *err, size_t err_size)
{
    struct address_net net;
    return address_net_parse(text, &net, err, err_size);
}

static int check_path(const char *text, char *err, size_t err_size)
{
    if (*text) return 0;
    snprintf(err, err_size, "names no folder; leave it out, or write null");
    return -1;
}

const struct option_section option_sections[] = {
    {"", "The process"},
    {"access", "Who may connect. Needed for every address that is not loopback; without it "
               "everybody who reaches the loopback address may do everything"},
    {"access.anonymous", "What clients without a login may do: patterns of channels"},
    {"limits", "Bounds of everything that comes from outside"},
    {"replay", "How much of the past is kept and read"},
    {"compression", "Compression of messages (permessage-deflate), each by itself"},
    {"web", "Pages that the bridge serves itself"},
    {"log", "The log on stderr: one line an event"},
    {NULL, NULL},
};

/* clang-format off */
const struct option_row option_rows[] = {
    {.section = "", .option = {"listen", WSBUS_LIST, "127.0.0.1:8080", 0, 0, NULL, 0,
        "Addresses to listen on: 127.0.0.1:8080, [::1]:8080, unix:/path; port 0 takes any"}},
    {.section = "", .option = {"admin", WSBUS_STRING, NULL, 0, 0, NULL, 0,
        "Address of its own for /metrics (and /livez, /readyz), as in listen: 127.0.0.1:9464. "
        "Whoever reaches it may read them"},
     .land = LAND_STRING, .offset = AT(admin_text)},
    {.section = "", .option = {"trusted_proxies", WSBUS_LIST, NULL, 0, 0, NULL, 0,
        "Proxies whose word about a client's address is believed (X-Forwarded-For, PROXY protocol): "
        "addresses and networks, 10.0.0.0/8, 2001:db8::1; unix: for all unix sockets"},
     .land = LAND_LIST, .offset = AT(trusted_proxies), .check = check_network},
    {ROW_INT("", "workers", "0", 0, 256, "Worker threads; 0: one for each core"),
     .land = LAND_UNSIGNED, .offset = AT(workers)},
    ROW_MS(bus_wait, "5000", DAY_MS, "Time that subscribe and history wait for a bus, in ms"),
    ROW_MS(linger, "5000", DAY_MS, "Time that a feed lives on after its last subscriber, in ms"),
    ROW_MS(flush_interval, "0", 1000,
           "Time in which messages gather after a write, in ms, for fewer packets and less CPU; 0: none. "
           "After a pause a message goes out at once, replies always do"),
    ROW_MS(drain, "10000", DAY_MS, "Time between SIGTERM and the end, in ms, at most"),

    {.section = "access", .option = {"origins", WSBUS_LIST, NULL, 0, 0, NULL, 0,
        "Origins of pages that may connect: https://app.example.com, https://*.example.com; "
        "without it, pages of the bridge's own host and port"},
     .land = LAND_LIST, .offset = AT(access.origins), .check = check_origin},
    {.section = "access.anonymous", .option = {"subscribe", WSBUS_LIST, NULL, 0, 0, NULL, 0,
        "Channels that may be subscribed to and whose history may be read"},
     .land = LAND_LIST, .offset = AT(access.subscribe), .check = check_pattern},
    {.section = "access.anonymous", .option = {"publish", WSBUS_LIST, NULL, 0, 0, NULL, 0,
        "Channels that may be published to"},
     .land = LAND_LIST, .offset = AT(access.publish), .check = check_pattern},

    ROW_U64(limits, message_bytes, "65536", 1, 64 * KIB * KIB,
            "Payload of a publish with key and headers, in bytes"),
    ROW_U64(limits, frame_bytes, NULL, 64, GIB,
            "A WebSocket message of a client, in bytes; by default 2 x message_bytes + 1024"),
    ROW_U64(limits, header_bytes, "16384", 1024, 65535,
            "Head of a request over HTTP, in bytes"),
    ROW_U64(limits, fragments, "1024", 0, GIB,
            "WebSocket frames that one message may come in; 0: any number"),
    ROW_U64(limits, inflate_ratio, "100", 0, KIB,
            "Bytes that may come of one byte of a compressed message, if it becomes more than 16384; "
            "0: any number"),
    ROW_U64(limits, connections, "100000", 1, 10000000, "Connections of the process"),
    ROW_U64(limits, address_connections, "1000", 0, 10000000,
            "Connections from one address (IPv6: from one /64), not of this machine; 0: any number"),
    ROW_U64(limits, half_open, "10000", 1, 10000000,
            "Connections whose request or handshake is not finished; beyond it the oldest is closed"),
    ROW_U64(limits, handshakes_per_second, "10000", 0, 10000000,
            "New connections of the process in a second; 0: any number"),
    ROW_U64(limits, address_handshakes_per_second, "100", 0, 10000000,
            "New connections from one address (IPv6: /64) in a second, not of this machine; 0: any number"),
    ROW_U64(limits, subscriptions, "256", 1, 100000, "Subscriptions of one connection"),
    ROW_U64(limits, channel_bytes, "255", 1, 255, "Name of a channel, in bytes"),
    ROW_U64(limits, frames_per_second, "10000", 0, GIB,
            "WebSocket messages of one connection in a second; of this and the next three, 5 s' "
            "worth may come at once; 0: any number"),
    ROW_U64(limits, bytes_per_second, "16777216", 0, GIB,
            "Bytes in the WebSocket messages of one connection in a second; 0: any number"),
    ROW_U64(limits, publishes_per_second, "5000", 0, GIB,
            "Publishes of one connection in a second; 0: any number"),
    ROW_U64(limits, subscribes_per_second, "1000", 0, GIB,
            "Requests for subscriptions and pages of history of one connection in a second; "
            "0: any number"),
    ROW_U64(limits, history, "1000", 1, 100000, "Messages in one page of history"),
    ROW_U64(limits, queue_bytes, "1048576", KIB, GIB,
            "What waits for one client, in bytes; beyond it the client is too slow"),
    ROW_U64(limits, queue_ms, "30000", 100, DAY_MS,
            "Age of the oldest message that waits for one client, in ms"),
    ROW_U64(limits, memory_bytes, "0", 0, KIB * GIB,
            "Memory of the process, in bytes: at it, those clients lose messages or their connection "
            "for whom the most waits; 0: no ceiling"),
    ROW_U64(limits, inbox_bytes, "67108864", 64 * KIB, 16 * GIB,
            "What waits between two threads, in bytes"),
    ROW_U64(limits, handshake_ms, "10000", 100, DAY_MS,
            "Time from the connection to the finished handshake, in ms"),
    ROW_U64(limits, message_ms, "60000", 0, DAY_MS,
            "Time from the first byte of a client's message to its last, in ms; 0: any"),
    ROW_U64(limits, ping_ms, "25000", 0, DAY_MS,
            "Time between the server's WebSocket pings, in ms; 0: none"),
    ROW_U64(limits, pong_ms, "10000", 100, DAY_MS,
            "Time without a sign of life after a ping, in ms, before the connection is closed"),
    ROW_U64(limits, errors, "100", 1, 1000000,
            "Wrong frames of one connection in 10 s, before it is closed"),
    ROW_U64(limits, send_buffer, "0", 0, GIB,
            "The kernel's send buffer of a socket, in bytes; 0: as the kernel has it"),
    ROW_U64(limits, unsent_bytes, "65536", 0, GIB,
            "What the kernel takes of a client's data before it can send it, in bytes; 0: as much as "
            "its send buffer holds"),

    ROW_U64(replay, ring_messages, "1000", 0, 10000000,
            "Newest messages of a topic that are kept ready"),
    ROW_U64(replay, ring_bytes, "4194304", 0, 16 * GIB, "The same in bytes"),
    ROW_U64(replay, ring_keys, "10000", 0, 10000000,
            "Keys of a topic whose newest message is kept ready beyond that"),
    ROW_U64(replay, readers, "4", 1, 64,
            "Reads of a bus's past at the same time, for replays and history; on Kafka each has a "
            "consumer of its own"),
    ROW_U64(replay, max_messages, "100000", 1, 1000000000, "Messages that one replay may send"),
    ROW_U64(replay, pass_bytes, "16777216", 0, 16 * GIB,
            "What was read of a bus's past lately and serves other replays too, in bytes; 0: every "
            "replay reads for itself"),
    ROW_U64(replay, at_once, "10000", 1, 10000000,
            "Replays of a bus at the same time, and history pages that wait for a reader; one more "
            "is `busy`"),
    ROW_U64(replay, each, "256", 1, 100000,
            "Replays of one connection at the same time; one more is `busy`"),

    {.section = "compression", .option = {"enabled", WSBUS_BOOL, "false", 0, 0, NULL, 0,
        "Take and send compressed messages, where a client offers it"},
     .land = LAND_BOOL, .offset = AT(compression.enabled)},
    ROW_U64(compression, level, "1", 1, 9, "From 1, the fastest, to 9, the smallest"),
    ROW_U64(compression, min_bytes, "256", 0, GIB, "Smaller messages are sent as they are"),

    {.section = "web", .option = {"demo", WSBUS_BOOL, "false", 0, 0, NULL, 0,
        "Serve the demo pages: prices at /, a chat at /chat (on in the configuration that is "
        "built in)"},
     .land = LAND_BOOL, .offset = AT(web.demo)},
    {.section = "web", .option = {"root", WSBUS_STRING, NULL, 0, 0, NULL, 0,
        "Folder of your own pages, served at /; a relative path begins at the working directory"},
     .land = LAND_STRING, .offset = AT(web.root), .check = check_path},

    {.section = "log", .option = {"level", WSBUS_ENUM, "info", 0, 0, levels, WSBUS_RELOAD,
        "Least important lines to write"},
     .land = LAND_ENUM, .offset = AT(log_level)},
    {.section = "log", .option = {"format", WSBUS_ENUM, "logfmt", 0, 0, formats, WSBUS_RELOAD,
        "Form of the lines"},
     .land = LAND_ENUM, .offset = AT(log_format)},
    {.section = NULL},
};

const struct wsbus_option option_listen[] = {
    [LISTEN_ADDRESS] = {"address", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED,
     "As in the short form: 127.0.0.1:8080, [::1]:8080, unix:/path"},
    [LISTEN_PROXY_PROTOCOL] = {"proxy_protocol", WSBUS_BOOL, "false", 0, 0, NULL, 0,
     "Connections of trusted_proxies begin with a PROXY header, version 1 or 2"},
    [LISTEN_CLIENT_CA] = {"client_ca", WSBUS_STRING, NULL, 0, 0, NULL, 0,
     "File (PEM) of the authorities whose certificates clients show; without it they are not asked"},
    [LISTEN_CLIENT_CERT] = {"client_cert", WSBUS_ENUM, "required", 0, 0, client_certs, 0,
     "Must a client show a certificate, where client_ca is given, or may it do without"},
    [LISTEN_COUNT] = {.name = NULL},
};

const char option_tls_help[] =
    "A certificate, or a list of them; with it the address speaks TLS and nothing else. The client "
    "gets the first one for the name that it asks for, or else the first of all";

const struct wsbus_option option_tls[] = {
    [TLS_CERT] = {"cert", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED,
     "File (PEM) of the certificate and those between it and the authority"},
    [TLS_KEY] = {"key", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED,
     "File (PEM) of its private key, without a passphrase"},
    [TLS_NAMES] = {"names", WSBUS_LIST, NULL, 0, 0, NULL, 0,
     "Names it is for: a.example, *.b.example (one label); without it those in the certificate"},
    [TLS_COUNT] = {.name = NULL},
};

const struct wsbus_option option_bus[] = {
    {"type", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED, "Kind of bus"},
    {.name = NULL},
};

const struct wsbus_option option_rule[] = {
    [RULE_MATCH] = {"match", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED,
     "Channels of this rule: * is one segment, ** at the end one or more, {name} captures one"},
    [RULE_PREFIX] = {"prefix", WSBUS_STRING, NULL, 0, 0, NULL, 0,
     "Text in front of the channel's name that is taken off before match is tried"},
    [RULE_BUS] = {"bus", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED, "Name of the bus"},
    [RULE_TOPIC] = {"topic", WSBUS_STRING, NULL, 0, 0, NULL, 0,
     "Topic on the bus; text and {name}. Without it, the channel's name"},
    [RULE_KEY] = {"key", WSBUS_STRING, NULL, 0, 0, NULL, 0,
     "Key of the messages of a channel; text and {name}. Without it, all messages of the topic"},
    [RULE_PUBLISH] = {"publish", WSBUS_BOOL, "true", 0, 0, NULL, 0, "May clients publish?"},
    [RULE_HISTORY] = {"history", WSBUS_BOOL, "true", 0, 0, NULL, 0,
     "May clients read messages of the past?"},
    [RULE_HIDE_INTERNAL] = {"hide_internal", WSBUS_BOOL, "false", 0, 0, NULL, 0,
     "Pass over topics whose name begins with two underscores"},
    [RULE_COUNT] = {.name = NULL},
};
/* clang-format on */

const struct option_refusal option_refusals[] = {
    {"access", "jwt"},
    {"channels", "policy"},
    {NULL, NULL},
};

bool option_refused(const char *section, const char *name)
{
    for (const struct option_refusal *r = option_refusals; r->section; r++)
        if (strcmp(r->section, section) == 0 && strcmp(r->name, name) == 0) return true;
    return false;
}

struct wsbus_value option_value(const struct option_row *row, const struct config *c)
{
    const void *at = option_at(row, c);
    struct wsbus_value v = {.set = true};
    const struct config_patterns *list = at;
    switch (row->land) {
    case LAND_BOOL: v.boolean = *(const bool *)at; break;
    case LAND_UNSIGNED: v.number = *(const unsigned *)at; break;
    case LAND_U64: v.number = (int64_t) * (const uint64_t *)at; break;
    case LAND_STRING:
        v.string = *(const char *const *)at;
        v.set = v.string != NULL;
        break;
    case LAND_ENUM: v.string = row->option.choices[*(const int *)at]; break;
    case LAND_LIST:
        v.list = list->list;
        v.count = list->count;
        v.set = v.list != NULL;
        break;
    case LAND_ELSEWHERE: v.set = false; break;
    }
    return v;
}

static int choice_index(const struct wsbus_option *o, const char *text)
{
    int i = 0;
    while (o->choices[i] && strcmp(o->choices[i], text) != 0)
        i++;
    return o->choices[i] ? i : 0;
}

void option_land(const struct option_row *row, struct config *c, const struct wsbus_value *v)
{
    void *at = option_at(row, c);
    switch (row->land) {
    case LAND_BOOL: *(bool *)at = v->boolean; break;
    case LAND_UNSIGNED: *(unsigned *)at = (unsigned)v->number; break;
    case LAND_U64: *(uint64_t *)at = (uint64_t)v->number; break;
    case LAND_STRING: *(const char **)at = v->string; break;
    case LAND_ENUM: *(int *)at = choice_index(&row->option, v->string); break;
    case LAND_LIST:
        *(struct config_patterns *)at = (struct config_patterns){v->list, v->count};
        break;
    case LAND_ELSEWHERE: break;
    }
}

void option_path(struct buf *out, const struct option_row *row)
{
    if (*row->section) buf_printf(out, "%s.", row->section);
    buf_str(out, row->option.name);
}

void option_type(struct buf *out, const struct wsbus_option *o)
{
    switch (o->type) {
    case WSBUS_BOOL: buf_str(out, "true or false"); break;
    case WSBUS_INT:
        buf_str(out, "whole number");
        if (o->min < o->max)
            buf_printf(out, " from %lld to %lld", (long long)o->min, (long long)o->max);
        break;
    case WSBUS_STRING: buf_str(out, "string"); break;
    case WSBUS_ENUM:
        for (const char *const *c = o->choices; *c; c++) {
            if (c != o->choices) buf_str(out, c[1] ? ", " : " or ");
            buf_printf(out, "\"%s\"", *c);
        }
        break;
    case WSBUS_LIST: buf_str(out, "list of strings"); break;
    case WSBUS_MAP: buf_str(out, "object of strings, numbers and booleans"); break;
    }
}
