#include "edge/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge/tls.h"

#ifndef WSBUS_VERSION
#define WSBUS_VERSION "dev"
#endif

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP wsbus_%s %s\n# TYPE wsbus_%s %s\n", name, help, name, type);
}

static const char *type_of(const char *name)
{
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, "_total") == 0 ? "counter" : "gauge";
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    head(out, name, "gauge", help);
    buf_printf(out, "wsbus_%s %" PRIu64 "\n", name, value);
}

/* A value of a label: quotes, backslashes and line breaks are escaped. */
static void label(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') buf_byte(out, '\\');
        if (*text == '\n')
            buf_str(out, "\\n");
        else
            buf_byte(out, *text);
    }
}

static void of_bus(struct buf *out, const char *name, const struct config *c, unsigned bus,
                   int64_t value)
{
    buf_printf(out, "wsbus_%s{bus=\"", name);
    label(out, c->buses[bus].name);
    buf_printf(out, "\"} %" PRId64 "\n", value);
}

/* ---- counters ------------------------------------------------------------------------------- */

static uint64_t sum(const struct metrics_view *v, enum counter which)
{
    const struct hub *hub = v->workers[0].edge->hub;
    uint64_t n = 0;
    for (unsigned i = 0; i < v->count; i++)
        n += counter_get(session_worker_counters(v->workers[i].edge->sessions), which);
    for (unsigned i = 0; i < hub_bus_count(hub); i++)
        n += counter_get(hub_counters(hub, i), which);
    return n;
}

static void write_counters(struct buf *out, const struct metrics_view *v)
{
    const char *last = "";
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        const struct counter_row *row = &counter_rows[i];
        if (strcmp(row->name, last) != 0) head(out, row->name, type_of(row->name), row->help);
        last = row->name;
        buf_printf(out, "wsbus_%s", row->name);
        if (row->labels) buf_printf(out, "{%s}", row->labels);
        buf_printf(out, " %" PRId64 "\n", (int64_t)sum(v, (enum counter)i));
    }
}

/* ---- the process and its parts -------------------------------------------------------------- */

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    if (fscanf(f, "%*u %lu", &pages) != 1) pages = 0;
    fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_process(struct buf *out, const struct metrics_view *v)
{
    const struct edge *e = v->workers[0].edge;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    head(out, "build_info", "gauge", "Always 1; the version is in the label");
    buf_str(out, "wsbus_build_info{version=\"" WSBUS_VERSION "\"} 1\n");
    gauge(out, "memory_resident_bytes", "Memory of the process", resident_bytes());
    head(out, "cpu_seconds_total", "counter", "Processor time of the process");
    buf_printf(out, "wsbus_cpu_seconds_total %.3f\n", seconds);
    gauge(out, "connections", "Open connections, WebSockets or not",
          atomic_load(&e->admission->open));
    gauge(out, "connections_limit", "Connections that the process takes", e->admission->limit);
    if (e->tls)
        gauge(out, "tls_certificate_expiry_timestamp_seconds",
              "When the first of the certificates ends, since the Unix epoch",
              (uint64_t)tls_first_end(e->tls));
    gauge(out, "draining", "1 while the process is going down",
          atomic_load(&e->admission->draining) ? 1 : 0);
}

static void write_inboxes(struct buf *out, const struct metrics_view *v)
{
    struct hub *hub = v->workers[0].edge->hub;
    head(out, "worker_inbox_bytes", "gauge", "What buses have for a worker that it has not taken");
    for (unsigned i = 0; i < v->count; i++)
        buf_printf(out, "wsbus_worker_inbox_bytes{worker=\"%u\"} %zu\n", i,
                   atomic_load(&v->workers[i].inbox->bytes));
    head(out, "worker_connections", "gauge", "Open connections of a worker");
    for (unsigned i = 0; i < v->count; i++)
        buf_printf(out, "wsbus_worker_connections{worker=\"%u\"} %" PRIuFAST64 "\n", i,
                   atomic_load(&v->workers[i].edge->count));
    head(out, "bus_inbox_bytes", "gauge", "What workers have for a bus that it has not taken");
    for (unsigned i = 0; i < hub_bus_count(hub); i++)
        of_bus(out, "bus_inbox_bytes", v->workers[0].edge->config, i,
               (int64_t)atomic_load(&hub_inbox(hub, i)->bytes));
    head(out, "bus_up", "gauge", "1 while the bus can be reached");
    for (unsigned i = 0; i < hub_bus_count(hub); i++)
        of_bus(out, "bus_up", v->workers[0].edge->config, i, hub_bus_up(hub, i));
}

/* ---- figures of the backends ---------------------------------------------------------------- */

/* "kafka_readers", "redis_streams": with the backend's name in front, once. False: no name. */
static bool figure_name(const struct config *c, const struct mail_figures *m, uint32_t i,
                        char out[80])
{
    const char *backend = c->buses[m->bus].backend->name, *name = m->list[i].name;
    size_t n = strlen(backend);
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name)) return false;
    bool has = strncmp(name, backend, n) == 0 && name[n] == '_';
    snprintf(out, 80, "%.20s%s%.48s", has ? "" : backend, has ? "" : "_", name);
    return true;
}

/* Lines of one name must stand together: the first bus that has it writes those of all. */
static bool is_first(const struct config *c, struct mail_figures *const *figures, unsigned upto,
                     const char *name)
{
    char other[80];
    for (unsigned f = 0; f < upto; f++)
        for (uint32_t i = 0; i < figures[f]->count; i++)
            if (figure_name(c, figures[f], i, other) && strcmp(other, name) == 0) return false;
    return true;
}

static void write_figures(struct buf *out, const struct config *c,
                          struct mail_figures *const *figures, unsigned count)
{
    char name[80], other[80];
    for (unsigned f = 0; f < count; f++) {
        for (uint32_t i = 0; i < figures[f]->count; i++) {
            if (!figure_name(c, figures[f], i, name) || !is_first(c, figures, f, name)) continue;
            head(out, name, type_of(name), "As this kind of bus counts it (docs/metrics.md)");
            for (unsigned g = f; g < count; g++)
                for (uint32_t k = 0; k < figures[g]->count; k++)
                    if (figure_name(c, figures[g], k, other) && strcmp(other, name) == 0)
                        of_bus(out, name, c, figures[g]->bus, figures[g]->list[k].value);
        }
    }
}

void metrics_write(struct buf *out, const struct metrics_view *view,
                   struct mail_figures *const *figures, unsigned figure_count)
{
    write_process(out, view);
    write_counters(out, view);
    write_inboxes(out, view);
    write_figures(out, view->workers[0].edge->config, figures, figure_count);
}
