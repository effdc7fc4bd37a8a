#include "base/json_scan.h"

#include <string.h>

#include "base/plain.h"
#include "base/text.h"

/* ---- bytes ---------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

static int hex_digit(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* ---- validation ----------------------------------------------------------------------------- */

struct scan {
    const char *p, *end; /* after a failure p is at the wrong byte */
    const char *why;
    uint32_t depth;
    uint64_t objects[JSON_DEPTH_MAX / 64]; /* a bit for each level: 1 object, 0 array */
};

/* What comes next. */
enum step { STEP_FAILED, STEP_VALUE, STEP_AFTER };

static enum step scan_fail(struct scan *s, const char *at, const char *why)
{
    s->p = at;
    s->why = at < s->end ? why : "unexpected end";
    return STEP_FAILED;
}

/* p is at a backslash. NULL, with s->p at the wrong byte. */
static const char *scan_escape(struct scan *s, const char *p)
{
    p++;
    if (p == s->end || strchr("\"\\/bfnrtu", *p) == NULL || *p == '\0') {
        scan_fail(s, p, "invalid escape");
        return NULL;
    }
    if (*p++ != 'u') return p;
    for (int i = 0; i < 4; i++, p++) {
        if (p == s->end || hex_digit(*p) < 0) {
            scan_fail(s, p, "invalid escape");
            return NULL;
        }
    }
    return p;
}

/* p is at the opening quote. */
static enum step scan_string(struct scan *s)
{
    const char *p = s->p + 1;
    for (;;) {
        p = plain_skip(p, s->end);
        if (p == s->end) return scan_fail(s, p, "");
        if (*p == '"') break;
        if (*p == '\\') {
            p = scan_escape(s, p);
            if (p == NULL) return STEP_FAILED;
        } else if ((unsigned char)*p < 0x20) {
            return scan_fail(s, p, "control character in a string");
        } else {
            size_t length = utf8_length(p, (size_t)(s->end - p));
            if (length == 0) return scan_fail(s, p, "invalid UTF-8");
            p += length;
        }
    }
    s->p = p + 1;
    return STEP_AFTER;
}

static enum step scan_number(struct scan *s)
{
    const char *p = s->p, *end = s->end;
    if (*p == '-') p++;
    if (p == end || !is_digit(*p)) return scan_fail(s, p, "invalid number");
    p = *p == '0' ? p + 1 : skip_digits(p, end);
    if (p < end && *p == '.') {
        p++;
        if (p == end || !is_digit(*p)) return scan_fail(s, p, "invalid number");
        p = skip_digits(p, end);
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (p == end || !is_digit(*p)) return scan_fail(s, p, "invalid number");
        p = skip_digits(p, end);
    }
    s->p = p;
    return STEP_AFTER;
}

static enum step scan_word(struct scan *s, const char *word)
{
    const char *p = s->p;
    for (; *word != '\0'; word++, p++)
        if (p == s->end || *p != *word) return scan_fail(s, p, "unexpected character");
    s->p = p;
    return STEP_AFTER;
}

/* The name of a member and its colon. */
static enum step scan_key(struct scan *s)
{
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end || *s->p != '"') return scan_fail(s, s->p, "member name expected");
    if (scan_string(s) == STEP_FAILED) return STEP_FAILED;
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end || *s->p != ':') return scan_fail(s, s->p, "colon expected");
    s->p++;
    return STEP_VALUE;
}

static enum step scan_open(struct scan *s, bool object)
{
    if (s->depth == JSON_DEPTH_MAX) return scan_fail(s, s->p, "nested too deep");
    uint64_t bit = UINT64_C(1) << s->depth % 64;
    uint64_t *word = &s->objects[s->depth / 64];
    if (s->depth % 64 == 0) *word = 0;
    *word = object ? *word | bit : *word & ~bit;
    s->p = skip_space(s->p + 1, s->end);
    if (s->p < s->end && *s->p == (object ? '}' : ']')) {
        s->p++;
        return STEP_AFTER;
    }
    s->depth++;
    return object ? scan_key(s) : STEP_VALUE;
}

static enum step scan_value(struct scan *s)
{
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end) return scan_fail(s, s->p, "");
    switch (*s->p) {
    case '{': return scan_open(s, true);
    case '[': return scan_open(s, false);
    case '"': return scan_string(s);
    case 't': return scan_word(s, "true");
    case 'f': return scan_word(s, "false");
    case 'n': return scan_word(s, "null");
    default:
        if (*s->p == '-' || is_digit(*s->p)) return scan_number(s);
        return scan_fail(s, s->p, "unexpected character");
    }
}

/* Behind a value inside a container. */
static enum step scan_after(struct scan *s)
{
    uint32_t level = s->depth - 1;
    bool object = s->objects[level / 64] >> level % 64 & 1;
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end) return scan_fail(s, s->p, "");
    if (*s->p == ',') {
        s->p++;
        return object ? scan_key(s) : STEP_VALUE;
    }
    if (*s->p != (object ? '}' : ']'))
        return scan_fail(s, s->p, "comma or closing bracket expected");
    s->p++;
    s->depth--;
    return STEP_AFTER;
}

static enum step scan_text(struct scan *s)
{
    enum step step = STEP_VALUE;
    while (step == STEP_VALUE || (step == STEP_AFTER && s->depth > 0))
        step = step == STEP_VALUE ? scan_value(s) : scan_after(s);
    if (step == STEP_FAILED) return step;
    s->p = skip_space(s->p, s->end);
    return s->p == s->end ? STEP_AFTER : scan_fail(s, s->p, "something follows the value");
}

int json_check(struct span text, size_t *ret_where, const char **ret_why)
{
    size_t where = 0;
    const char *why = "unexpected end";
    if (text.n > 0) {
        struct scan s;
        s.p = text.p;
        s.end = text.p + text.n;
        s.depth = 0;
        if (scan_text(&s) != STEP_FAILED) return 0;
        where = (size_t)(s.p - text.p);
        why = s.why;
        if (where == 0 && text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
            why = "byte order mark";
    }
    if (ret_where != NULL) *ret_where = where;
    if (ret_why != NULL) *ret_why = why;
    return -1;
}

/* ---- walking -------------------------------------------------------------------------------- */

enum json_kind json_kind(struct span value)
{
    const char *end = value.p + value.n;
    const char *p = skip_space(value.p, end);
    switch (p < end ? *p : 'n') {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

struct span json_trim(struct span value)
{
    const char *end = value.p + value.n;
    const char *p = skip_space(value.p, end);
    while (end > p && is_space(end[-1]))
        end--;
    return (struct span){p, (size_t)(end - p)};
}

/* p is at the opening quote; the place behind the closing one. */
static const char *pass_string(const char *p, const char *end)
{
    p++;
    for (;;) {
        p = plain_skip(p, end);
        if (p >= end) return end;
        if (*p == '"') return p + 1;
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
}

static const char *pass_container(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = pass_string(p, end);
            continue;
        }
        p++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) break;
    }
    return p;
}

static const char *pass_value(const char *p, const char *end)
{
    if (p == end) return end;
    if (*p == '"') return pass_string(p, end);
    if (*p == '{' || *p == '[') return pass_container(p, end);
    while (p < end && !is_space(*p) && *p != ',' && *p != '}' && *p != ']')
        p++;
    return p;
}

struct json_iter json_open(struct span container)
{
    struct span s = json_trim(container);
    if (s.n < 2) return (struct json_iter){s.p, s.p};
    return (struct json_iter){s.p + 1, s.p + s.n - 1};
}

/* At the next member or element; false at the end. */
static bool iter_next(struct json_iter *it)
{
    it->p = skip_space(it->p, it->end);
    if (it->p < it->end && *it->p == ',') it->p = skip_space(it->p + 1, it->end);
    return it->p < it->end;
}

bool json_element(struct json_iter *it, struct span *ret_value)
{
    if (!iter_next(it)) return false;
    const char *p = it->p;
    it->p = pass_value(p, it->end);
    *ret_value = (struct span){p, (size_t)(it->p - p)};
    return true;
}

bool json_member(struct json_iter *it, struct span *ret_key, struct span *ret_value)
{
    struct span key;
    if (!json_element(it, &key) || key.n < 2) return false;
    const char *p = skip_space(it->p, it->end);
    p = skip_space(p < it->end ? p + 1 : p, it->end);
    it->p = pass_value(p, it->end);
    *ret_key = (struct span){key.p + 1, key.n - 2};
    *ret_value = (struct span){p, (size_t)(it->p - p)};
    return true;
}

/* ---- strings and numbers -------------------------------------------------------------------- */

/* Four hex digits, or a code that is no surrogate where they are missing. */
static uint32_t read_hex(const char *p, const char *end)
{
    uint32_t code = 0;
    if (end - p < 4) return 0;
    for (int i = 0; i < 4; i++)
        code = code << 4 | ((uint32_t)hex_digit(p[i]) & 15);
    return code;
}

/* *p is at a backslash and is moved behind the escape, with both halves of a pair. A lone
 * surrogate comes back as itself. */
static uint32_t read_escape(const char **p, const char *end)
{
    const char *q = *p + 2;
    char c = (*p)[1];
    *p = q;
    switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: return (unsigned char)c;
    }
    uint32_t high = read_hex(q, end);
    *p = q + 4;
    if ((high & 0xfc00) != 0xd800 || end - q < 10 || q[4] != '\\' || q[5] != 'u') return high;
    uint32_t low = read_hex(q + 6, end);
    if ((low & 0xfc00) != 0xdc00) return high;
    *p = q + 10;
    return 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
}

static bool is_surrogate(uint32_t code)
{
    return code >= 0xd800 && code <= 0xdfff;
}

bool json_key_is(struct span raw, const char *plain)
{
    size_t n = strlen(plain);
    const char *p = raw.p, *end = raw.p + raw.n;
    if (raw.n == 0 || memchr(raw.p, '\\', raw.n) == NULL)
        return raw.n == n && memcmp(raw.p, plain, n) == 0;
    while (p < end) {
        char piece[4];
        size_t length = 1;
        if (*p != '\\') {
            piece[0] = *p++;
        } else {
            uint32_t code = read_escape(&p, end);
            if (is_surrogate(code)) return false;
            length = utf8_put(piece, code);
        }
        if (length > n || memcmp(piece, plain, length) != 0) return false;
        plain += length;
        n -= length;
    }
    return n == 0;
}

int json_unescape(struct span value, struct buf *out)
{
    struct span s = json_trim(value);
    if (s.n < 2) return -1;
    const char *p = s.p + 1, *end = s.p + s.n - 1;
    size_t before = out->n;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        const char *stop = slash != NULL ? slash : end;
        buf_append(out, p, (size_t)(stop - p));
        p = stop;
        if (p == end) break;
        uint32_t code = read_escape(&p, end);
        if (is_surrogate(code)) {
            out->n = before;
            return -1;
        }
        char piece[4];
        buf_append(out, piece, utf8_put(piece, code));
    }
    return 0;
}

int json_integer(struct span value, int64_t *ret)
{
    struct span s = json_trim(value);
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t v = 0;
    size_t i = negative;
    if (i == s.n) return -1;
    for (; i < s.n; i++) {
        if (!is_digit(s.p[i])) return -1;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (v > (limit - digit) / 10) return -1;
        v = v * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}
