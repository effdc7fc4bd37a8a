#include "edge/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INDEX "index.html"
#define TRIES 4 /* the kernel may say "again" while names beneath the folder are moved */

static int open_beneath(int root, const char *name, int flags)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;
    for (int i = 0; i < TRIES; i++) {
        fd = syscall(SYS_openat2, root, name, &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
    }
    return (int)fd;
}

int folder_open(const char *path, char *err, size_t err_size)
{
    int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        snprintf(err, err_size, "web.root: the folder %s cannot be opened: %s", path,
                 strerror(errno));
        return -1;
    }
    int fd = open_beneath(root, ".", O_PATH | O_DIRECTORY);
    if (fd >= 0) {
        close(fd);
        return root;
    }
    if (errno == ENOSYS || errno == EPERM)
        snprintf(err, err_size,
                 "web.root: %s: the system call openat2 is missing or forbidden (%s); it needs "
                 "Linux 5.6 and, in a container, a seccomp profile that knows it",
                 path, strerror(errno));
    else
        snprintf(err, err_size, "web.root: the folder %s cannot be read: %s", path,
                 strerror(errno));
    close(root);
    return -1;
}

/* Is this a path whose every part may be named? Dots are refused here although the kernel keeps
 * what they lead to inside, so that .git and its like are not served by mistake. */
static bool may_be_named(const char *path)
{
    if (*path != '/') return false;
    for (const char *p = path; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f || c == '\\') return false;
        if (c != '/') continue;
        if (p[1] == '/') return false;
        size_t n = strcspn(p + 1, "/");
        if (p[1] == '.' && (n != 11 || strncmp(p + 1, ".well-known", n) != 0)) return false;
    }
    return true;
}

static enum folder_result failure(int error)
{
    switch (error) {
    case EACCES:
    case EPERM: return FOLDER_DENIED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case EINTR: return FOLDER_BUSY;
    case EIO: return FOLDER_BROKEN;
    default: return FOLDER_NONE; /* not there, too long, a loop, a way out (EXDEV), a socket */
    }
}

/* A file, or FOLDER_SLASH for a folder. Without O_NONBLOCK the opening of a FIFO would wait for
 * somebody to write into it. */
static enum folder_result open_file(int root, const char *name, struct folder_file *ret)
{
    int fd = open_beneath(root, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return failure(errno);
    struct stat s;
    enum folder_result result = FOLDER_NONE;
    if (fstat(fd, &s) < 0)
        result = FOLDER_BROKEN;
    else if (S_ISREG(s.st_mode))
        result = FOLDER_FILE;
    else if (S_ISDIR(s.st_mode))
        result = FOLDER_SLASH;
    if (result != FOLDER_FILE) {
        close(fd);
        return result;
    }
    ret->fd = fd;
    ret->size = (uint64_t)s.st_size;
    snprintf(ret->tag, sizeof(ret->tag), "\"%jx-%jx-%jx.%lx\"", (uintmax_t)s.st_ino,
             (uintmax_t)s.st_size, (uintmax_t)s.st_mtim.tv_sec, (unsigned long)s.st_mtim.tv_nsec);
    return FOLDER_FILE;
}

enum folder_result folder_get(int root, const char *path, struct folder_file *ret)
{
    struct folder_file f;
    size_t n = strlen(path);
    if (n == 0 || n >= FOLDER_PATH_MAX || !may_be_named(path)) return FOLDER_NONE;
    bool slash = path[n - 1] == '/';
    snprintf(f.name, sizeof(f.name), "%s%s", path + 1, slash ? INDEX : "");
    enum folder_result result = open_file(root, f.name, &f);
    if (result == FOLDER_SLASH) {
        /* A folder is worth a redirect only if there is something to see in it. */
        if (slash) return FOLDER_NONE;
        snprintf(f.name, sizeof(f.name), "%s/" INDEX, path + 1);
        if (open_file(root, f.name, &f) != FOLDER_FILE) return FOLDER_NONE;
        close(f.fd);
        return FOLDER_SLASH;
    }
    if (result == FOLDER_FILE) *ret = f;
    return result;
}
