/* A folder of pages: what is served, and that nothing outside is. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/folder.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char top[] = "/tmp/wsbus-folder-XXXXXX";
static int root = -1;

static const char *in_top(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", top, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_top(name), "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static const char *const folders[] = {"www",       "www/sub",         "www/empty", "www/.git",
                                      "www/odd x", "www/.well-known", "elsewhere"};
static const char *const files[] = {"www/index.html",    "www/a.txt",        "www/sub/index.html",
                                    "www/.git/config",   "www/.hidden",      "www/odd x/index.html",
                                    "www/.well-known/x", "elsewhere/secret", "www/100%"};
static const struct {
    const char *target, *name;
} links[] = {
    {"a.txt", "www/inside.txt"},
    {"sub", "www/folder"},
    {"../elsewhere", "www/out"},
    {"../elsewhere/secret", "www/out.txt"},
    {"/etc/passwd", "www/absolute"},
    {"/proc/self/root/etc/passwd", "www/magic"},
    {"loop", "www/loop"},
    {"sub/../a.txt", "www/winding.txt"},
    {"../www/a.txt", "www/out-and-in"},
    {".git/config", "www/dotted.txt"},
};

static int set_up(void **state)
{
    (void)state;
    char err[200];
    if (!mkdtemp(top)) return -1;
    for (size_t i = 0; i < COUNT(folders); i++)
        if (mkdir(in_top(folders[i]), 0700) < 0) return -1;
    for (size_t i = 0; i < COUNT(files); i++)
        put(files[i], files[i]);
    for (size_t i = 0; i < COUNT(links); i++)
        if (symlink(links[i].target, in_top(links[i].name)) < 0) return -1;
    if (mkfifo(in_top("www/fifo"), 0600) < 0) return -1;
    root = folder_open(in_top("www"), err, sizeof(err));
    return root < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(root);
    unlink(in_top("www/fifo"));
    for (size_t i = 0; i < COUNT(links); i++)
        unlink(in_top(links[i].name));
    for (size_t i = 0; i < COUNT(files); i++)
        unlink(in_top(files[i]));
    for (size_t i = COUNT(folders); i-- > 0;)
        rmdir(in_top(folders[i]));
    return rmdir(top);
}

static void files_are_found(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/", "www/index.html"},
        {"/index.html", "www/index.html"},
        {"/a.txt", "www/a.txt"},
        {"/sub/", "www/sub/index.html"},
        {"/folder/", "www/sub/index.html"},
        {"/inside.txt", "www/a.txt"},
        {"/winding.txt", "www/a.txt"},
        {"/odd x/", "www/odd x/index.html"},
        {"/.well-known/x", "www/.well-known/x"},
        {"/100%", "www/100%"},
        {"/dotted.txt", "www/.git/config"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct folder_file f;
        char text[64] = "";
        if (folder_get(root, rows[i][0], &f) != FOLDER_FILE) fail_msg("%s", rows[i][0]);
        assert_int_equal(read(f.fd, text, sizeof(text) - 1), f.size);
        close(f.fd);
        assert_string_equal(text, rows[i][1]); /* each file has its own name as text */
    }
}

static void everything_else_is_not_there(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",
        "a.txt",
        "/nope",
        "/a.txt/",
        "/a.txt/x",
        "/empty/",
        "/empty",
        "/.git/config",
        "/.hidden",
        "/.git",
        "/sub/../a.txt",
        "/..",
        "/../elsewhere/secret",
        "/sub/../../elsewhere/secret",
        "/./a.txt",
        "//a.txt",
        "/sub//index.html",
        "/out/secret",
        "/out.txt",
        "/absolute",
        "/magic",
        "/loop",
        "/out-and-in",
        "/fifo",
        "/sub\\..\\a.txt",
        "/a.txt\n",
        "/a\x01",
        "/a.txt\x7f",
        "/...",
        "/.well-knownx/x",
        "/%2e%2e/elsewhere/secret",
        "/.well-known",
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct folder_file f;
        if (folder_get(root, paths[i], &f) != FOLDER_NONE) fail_msg("%s", paths[i]);
    }
}

static void folders_want_a_slash(void **state)
{
    (void)state;
    struct folder_file f;
    assert_int_equal(folder_get(root, "/sub", &f), FOLDER_SLASH);
    assert_int_equal(folder_get(root, "/folder", &f), FOLDER_SLASH);
    assert_int_equal(folder_get(root, "/odd x", &f), FOLDER_SLASH);
}

static void long_paths_are_not_there(void **state)
{
    (void)state;
    struct folder_file f;
    char path[FOLDER_PATH_MAX + 200];
    for (size_t n = FOLDER_PATH_MAX - 40; n < sizeof(path); n++) {
        memset(path, 'x', n);
        path[0] = '/';
        path[n - 1] = n % 2 ? '/' : 'x';
        path[n] = '\0';
        assert_int_equal(folder_get(root, path, &f), FOLDER_NONE);
        for (size_t i = 2; i < n - 1; i += 2)
            path[i] = '/';
        assert_int_equal(folder_get(root, path, &f), FOLDER_NONE);
        if (n > FOLDER_PATH_MAX + 150) break;
    }
}

static void tags_change_with_the_file(void **state)
{
    (void)state;
    struct folder_file one, two, three;
    assert_int_equal(folder_get(root, "/a.txt", &one), FOLDER_FILE);
    assert_int_equal(folder_get(root, "/inside.txt", &two), FOLDER_FILE);
    assert_string_equal(one.tag, two.tag);
    const struct timespec times[2] = {{.tv_sec = 1, .tv_nsec = 1}, {.tv_sec = 1, .tv_nsec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, in_top("www/a.txt"), times, 0), 0);
    assert_int_equal(folder_get(root, "/a.txt", &three), FOLDER_FILE);
    assert_string_not_equal(one.tag, three.tag);
    assert_int_equal(three.tag[0], '"');
    close(one.fd);
    close(two.fd);
    close(three.fd);
}

/* As root the system would let it through, so another user looks. */
static void what_may_not_be_read(void **state)
{
    (void)state;
    struct folder_file f;
    assert_int_equal(chmod(in_top("www/a.txt"), 0), 0);
    (void)setfsuid(65534);
    assert_int_equal(folder_get(root, "/a.txt", &f), FOLDER_DENIED);
    (void)setfsuid(geteuid());
    assert_int_equal(chmod(in_top("www/a.txt"), 0600), 0);
    assert_int_equal(folder_get(root, "/a.txt", &f), FOLDER_FILE);
    close(f.fd);
}

static void folders_that_cannot_be_opened(void **state)
{
    (void)state;
    char err[300] = "";
    assert_int_equal(folder_open(in_top("nope"), err, sizeof(err)), -1);
    assert_non_null(strstr(err, "nope"));
    assert_non_null(strstr(err, "No such file"));
    assert_int_equal(folder_open(in_top("www/a.txt"), err, sizeof(err)), -1);
    assert_non_null(strstr(err, "Not a directory"));
    assert_int_equal(folder_open(in_top("www/fifo"), err, sizeof(err)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_found),
        cmocka_unit_test(everything_else_is_not_there),
        cmocka_unit_test(folders_want_a_slash),
        cmocka_unit_test(long_paths_are_not_there),
        cmocka_unit_test(tags_change_with_the_file),
        cmocka_unit_test(what_may_not_be_read),
        cmocka_unit_test(folders_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
