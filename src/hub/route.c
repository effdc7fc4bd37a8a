#include "hub/route.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/pattern.h"

struct route_entry {
    const struct config_rule *rule;
    struct span prefix;
    struct pattern *match;
    struct template *topic, *key;
    unsigned caps;
};

struct route_table {
    struct route_entry *entries;
    size_t count;
};

static int entry_compile(struct route_entry *e, char *err, size_t err_size)
{
    const struct config_rule *rule = e->rule;
    char why[200];

    e->match = pattern_new(span_str(rule->match), why, sizeof why);
    if (e->match && rule->topic) {
        e->topic = template_new(span_str(rule->topic), e->match, why, sizeof why);
        if (!e->topic) goto bad;
    }
    if (e->match && rule->key) {
        e->key = template_new(span_str(rule->key), e->match, why, sizeof why);
        if (!e->key) goto bad;
    }
    if (e->match) return 0;
bad:
    snprintf(err, err_size, "channel rule \"%s\": %s", rule->match, why);
    return -1;
}

struct route_table *route_new(const struct config *config, char *err, size_t err_size)
{
    struct route_table *t = mem_zero(sizeof *t);

    t->entries = mem_zero((config->rule_count + 1) * sizeof *t->entries);
    for (size_t i = 0; i < config->rule_count; i++) {
        struct route_entry *e = &t->entries[t->count++];
        const struct wsbus_backend *b = config->buses[config->rules[i].bus].backend;

        e->rule = &config->rules[i];
        e->caps = b->caps(e->rule->values);
        e->prefix = span_str(e->rule->prefix);
        if (entry_compile(e, err, err_size) != 0) {
            route_free(t);
            return NULL;
        }
    }
    return t;
}

void route_free(struct route_table *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->count; i++) {
        pattern_free(t->entries[i].match);
        template_free(t->entries[i].topic);
        template_free(t->entries[i].key);
    }
    free(t->entries);
    free(t);
}

/* The name as this rule sees it: behind its prefix. False: it has another prefix. */
static bool entry_name(const struct route_entry *e, struct span channel, struct span *ret)
{
    *ret = channel;
    if (e->prefix.n > 0) {
        if (channel.n <= e->prefix.n || memcmp(channel.p, e->prefix.p, e->prefix.n) != 0)
            return false;
        *ret = span_of(channel.p + e->prefix.n, channel.n - e->prefix.n);
    }
    return true;
}

static void entry_write(const struct route_entry *e, struct span name,
                        const struct pattern_match *m, struct buf *scratch, struct route *ret)
{
    size_t topic_len;

    buf_clear(scratch);
    if (e->topic)
        template_write(e->topic, m, scratch);
    else
        buf_span(scratch, name);
    topic_len = scratch->n;
    buf_byte(scratch, '\0');
    if (e->key) template_write(e->key, m, scratch);
    *ret = (struct route){.rule = e->rule, .caps = e->caps};
    ret->topic = span_of(scratch->p, topic_len);
    if (e->key) ret->key = span_of(scratch->p + topic_len + 1, scratch->n - topic_len - 1);
}

static bool topic_internal(struct span topic)
{
    return topic.n >= 2 && memcmp(topic.p, "__", 2) == 0;
}

bool route_find(const struct route_table *t, struct span channel, struct buf *scratch,
                struct route *ret)
{
    struct pattern_match m;
    struct span name;

    for (size_t i = 0; i < t->count; i++) {
        const struct route_entry *e = &t->entries[i];
        if (!entry_name(e, channel, &name) || !pattern_match(e->match, name, &m)) continue;
        entry_write(e, name, &m, scratch, ret);
        if (e->rule->hide_internal && topic_internal(ret->topic)) continue;
        return !scratch->failed;
    }
    return false;
}
