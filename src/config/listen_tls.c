/* The certificates of a listener. */
#include "config/load.h"

#include "config/value.h"

/* As in a certificate: labels, of which the first may be "*". */
static bool name_valid(const char *name)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (strncmp(name, "*.", 2) == 0) name += 2;
    if (strlen(name) > 253) return false;
    for (;;) {
        size_t n = strspn(name, letters);
        if (n == 0 || n > 63) return false;
        if (!name[n]) return true;
        if (name[n] != '.') return false;
        name += n + 1;
    }
}

static void check_names(struct load *l, const struct node *n, const struct wsbus_value *names)
{
    for (size_t i = 0; i < names->count; i++)
        if (!name_valid(names->list[i]))
            problem_add(&l->problems, n->at, "listen.tls.names",
                        "\"%s\" is no name of a host; write it like \"a.example\" or "
                        "\"*.example\", without scheme and port",
                        names->list[i]);
}

static void add_certificate(struct load *l, const struct node *n, struct config_tls *ret)
{
    struct wsbus_value values[TLS_COUNT];
    if (n->kind != NODE_OBJECT) {
        problem_add(&l->problems, n->at, "listen.tls",
                    "must be an object with \"cert\" and \"key\", or a list of these, not %s",
                    node_kind_name(n));
        return;
    }
    for (const struct node *m = n->child; m; m = m->next) {
        if (options_find(option_tls, m->name)) continue;
        struct suggest s = suggest_start(m->name);
        options_suggest(option_tls, &s);
        load_unknown(l, m, "listen.tls", &s);
    }
    load_rows(l, option_tls, n, "listen.tls", values);
    const struct node *names = tree_member(n, "names");
    if (names) check_names(l, names, &values[TLS_NAMES]);
    *ret = (struct config_tls){
        .cert = values[TLS_CERT].string,
        .key = values[TLS_KEY].string,
        .names = {values[TLS_NAMES].list, values[TLS_NAMES].count},
    };
}

static void add_certificates(struct load *l, const struct node *n, struct config_listen *ret)
{
    bool one = n->kind != NODE_LIST;
    const struct node *first = one ? n : n->child;
    size_t most = 0;
    for (const struct node *c = first; c; c = one ? NULL : c->next)
        most++;
    if (most == 0) {
        problem_add(&l->problems, n->at, "listen.tls", "needs at least one certificate");
        return;
    }
    struct config_tls *list = arena_zero(l->arena, most, sizeof *list);
    for (const struct node *c = first; c; c = one ? NULL : c->next)
        add_certificate(l, c, &list[ret->tls_count++]);
    ret->tls = list;
}

void listen_read_tls(struct load *l, const struct node *object, const struct wsbus_value *rows,
                     struct config_listen *ret)
{
    const struct node *tls = tree_member(object, "tls");
    const struct node *ca = tree_member(object, "client_ca");
    const struct node *cert = tree_member(object, "client_cert");
    if (tls) add_certificates(l, tls, ret);
    if (ca && !tls)
        problem_add(&l->problems, ca->at, "listen.client_ca",
                    "only TLS has certificates of clients; give the address a \"tls\" too");
    else if (cert && !ca)
        problem_add(&l->problems, cert->at, "listen.client_cert",
                    "needs \"client_ca\", the authorities whose certificates are good");
    ret->client_ca = rows[LISTEN_CLIENT_CA].string;
    ret->client_cert_optional = rows[LISTEN_CLIENT_CERT].number == 1;
}
