/* The configuration file, and the one that is built in. */
#include "config/load.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "config/jsonc.h"

#define FILE_MAX (4UL * 1024 * 1024)

static const char default_text[] =
    "{\n"
    "  \"buses\": {\n"
    "    \"demo\": { \"type\": \"memory\", \"quotes\": 40 }\n"
    "  },\n"
    "  \"channels\": [\n"
    "    { \"match\": \"quotes.{symbol}\", \"bus\": \"demo\", \"topic\": \"quotes\",\n"
    "      \"key\": \"{symbol}\", \"publish\": false },\n"
    "    { \"match\": \"**\", \"bus\": \"demo\" }\n"
    "  ],\n"
    "  \"web\": { \"demo\": true },\n"
    "}\n";

static struct place nowhere(const struct source *source)
{
    return (struct place){source, 0};
}

/* A UTF-8 mark is told at its place, other encodings would not even have lines. */
static bool wrong_encoding(struct load *l, const struct source *s)
{
    struct span t = s->text;
    const char *words = NULL;
    if (t.n >= 3 && memcmp(t.p, "\xef\xbb\xbf", 3) == 0)
        words = "the file begins with a byte order mark; save it as UTF-8 without one";
    else if (t.n >= 2 && (memcmp(t.p, "\xff\xfe", 2) == 0 || memcmp(t.p, "\xfe\xff", 2) == 0))
        words = "the file is UTF-16; save it as UTF-8";
    if (words) problem_add(&l->problems, nowhere(s), NULL, "%s", words);
    return words != NULL;
}

static struct node *parse(struct load *l, struct source *s)
{
    size_t where;
    const char *why = NULL;
    char *copy = arena_dup(l->arena, s->text);
    struct span json = {copy, s->text.n};
    if (wrong_encoding(l, s)) return NULL;
    if (jsonc_strip(copy, json.n, &where) < 0) {
        problem_add(&l->problems, (struct place){s, where}, NULL, "this comment has no end");
        return NULL;
    }
    if (json_trim(json).n == 0) {
        problem_add(&l->problems, nowhere(s), NULL, "the file is empty; the least is an object");
        return NULL;
    }
    if (json_check(json, &where, &why) < 0) {
        problem_add(&l->problems, (struct place){s, where}, NULL, "not JSON: %s", why);
        return NULL;
    }
    struct node *root = tree_parse(json, s, &l->problems);
    if (!root || root->kind == NODE_OBJECT) return root;
    problem_add(&l->problems, root->at, NULL, "must be an object, not %s", node_kind_name(root));
    return NULL;
}

/* 0, or an errno; EFBIG beyond the cap. */
static int read_all(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = 0;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) error = errno;
        if (n <= 0) break;
        buf_append(out, chunk, (size_t)n);
        if (out->failed) {
            error = EFBIG;
            break;
        }
    }
    close(fd);
    return error;
}

struct node *file_read(struct load *l, const char *path)
{
    struct source *s = load_source(l, path);
    struct buf text;
    buf_init(&text, FILE_MAX);
    int error = read_all(path, &text);
    struct node *root = NULL;
    if (error) {
        problem_add(&l->problems, nowhere(s), NULL, "cannot be read: %s", strerror(error));
    } else {
        s->text = span_of(arena_dup(l->arena, buf_view(&text)), text.n);
        root = parse(l, s);
    }
    buf_free(&text);
    return root;
}

struct node *file_default(struct load *l)
{
    struct source *s = load_source(l, "(built-in configuration)");
    s->text = span_str(default_text);
    return parse(l, s);
}
