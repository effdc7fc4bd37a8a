/* Folders are watched, not files: a certificate is replaced by renaming (a file, a link, or the
 * link to a folder that a mounted secret is), and the new one was never watched. What the kernel
 * does not tell (a folder further up, a file system of another machine) is found by a look now and
 * then. */
#include "edge/tls_watch.h"

#include <libgen.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define QUIET_MS 500     /* certificate and key come one after the other */
#define PATIENCE_MS 5000 /* where it never gets quiet */
#define LOOK_MS 60000

#define EVENTS                                                                          \
    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct tls_watch {
    struct tls *tls;
    const struct config *config;
    int changes; /* inotify; -1: there is none */
    int stop;    /* eventfd */
    pthread_t thread;
};

static void watch_folder_of(const struct tls_watch *w, const char *file)
{
    if (!file) return;
    char *path = mem_dup(file, strlen(file));
    (void)inotify_add_watch(w->changes, dirname(path), EVENTS);
    free(path);
}

/* Again and again: a folder that is watched already stays so, one that was replaced is found. */
static void watch_folders(const struct tls_watch *w)
{
    if (w->changes < 0) return;
    for (size_t i = 0; i < w->config->listen_count; i++) {
        const struct config_listen *l = &w->config->listen[i];
        watch_folder_of(w, l->client_ca);
        for (size_t k = 0; k < l->tls_count; k++) {
            watch_folder_of(w, l->tls[k].cert);
            watch_folder_of(w, l->tls[k].key);
        }
    }
}

enum wake { WAKE_STOP, WAKE_CHANGE, WAKE_TIME };

static enum wake wait_for(const struct tls_watch *w, int timeout)
{
    char events[4096];
    struct pollfd fds[2] = {{.fd = w->stop, .events = POLLIN},
                            {.fd = w->changes, .events = POLLIN}};
    int n = poll(fds, 2, timeout);
    if (n > 0 && fds[0].revents) return WAKE_STOP;
    if (n <= 0 || !fds[1].revents) return WAKE_TIME;
    while (read(w->changes, events, sizeof(events)) > 0) {
    }
    return WAKE_CHANGE;
}

/* Until nothing has changed for a moment. */
static enum wake wait_for_quiet(const struct tls_watch *w)
{
    uint64_t end = clock_ticks() + PATIENCE_MS;
    enum wake why = WAKE_CHANGE;
    while (why == WAKE_CHANGE && clock_ticks() < end)
        why = wait_for(w, QUIET_MS);
    return why;
}

static void *run(void *arg)
{
    struct tls_watch *w = arg;
    pthread_setname_np(pthread_self(), "wsbus-tls");
    for (;;) {
        enum wake why = wait_for(w, LOOK_MS);
        if (why == WAKE_CHANGE) why = wait_for_quiet(w);
        if (why == WAKE_STOP) return NULL;
        watch_folders(w);
        tls_reload(w->tls, true);
    }
}

static void drop(struct tls_watch *w)
{
    if (w->changes >= 0) close(w->changes);
    if (w->stop >= 0) close(w->stop);
    free(w);
}

struct tls_watch *tls_watch_start(struct tls *t, const struct config *config, char *err,
                                  size_t err_size)
{
    struct tls_watch *w = mem_zero(sizeof(*w));
    w->tls = t;
    w->config = config;
    w->changes = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    w->stop = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->changes < 0)
        log_warn(log_event("tls_watch_slow"),
                 log_s("reason",
                       "the kernel watches no more folders (fs.inotify.max_user_instances): "
                       "changed certificates are seen within a minute"));
    watch_folders(w);
    if (w->stop >= 0 && pthread_create(&w->thread, NULL, run, w) == 0) return w;
    snprintf(err, err_size, "cannot start the thread that watches the certificates");
    drop(w);
    return NULL;
}

void tls_watch_stop(struct tls_watch *w)
{
    if (!w) return;
    const uint64_t one = 1;
    (void)!write(w->stop, &one, sizeof(one));
    pthread_join(w->thread, NULL);
    drop(w);
}
