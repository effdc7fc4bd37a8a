/* What the user wrote, from all sources merged into one tree whose every node knows its place.
 * Nodes live in the arena. One thread. */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "config/arena.h"
#include "config/problems.h"

enum node_kind {
    NODE_NULL,
    NODE_BOOL,
    NODE_NUMBER,
    NODE_STRING,
    NODE_TEXT, /* of a variable or the command line: the option decides what it is */
    NODE_LIST,
    NODE_OBJECT,
};

struct node {
    struct node *next;  /* the next member or element */
    struct node *child; /* the first member or element */
    enum node_kind kind;
    bool boolean;
    const char *name;     /* as a member */
    const char *text;     /* number (as written), string, text */
    struct place name_at; /* as a member */
    struct place at;
};

struct node *node_new(struct arena *a, enum node_kind kind, struct place at);
const char *node_kind_name(const struct node *n); /* "a string", for messages */

/* JSON that json_check() has accepted. Duplicate members and strings with NUL or a lone surrogate
 * (which are empty in the tree) become problems. NULL, and told, if the JSON library refuses it. */
struct node *tree_parse(struct span json, const struct source *source, struct problems *ps);
/* A value of the command line or the environment: JSON where it begins like an object, a list or a
 * string and is valid (with comments and trailing commas); `null`; else plain text. */
struct node *tree_value(const char *text, const struct source *source, struct problems *ps);

/* NULL where there is none, or where it is null. */
struct node *tree_member(const struct node *object, const char *name);
void tree_append(struct node *parent, struct node *n);

#define TREE_PATH_MAX 16

struct tree_path {
    const char *part[TREE_PATH_MAX];
    size_t count;
    bool fold; /* parts match members without regard to case */
};

/* Puts a value at a path, over what is there. Objects on the way are made; a number is an index
 * into a list, its length appends. What follows an option of a bus or rule is one name, with its
 * dots: a member of a map. */
void tree_set(struct arena *a, struct node *root, const struct tree_path *path, struct node *value);

#endif
