/* Two backends that exist only as tables, and a config_load() that takes texts. */
#ifndef CONFIG_FIXTURE_H
#define CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

static const struct wsbus_option fix_memory_options[] = {
    {"history", WSBUS_INT, "10000", 0, 1000000, NULL, 0, "Messages kept for each topic"},
    {"tags", WSBUS_LIST, NULL, 0, 0, NULL, 0, "Words"},
    {.name = NULL},
};

static const char *const fix_kinds[] = {"pubsub", "stream", NULL};

static const struct wsbus_option fix_redis_options[] = {
    {"url", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_REQUIRED, "Address of the server"},
    {"password", WSBUS_STRING, NULL, 0, 0, NULL, WSBUS_SECRET, "Password"},
    {"pool", WSBUS_INT, "2", 1, 16, NULL, 0, "Connections"},
    {"properties", WSBUS_MAP, NULL, 0, 0, NULL, 0, "Settings of the library"},
    {.name = NULL},
};

static const struct wsbus_option fix_redis_rules[] = {
    {"kind", WSBUS_ENUM, "pubsub", 0, 0, fix_kinds, 0, "What a topic is"},
    {.name = NULL},
};

static unsigned fix_memory_caps(const struct wsbus_value *rule)
{
    (void)rule;
    return WSBUS_CAP_LOG | WSBUS_CAP_KEY;
}

static unsigned fix_redis_caps(const struct wsbus_value *rule)
{
    return rule[0].number == 1 ? WSBUS_CAP_LOG | WSBUS_CAP_KEY : 0;
}

static int fix_redis_check(const struct wsbus_value *values, char *err, size_t err_size)
{
    if (strncmp(values[0].string, "redis", 5) == 0) return 0;
    snprintf(err, err_size, "the url must begin with redis:// or rediss://");
    return -1;
}

static const struct wsbus_backend fix_memory = {
    .name = "memory", .help = "In memory.", .options = fix_memory_options, .caps = fix_memory_caps};
static const struct wsbus_backend fix_redis = {.name = "redis",
                                               .help = "Redis.",
                                               .options = fix_redis_options,
                                               .rule_options = fix_redis_rules,
                                               .caps = fix_redis_caps,
                                               .check = fix_redis_check};
static const struct wsbus_backend *const fix_backends[] = {&fix_memory, &fix_redis, NULL};

struct fix {
    struct config config;
    enum config_action action;
    struct buf errors;
    char *text; /* of the errors */
    int result;
    char path[64];
};

/* `file` NULL: no -c. `args` and `env` end with NULL and may be NULL. In the errors, the file's
 * path is replaced by "F". */
static void fix_load(struct fix *f, const char *file, const char *const *args,
                     const char *const *env)
{
    char *argv[32] = {(char *)(size_t) "wsbus"};
    int argc = 1;
    memset(f, 0, sizeof *f);
    buf_init(&f->errors, BUF_UNLIMITED);
    if (file) {
        snprintf(f->path, sizeof f->path, "/tmp/wsbus-test-XXXXXX");
        int fd = mkstemp(f->path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, file, strlen(file)), (ssize_t)strlen(file));
        close(fd);
        argv[argc++] = (char *)(size_t) "-c";
        argv[argc++] = f->path;
    }
    for (; args && *args; args++)
        argv[argc++] = (char *)(size_t)*args;
    char *const none[] = {NULL};
    const struct config_input in = {argc, argv, env ? (char *const *)(size_t)env : none,
                                    fix_backends};
    f->result = config_load(&in, &f->config, &f->action, &f->errors);
    if (file) unlink(f->path);
    f->text = buf_steal(&f->errors);
    for (char *p; file && (p = strstr(f->text, f->path));) {
        *p = 'F';
        memmove(p + 1, p + strlen(f->path), strlen(p + strlen(f->path)) + 1);
    }
    if (f->result < 0) assert_true(*f->text != '\0');
}

static void fix_done(struct fix *f)
{
    if (f->result == 0) config_free(&f->config);
    buf_free(&f->errors);
    free(f->text);
}

#define FIX_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void fix_ok(struct fix *f, const char *file, const char *const *args,
                          const char *const *env)
{
    fix_load(f, file, args, env);
    if (f->result < 0) fail_msg("unexpected: %s", f->text);
}

/* The whole text of the errors. */
static inline void fix_wrong(const char *file, const char *const *args, const char *const *env,
                             const char *expected)
{
    struct fix f;
    fix_load(&f, file, args, env);
    assert_int_equal(f.result, -1);
    assert_string_equal(f.text, expected);
    fix_done(&f);
}

#endif
