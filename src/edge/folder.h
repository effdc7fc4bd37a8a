/* The folder of the user's own pages (web.root): from the path of a request to an open file.
 *
 * Nothing outside of the folder can be reached. The kernel sees to that (openat2 with
 * RESOLVE_BENEATH, Linux 5.6): a path that leads out, through `..` or through a symbolic link, is
 * not there. Links that stay inside are fine; the ConfigMaps of Kubernetes are made of them. There
 * is no second, weaker way for systems that lack it.
 *
 * Only regular files are served, never a list of what is in a folder, and no name that begins with
 * a dot but `.well-known`. Any thread; opening a file may wait for the disk. */
#ifndef EDGE_FOLDER_H
#define EDGE_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#define FOLDER_PATH_MAX 1024

/* Opens the folder. It is held open: another folder that is moved to its place later is not seen.
 * A descriptor, or -1 with a sentence in `err` that says what and where. */
int folder_open(const char *path, char *err, size_t err_size);

enum folder_result {
    FOLDER_FILE,
    FOLDER_SLASH,  /* it is at this path with a slash at the end */
    FOLDER_NONE,   /* there is nothing that may be served */
    FOLDER_DENIED, /* the process may not read it */
    FOLDER_BUSY,   /* no descriptors or no memory */
    FOLDER_BROKEN, /* the file system failed */
};

struct folder_file {
    int fd; /* the caller's to close */
    uint64_t size;
    char tag[64]; /* entity tag with its quotes: changes when the file does */
    char name[FOLDER_PATH_MAX + 16];
};

/* `path` is the path of the request, decoded, from its slash on; one that ends in a slash means
 * the index.html there. *ret is filled for FOLDER_FILE only. */
enum folder_result folder_get(int root, const char *path, struct folder_file *ret);

#endif
