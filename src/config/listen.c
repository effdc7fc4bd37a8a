/* The addresses to listen on. */
#include "config/load.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "config/value.h"

static void refuse(struct load *l, const struct node *n, const char *text, const char *words)
{
    problem_add(&l->problems, n->at, l->address_of, "\"%s\" %s", text, words);
}

static bool read_port(const char *s, uint16_t *ret)
{
    unsigned long port = 0;
    size_t n = strspn(s, "0123456789");
    if (n == 0 || n > 5 || s[n]) return false;
    for (; *s; s++)
        port = port * 10 + (unsigned long)(*s - '0');
    if (port > 65535) return false;
    *ret = (uint16_t)port;
    return true;
}

/* Literal addresses only: a name would have to be looked up, and may mean several. */
static bool read_host(struct load *l, const char *host, struct config_listen *ret)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        char *inner = arena_dup(l->arena, span_of(host + 1, n - 2));
        if (inet_pton(AF_INET6, inner, &six) != 1) return false;
        ret->host = inner;
        ret->loopback =
            IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
        return true;
    }
    if (inet_pton(AF_INET, host, &four) != 1) return false;
    ret->host = arena_dup(l->arena, span_str(host));
    ret->loopback = ntohl(four.s_addr) >> 24 == 127;
    return true;
}

static bool read_unix(struct load *l, const struct node *n, const char *text,
                      struct config_listen *ret)
{
    struct sockaddr_un address;
    const char *path = text + strlen("unix:");
    if (*path != '/') {
        refuse(l, n, text, "needs an absolute path: \"unix:/run/wsbus.sock\"");
        return false;
    }
    if (strlen(path) >= sizeof address.sun_path) {
        refuse(l, n, text, "is longer than a socket's path can be");
        return false;
    }
    ret->path = path;
    ret->loopback = true;
    return true;
}

static bool read_address(struct load *l, const struct node *n, const char *text,
                         struct config_listen *ret)
{
    *ret = (struct config_listen){.text = text};
    if (strncmp(text, "unix:", 5) == 0) return read_unix(l, n, text, ret);
    const char *colon = strrchr(text, ':');
    if (!colon || text[strlen(text) - 1] == ']') {
        refuse(l, n, text, "has no port; write it like \"127.0.0.1:8080\" or \"[::1]:8080\"");
        return false;
    }
    char *host = arena_dup(l->arena, span_of(text, (size_t)(colon - text)));
    if (!read_port(colon + 1, &ret->port)) {
        refuse(l, n, text, "has no port from 0 to 65535 behind the last colon");
        return false;
    }
    if (!*host || strcmp(host, "*") == 0) {
        refuse(l, n, text, "has no address; all of this machine's are \"0.0.0.0\" and \"[::]\"");
        return false;
    }
    if (!read_host(l, host, ret)) {
        refuse(l, n, text,
               "is no numeric address; write it like \"127.0.0.1:8080\", "
               "\"[::1]:8080\", \"localhost:8080\" or \"unix:/path\"");
        return false;
    }
    return true;
}

static void check_proxies(struct load *l, const struct node *n)
{
    if (l->config->trusted_proxies.count > 0) return;
    problem_add(&l->problems, n->at, "listen.proxy_protocol",
                "needs \"trusted_proxies\": the addresses of those whose PROXY "
                "header is believed, for instance [\"10.0.0.0/8\"]");
}

static void check_reach(struct load *l, const struct node *n, const struct config_listen *e)
{
    if (!e->loopback && !l->config->access.given)
        problem_add(&l->problems, n->at, l->address_of,
                    "%s can be reached by other machines, and there is no \"access\" that says "
                    "who may do what; write for instance \"access\": { \"origins\": "
                    "[\"https://app.example.com\"], \"anonymous\": { \"subscribe\": [\"**\"] } }, "
                    "or listen on 127.0.0.1",
                    e->text);
}

/* NULL, and told, if it is none. */
static struct config_listen *add_address(struct load *l, const struct node *n, const char *text)
{
    struct config *c = l->config;
    struct config_listen *e = &c->listen[c->listen_count];
    if (!read_address(l, n, text, e)) return NULL;
    check_reach(l, n, e);
    for (size_t i = 0; i < c->listen_count; i++) {
        const struct config_listen *o = &c->listen[i];
        bool same_path = e->path && o->path && strcmp(e->path, o->path) == 0;
        bool same_port =
            e->host && o->host && e->port && e->port == o->port && strcmp(e->host, o->host) == 0;
        if (same_path || same_port) refuse(l, n, text, "is given twice");
    }
    c->listen_count++;
    return e;
}

static void add_object(struct load *l, const struct node *n)
{
    struct wsbus_value values[LISTEN_COUNT];
    for (const struct node *m = n->child; m; m = m->next) {
        if (load_refused(l, "listen", m, "listen") || options_find(option_listen, m->name) ||
            strcmp(m->name, "tls") == 0)
            continue;
        struct suggest s = suggest_start(m->name);
        options_suggest(option_listen, &s);
        suggest_try(&s, "tls");
        load_unknown(l, m, "listen", &s);
    }
    load_rows(l, option_listen, n, "listen", values);
    struct config_listen tls = {.tls = NULL};
    listen_read_tls(l, n, values, &tls);
    const struct node *address = tree_member(n, "address");
    bool proxied = values[LISTEN_PROXY_PROTOCOL].boolean;
    if (proxied) check_proxies(l, tree_member(n, "proxy_protocol"));
    if (!address || !values[LISTEN_ADDRESS].string) return;
    struct config_listen *e = add_address(l, address, values[LISTEN_ADDRESS].string);
    if (!e) return;
    e->proxy_protocol = proxied;
    e->tls = tls.tls;
    e->tls_count = tls.tls_count;
    e->client_ca = tls.client_ca;
    e->client_cert_optional = tls.client_cert_optional;
}

static void add_entry(struct load *l, const struct node *n)
{
    if (n->kind == NODE_OBJECT)
        add_object(l, n);
    else if (n->kind == NODE_STRING || n->kind == NODE_TEXT)
        add_address(l, n, n->text);
    else
        problem_add(&l->problems, n->at, "listen",
                    "must be an address, an object with \"address\", or a list of these, not %s",
                    node_kind_name(n));
}

static void add_text(struct load *l, const struct node *n, const struct wsbus_option *option)
{
    struct value_target t = {.option = option, .path = "listen"};
    struct wsbus_value v;
    if (!value_read(&t, n, &l->problems, &v)) return;
    l->config->listen = arena_zero(l->arena, v.count, sizeof *l->config->listen);
    for (size_t i = 0; i < v.count; i++)
        add_address(l, n, v.list[i]);
}

void listen_read(struct load *l)
{
    const struct option_row *row = option_rows;
    const struct node *n = tree_member(l->root, "listen");
    while (strcmp(row->option.name, "listen") != 0)
        row++;
    size_t before = l->problems.count;
    l->address_of = "listen";
    if (!n) {
        struct node fallback = {.kind = NODE_TEXT, .text = row->option.fallback};
        add_text(l, &fallback, &row->option);
    } else if (n->kind == NODE_TEXT) {
        add_text(l, n, &row->option);
    } else {
        size_t most = 1;
        for (const struct node *e = n->child; e; e = e->next)
            most++;
        l->config->listen = arena_zero(l->arena, most, sizeof *l->config->listen);
        if (n->kind != NODE_LIST) add_entry(l, n);
        for (const struct node *e = n->kind == NODE_LIST ? n->child : NULL; e; e = e->next)
            add_entry(l, e);
    }
    if (n && !l->config->listen_count && l->problems.count == before)
        problem_add(&l->problems, n->at, "listen", "needs at least one address");
}

void admin_read(struct load *l)
{
    struct config *c = l->config;
    const struct node *n = tree_member(l->root, "admin");
    if (!n || !c->admin_text) return;
    l->address_of = "admin";
    if (read_address(l, n, c->admin_text, &c->admin)) check_reach(l, n, &c->admin);
}
