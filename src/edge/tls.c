#include "edge/tls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "edge/tls_front.h"
#include "edge/tls_keys.h"
#include "edge/tls_set.h"

#define DAY_S (24 * 3600)
#define SOON_DAYS 14 /* a certificate that ends before is warned of */

/* By what it is told whether a file has changed. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct tls_site {
    const struct config_listen *listen;
    struct tls_keys *keys;
    unsigned index;
    pthread_mutex_t lock; /* for `set`, the pointer */
    struct tls_set *set;
    struct stamp *stamps; /* of the last try: those of client_ca, cert, key, cert, key, ... */
};

struct tls {
    struct tls_keys *keys;
    pthread_mutex_t reloading; /* one at a time; guards the stamps */
    size_t count;              /* of the configuration's listeners */
    struct tls_site *sites;    /* listen NULL: it speaks plain text */
};

/* ---- files ---------------------------------------------------------------------------------- */

static struct stamp stamp_of(const char *file)
{
    struct stat st;
    struct stamp s;
    memset(&s, 0, sizeof(s)); /* it is compared as a whole */
    if (!file || stat(file, &st) < 0) return s;
    s.device = st.st_dev;
    s.inode = st.st_ino;
    s.size = st.st_size;
    s.changed = st.st_mtim;
    return s;
}

static size_t stamp_count(const struct config_listen *l)
{
    return 1 + 2 * l->tls_count;
}

/* Looks at the files. True: one is not as it was at the last look. */
static bool look(struct tls_site *site)
{
    const struct config_listen *l = site->listen;
    bool changed = false;
    for (size_t i = 0; i < stamp_count(l); i++) {
        const struct config_tls *t = i ? &l->tls[(i - 1) / 2] : NULL;
        struct stamp now = stamp_of(!t ? l->client_ca : i % 2 ? t->cert : t->key);
        changed |= memcmp(&now, &site->stamps[i], sizeof(now)) != 0;
        site->stamps[i] = now;
    }
    return changed;
}

/* ---- sites ---------------------------------------------------------------------------------- */

/* Whole days, rounded down: below 0 it has ended. */
static int64_t days_left(const struct tls_set *set)
{
    int64_t left = tls_set_end(set) - clock_wall() / 1000;
    return left / DAY_S - (left < 0);
}

static void warn_of_end(const struct tls_site *site, const struct tls_set *set)
{
    int64_t days = days_left(set);
    if (days < 0)
        log_warn(log_event("tls_certificate_expired"), log_s("address", site->listen->text),
                 log_i("days_ago", -days - 1));
    else if (days < SOON_DAYS)
        log_warn(log_event("tls_certificate_expires"), log_s("address", site->listen->text),
                 log_i("days", days));
}

static int open_site(struct tls *t, unsigned i, const struct config_listen *l, char *err,
                     size_t err_size)
{
    struct tls_site *site = &t->sites[i];
    char why[512] = "";
    site->listen = l;
    site->keys = t->keys;
    site->index = i;
    pthread_mutex_init(&site->lock, NULL);
    site->stamps = mem_zero(stamp_count(l) * sizeof(*site->stamps));
    (void)look(site);
    site->set = tls_set_load(l, i, why, sizeof(why));
    if (!site->set) {
        snprintf(err, err_size, "cannot speak TLS on %s: %s", l->text, why);
        return -1;
    }
    warn_of_end(site, site->set);
    return 0;
}

static void close_site(struct tls_site *site)
{
    if (!site->listen) return;
    tls_set_unref(site->set);
    free(site->stamps);
    pthread_mutex_destroy(&site->lock);
}

static void reload_site(struct tls_site *site)
{
    char why[512] = "";
    struct tls_set *fresh = tls_set_load(site->listen, site->index, why, sizeof(why));
    if (!fresh) {
        log_error(log_event("tls_refused"), log_s("address", site->listen->text),
                  log_s("reason", why), log_s("instead", "the certificates from before serve on"));
        return;
    }
    pthread_mutex_lock(&site->lock);
    struct tls_set *old = site->set;
    site->set = fresh;
    pthread_mutex_unlock(&site->lock);
    tls_set_unref(old);
    log_info(log_event("tls_reloaded"), log_s("address", site->listen->text),
             log_i("certificates", site->listen->tls_count), log_i("days", days_left(fresh)));
    warn_of_end(site, fresh);
}

struct tls_set *tls_site_set(struct tls_site *site)
{
    pthread_mutex_lock(&site->lock);
    struct tls_set *set = tls_set_ref(site->set);
    pthread_mutex_unlock(&site->lock);
    return set;
}

struct tls_keys *tls_site_keys(struct tls_site *site)
{
    return site->keys;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool wanted(const struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listen[i].tls) return true;
    return false;
}

int tls_open(const struct config *config, struct tls **ret, char *err, size_t err_size)
{
    *ret = NULL;
    if (!wanted(config)) return 0;
    struct tls *t = mem_zero(sizeof(*t));
    pthread_mutex_init(&t->reloading, NULL);
    t->count = config->listen_count;
    t->sites = mem_zero(t->count * sizeof(*t->sites));
    t->keys = tls_keys_new();
    int rc = t->keys && tls_front_init() == 0 ? 0 : -1;
    if (rc < 0) snprintf(err, err_size, "OpenSSL could not be started");
    for (unsigned i = 0; rc == 0 && i < t->count; i++)
        if (config->listen[i].tls) rc = open_site(t, i, &config->listen[i], err, err_size);
    if (rc < 0) {
        tls_close(t);
        return -1;
    }
    *ret = t;
    return 0;
}

void tls_close(struct tls *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->count; i++)
        close_site(&t->sites[i]);
    tls_keys_free(t->keys);
    pthread_mutex_destroy(&t->reloading);
    free(t->sites);
    free(t);
}

void tls_reload(struct tls *t, bool changed_only)
{
    pthread_mutex_lock(&t->reloading);
    for (size_t i = 0; i < t->count; i++) {
        struct tls_site *site = &t->sites[i];
        if (!site->listen) continue;
        bool changed = look(site);
        if (changed || !changed_only) reload_site(site);
    }
    pthread_mutex_unlock(&t->reloading);
}

int64_t tls_first_end(struct tls *t)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < t->count; i++) {
        if (!t->sites[i].listen) continue;
        struct tls_set *set = tls_site_set(&t->sites[i]);
        if (tls_set_end(set) < first) first = tls_set_end(set);
        tls_set_unref(set);
    }
    return first;
}

struct tls_site *tls_site(struct tls *t, size_t i)
{
    return t && t->sites[i].listen ? &t->sites[i] : NULL;
}
