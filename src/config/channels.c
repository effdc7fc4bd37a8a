/* The channel rules. */
#include "config/load.h"

#include "base/pattern.h"
#include "config/value.h"
#include "protocol/channel.h"

struct rule {
    struct load *load;
    const struct node *node;
    const char *path;
    struct wsbus_value common[RULE_COUNT];
    struct wsbus_value *own; /* of the backend; NULL: it has none, or is not known */
};

static void tell(const struct rule *r, const char *member, const char *words)
{
    const struct node *n = tree_member(r->node, member);
    problem_add(&r->load->problems, n ? n->at : r->node->at,
                arena_printf(r->load->arena, "%s.%s", r->path, member), "%s", words);
}

static void check_template(const struct rule *r, const char *member, const char *text,
                           const struct pattern *p)
{
    char err[512] = "";
    if (!text) return;
    struct template *t = template_new(span_str(text), p, err, sizeof err);
    if (!t) tell(r, member, err);
    template_free(t);
}

static void check_texts(const struct rule *r)
{
    char err[512] = "";
    const char *match = r->common[RULE_MATCH].string, *prefix = r->common[RULE_PREFIX].string;
    if (prefix) {
        /* A channel's name must be able to begin like this. */
        const char *sample = arena_printf(r->load->arena, "%sx", prefix);
        if (!channel_valid(span_str(sample)))
            tell(r, "prefix", "no name of a channel can begin like this");
    }
    if (!match) return;
    struct pattern *p = pattern_new(span_str(match), err, sizeof err);
    if (!p) {
        tell(r, "match", err);
        return;
    }
    check_template(r, "topic", r->common[RULE_TOPIC].string, p);
    check_template(r, "key", r->common[RULE_KEY].string, p);
    pattern_free(p);
}

/* The index of the bus, or the number of buses if there is none of this name. */
static unsigned find_bus(const struct rule *r)
{
    const struct config *c = r->load->config;
    const char *name = r->common[RULE_BUS].string;
    unsigned i = 0;
    if (!name) return (unsigned)c->bus_count;
    struct suggest s = suggest_start(name);
    for (; i < c->bus_count && strcmp(c->buses[i].name, name) != 0; i++)
        suggest_try(&s, c->buses[i].name);
    if (i < c->bus_count) return i;
    const char *words =
        s.best ? arena_printf(r->load->arena, "there is no bus \"%s\"; did you mean \"%s\"?", name,
                              s.best)
               : arena_printf(r->load->arena, "there is no bus \"%s\"", name);
    tell(r, "bus", words);
    return i;
}

static void check_members(const struct rule *r, const struct wsbus_backend *backend)
{
    const struct wsbus_option *own = backend ? backend->rule_options : NULL;
    for (const struct node *m = r->node->child; m; m = m->next) {
        if (load_refused(r->load, "channels", m, r->path)) continue;
        if (options_find(option_rule, m->name) || options_find(own, m->name)) continue;
        struct suggest s = suggest_start(m->name);
        options_suggest(option_rule, &s);
        options_suggest(own, &s);
        /* Without a known bus, it may be an option of that bus's type. */
        if (backend || s.best) load_unknown(r->load, m, r->path, &s);
    }
}

static void read_own(struct rule *r, const struct wsbus_backend *backend)
{
    size_t before = r->load->problems.count;
    size_t count = options_count(backend->rule_options);
    if (count) {
        r->own = arena_zero(r->load->arena, count, sizeof *r->own);
        load_rows(r->load, backend->rule_options, r->node, r->path, r->own);
    }
    if (r->common[RULE_KEY].string && r->load->problems.count == before &&
        !(backend->caps(r->own) & WSBUS_CAP_KEY))
        tell(r, "key",
             arena_printf(r->load->arena, "a bus of type \"%s\" stores no keys with such a rule",
                          backend->name));
}

static void read_rule(struct load *l, const struct node *n, size_t index)
{
    struct rule r = {.load = l, .node = n};
    r.path = arena_printf(l->arena, "channels.%zu", index);
    if (n->kind != NODE_OBJECT) {
        problem_add(&l->problems, n->at, r.path,
                    "must be an object with \"match\" and \"bus\", "
                    "not %s",
                    node_kind_name(n));
        return;
    }
    load_rows(l, option_rule, n, r.path, r.common);
    unsigned bus = find_bus(&r);
    bool known = bus < l->config->bus_count;
    const struct wsbus_backend *backend = known ? l->config->buses[bus].backend : NULL;
    check_members(&r, backend);
    check_texts(&r);
    if (backend) read_own(&r, backend);
    l->config->rules[l->config->rule_count++] = (struct config_rule){
        .match = r.common[RULE_MATCH].string,
        .prefix = r.common[RULE_PREFIX].string,
        .bus = bus,
        .topic = r.common[RULE_TOPIC].string,
        .key = r.common[RULE_KEY].string,
        .publish = r.common[RULE_PUBLISH].boolean,
        .history = r.common[RULE_HISTORY].boolean,
        .hide_internal = r.common[RULE_HIDE_INTERNAL].boolean,
        .values = r.own,
    };
}

/* ---- rules that nobody wrote ---------------------------------------------------------------- */

static void add_string(struct load *l, struct node *object, const char *name, const char *text)
{
    struct node *n = node_new(l->arena, NODE_STRING, object->at);
    n->name = name;
    n->name_at = object->at;
    n->text = text;
    tree_append(object, n);
}

/* One bus is reached by the names of its topics, several by "NAME/" in front of them. They are
 * written into the tree, so that `config` shows them and one reader does for all. */
static struct node *default_rules(struct load *l)
{
    struct node *rules = node_new(l->arena, NODE_LIST, l->root->at);
    for (size_t i = 0; i < l->config->bus_count; i++) {
        const char *bus = l->config->buses[i].name;
        struct node *rule = node_new(l->arena, NODE_OBJECT, l->root->at);
        struct node *hide = node_new(l->arena, NODE_BOOL, l->root->at);
        if (l->config->bus_count > 1)
            add_string(l, rule, "prefix", arena_printf(l->arena, "%s/", bus));
        add_string(l, rule, "match", "**");
        add_string(l, rule, "bus", bus);
        hide->name = "hide_internal";
        hide->boolean = true;
        tree_append(rule, hide);
        for (const struct url_bus *u = l->url_buses; u; u = u->next)
            if (strcmp(u->name, bus) == 0) tree_append(rule, u->rule->child);
        tree_append(rules, rule);
    }
    return rules;
}

void channels_read(struct load *l)
{
    const struct node *n = tree_member(l->root, "channels");
    if (!n) n = default_rules(l);
    if (n->kind != NODE_LIST) {
        problem_add(&l->problems, n->at, "channels", "must be a list of rules, not %s",
                    node_kind_name(n));
        return;
    }
    size_t most = 0, index = 0;
    for (const struct node *r = n->child; r; r = r->next)
        most++;
    l->config->rules = arena_zero(l->arena, most, sizeof *l->config->rules);
    for (const struct node *r = n->child; r; r = r->next)
        read_rule(l, r, index++);
}
