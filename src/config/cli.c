/* The command line. */
#include "config/load.h"

struct command {
    const char *name;
    enum config_action action;
};

static const struct command commands[] = {
    {"run", CONFIG_RUN},       {"check", CONFIG_CHECK},         {"config", CONFIG_PRINT},
    {"schema", CONFIG_SCHEMA}, {"reference", CONFIG_REFERENCE}, {"--version", CONFIG_VERSION},
    {"-V", CONFIG_VERSION},    {"--help", CONFIG_HELP},         {"-h", CONFIG_HELP},
    {NULL, CONFIG_RUN},
};

static const char *const flags[] = {"-c", "--config", "--set", NULL};

struct words {
    struct load *load;
    int argc, at;
    char *const *argv;
    const char *command; /* the command that was given, or NULL */
    bool stands_alone;   /* --help or --version: the rest does not matter */
};

static void tell(struct load *l, const char *words)
{
    problem_add(&l->problems, (struct place){NULL, 0}, NULL, "%s", words);
}

static void append(struct load *l, struct cli_word **list, const char *text)
{
    struct cli_word *w = arena_zero(l->arena, 1, sizeof *w);
    w->text = text;
    while (*list)
        list = &(*list)->next;
    *list = w;
}

/* If the word is this flag, its value: behind "=", or the next word. NULL: another flag, or no
 * value, which is told. */
static const char *flag_value(struct words *w, const char *flag, bool *ret_is_flag)
{
    const char *word = w->argv[w->at];
    size_t n = strlen(flag);
    *ret_is_flag = strncmp(word, flag, n) == 0 && (word[n] == '\0' || word[n] == '=');
    if (!*ret_is_flag) return NULL;
    if (word[n] == '=') return word + n + 1;
    if (w->at + 1 < w->argc) return w->argv[++w->at];
    tell(w->load, arena_printf(w->load->arena, "%s needs a value behind it", flag));
    return NULL;
}

static void set_file(struct load *l, const char *path)
{
    if (l->cli.file) tell(l, "one configuration file is possible; -c is given twice");
    l->cli.file = path;
}

static bool read_flag(struct words *w)
{
    bool is_flag;
    const char *value;
    for (size_t i = 0; flags[i]; i++) {
        value = flag_value(w, flags[i], &is_flag);
        if (!is_flag) continue;
        if (value && strcmp(flags[i], "--set") == 0)
            append(w->load, &w->load->cli.sets, value);
        else if (value)
            set_file(w->load, value);
        return true;
    }
    return false;
}

static bool read_command(struct words *w, const char *word)
{
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, word) != 0) continue;
        struct load *l = w->load;
        if (c->name[0] == '-')
            w->stands_alone = true;
        else if (w->command)
            tell(l, arena_printf(l->arena, "\"%s\" and \"%s\" are two commands; one is possible",
                                 w->command, c->name));
        w->command = c->name;
        l->cli.action = c->action;
        return true;
    }
    return false;
}

static void unknown(struct load *l, const char *word)
{
    const char *kind = word[0] == '-' ? "flag" : "command";
    struct suggest s = suggest_start(word);
    size_t n = strlen(word);
    for (const struct command *c = commands; c->name; c++)
        if ((c->name[0] == '-') == (word[0] == '-')) suggest_try(&s, c->name);
    for (size_t i = 0; flags[i] && word[0] == '-'; i++)
        suggest_try(&s, flags[i]);
    if (load_backend(l, word))
        tell(l, arena_printf(l->arena, "unknown command \"%s\"; did you mean the URL \"%s:\"?",
                             word, word));
    else if (word[0] != '-' && (strchr(word, '/') || (n > 5 && strstr(word, ".json"))))
        tell(l,
             arena_printf(l->arena, "unknown command \"%s\"; did you mean \"-c %s\"?", word, word));
    else if (strcmp(word, "help") == 0 || strcmp(word, "version") == 0)
        tell(l,
             arena_printf(l->arena, "unknown command \"%s\"; did you mean \"--%s\"?", word, word));
    else if (s.best)
        tell(l,
             arena_printf(l->arena, "unknown %s \"%s\"; did you mean \"%s\"?", kind, word, s.best));
    else
        tell(l, arena_printf(l->arena, "unknown %s \"%s\"; see wsbus --help", kind, word));
}

void cli_read(struct load *l, int argc, char *const argv[])
{
    struct words w = {.load = l, .argc = argc, .at = 1, .argv = argv};
    l->cli.action = CONFIG_RUN;
    for (; w.at < argc && !w.stands_alone; w.at++) {
        const char *word = argv[w.at];
        if (read_command(&w, word) || read_flag(&w)) continue;
        if (word[0] != '-' && strchr(word, ':'))
            append(l, &l->cli.urls, word);
        else
            unknown(l, word);
    }
}

/* ---- --set ---------------------------------------------------------------------------------- */

static bool split(char *text, struct tree_path *path)
{
    while (path->count < TREE_PATH_MAX) {
        if (!*text || *text == '.') return false;
        path->part[path->count++] = text;
        char *dot = strchr(text, '.');
        if (!dot) return true;
        *dot = '\0';
        text = dot + 1;
    }
    return false;
}

void cli_apply_sets(struct load *l)
{
    for (const struct cli_word *w = l->cli.sets; w; w = w->next) {
        size_t n = strcspn(w->text, "=");
        /* Without the value, which may be a secret. */
        struct source *s = load_source(
            l, arena_printf(l->arena, "--set %s", arena_dup(l->arena, span_of(w->text, n))));
        struct tree_path path = {.fold = false};
        if (w->text[n] != '=' || !split(arena_dup(l->arena, span_of(w->text, n)), &path)) {
            problem_add(&l->problems, (struct place){s, 0}, NULL,
                        "must be written path.to.option=value");
            continue;
        }
        tree_set(l->arena, l->root, &path, tree_value(w->text + n + 1, s, &l->problems));
    }
}
