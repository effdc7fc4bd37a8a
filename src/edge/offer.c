#include "edge/offer.h"

#include <stdio.h>

#include "base/packer.h"
#include "base/text.h"

#define VALUE_MAX 16 /* longer ones are none of permessage-deflate's */

/* ---- the list, by its grammar ---------------------------------------------------------------- */

static void skip_spaces(struct span *rest)
{
    while (rest->n > 0 && (rest->p[0] == ' ' || rest->p[0] == '\t'))
        *rest = span_of(rest->p + 1, rest->n - 1);
}

/* Is the next character, after spaces, this one? It is taken off then. */
static bool take_char(struct span *rest, char c)
{
    skip_spaces(rest);
    if (rest->n == 0 || rest->p[0] != c) return false;
    *rest = span_of(rest->p + 1, rest->n - 1);
    return true;
}

static bool take_token(struct span *rest, struct span *ret)
{
    size_t n = 0;
    skip_spaces(rest);
    while (n < rest->n && token_char(rest->p[n]))
        n++;
    *ret = span_of(rest->p, n);
    *rest = span_of(rest->p + n, rest->n - n);
    return n > 0;
}

/* One parameter. A value in quotes must be a token when they are off (RFC 6455 9.1). */
struct parameter {
    struct span name;
    bool has_value;
    char value[VALUE_MAX];
    size_t size; /* of the value, also where it does not fit */
};

static bool add(struct parameter *p, char c)
{
    if (p->size < VALUE_MAX) p->value[p->size] = c;
    p->size++;
    return token_char(c);
}

static bool take_quoted(struct span *rest, struct parameter *p)
{
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->p[i];
        if (c == '"') {
            *rest = span_of(rest->p + i + 1, rest->n - i - 1);
            return p->size > 0;
        }
        if (c == '\\' && ++i == rest->n) return false;
        if (!add(p, rest->p[i])) return false;
    }
    return false;
}

static bool take_parameter(struct span *rest, struct parameter *p)
{
    struct span token;
    *p = (struct parameter){.size = 0};
    if (!take_token(rest, &p->name)) return false;
    p->has_value = take_char(rest, '=');
    if (!p->has_value) return true;
    if (take_char(rest, '"')) return take_quoted(rest, p);
    if (!take_token(rest, &token)) return false;
    for (size_t i = 0; i < token.n; i++)
        (void)add(p, token.p[i]);
    return true;
}

/* ---- what the parameters mean ---------------------------------------------------------------- */

enum { SERVER_FRESH, CLIENT_FRESH, SERVER_WINDOW, CLIENT_WINDOW, PARAMETERS };

static const char *const names[PARAMETERS] = {
    [SERVER_FRESH] = "server_no_context_takeover",
    [CLIENT_FRESH] = "client_no_context_takeover",
    [SERVER_WINDOW] = "server_max_window_bits",
    [CLIENT_WINDOW] = "client_max_window_bits",
};

/* 8 to 15, without zeros in front. 0: it is something else. */
static unsigned window_of(const struct parameter *p)
{
    if (p->size == 1 && (p->value[0] == '8' || p->value[0] == '9'))
        return (unsigned)(p->value[0] - '0');
    if (p->size == 2 && p->value[0] == '1' && p->value[1] >= '0' && p->value[1] <= '5')
        return 10U + (unsigned)(p->value[1] - '0');
    return 0;
}

/* May this one stand in an offer? */
static bool means(const struct parameter *p, unsigned *seen, struct offer *o)
{
    unsigned which = 0;
    while (which < PARAMETERS && !span_eq(p->name, span_str(names[which])))
        which++;
    if (which == PARAMETERS || *seen & 1U << which) return false;
    *seen |= 1U << which;
    switch (which) {
    case SERVER_FRESH:
    case CLIENT_FRESH: return !p->has_value;
    case CLIENT_WINDOW: return !p->has_value || window_of(p) != 0;
    default: break;
    }
    o->window_asked = true;
    o->window_bits = window_of(p);
    return o->window_bits != 0;
}

/* One element of the list. False: it is malformed. */
static bool take_offer(struct span *rest, struct offer *o, bool *ret_good)
{
    struct parameter p;
    struct span name;
    unsigned seen = 0;
    if (!take_token(rest, &name)) return false;
    *o = (struct offer){.window_bits = PACKER_WINDOW_MOST};
    *ret_good = span_eq(name, SPAN("permessage-deflate"));
    while (take_char(rest, ';')) {
        if (!take_parameter(rest, &p)) return false;
        if (*ret_good && !means(&p, &seen, o)) *ret_good = false;
    }
    return true;
}

enum offer_verdict offer_read(struct span extensions, struct offer *ret)
{
    struct span rest = extensions;
    bool taken = false;
    for (;;) {
        struct offer o;
        bool good;
        while (take_char(&rest, ',')) {
        }
        if (rest.n == 0) break; /* behind the spaces */
        if (!take_offer(&rest, &o, &good)) return OFFER_MALFORMED;
        if (good && !taken) {
            taken = true;
            *ret = o;
        }
        if (!take_char(&rest, ',') && rest.n > 0) return OFFER_MALFORMED;
    }
    return taken ? OFFER_TAKEN : OFFER_NONE;
}

size_t offer_answer(const struct offer *o, char *out)
{
    int n = snprintf(out, OFFER_ANSWER_MAX, "Sec-WebSocket-Extensions: permessage-deflate; %s; %s",
                     names[SERVER_FRESH], names[CLIENT_FRESH]);
    if (o->window_asked)
        n += snprintf(out + n, (size_t)(OFFER_ANSWER_MAX - n), "; %s=%u", names[SERVER_WINDOW],
                      o->window_bits);
    n += snprintf(out + n, (size_t)(OFFER_ANSWER_MAX - n), "\r\n");
    return (size_t)n;
}
