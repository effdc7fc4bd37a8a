/* A configuration file. Every mistake is told; what is accepted prints as JSON. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "bus/registry.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    char *argv[] = {"wsbus", "check", "-c", path, NULL};
    char *environment[] = {NULL};
    const struct config_input in = {4, argv, environment, bus_registry};
    enum config_action action;
    struct config config;
    struct buf errors, out;

    int fd = memfd_create("config", MFD_CLOEXEC);
    HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    buf_init(&errors, BUF_UNLIMITED);
    if (config_load(&in, &config, &action, &errors) == 0) {
        buf_init(&out, BUF_UNLIMITED);
        config_print(&config, &out);
        HOLDS(json_valid(buf_view(&out)));
        buf_free(&out);
        config_free(&config);
    } else {
        HOLDS(errors.n > 0);
    }
    buf_free(&errors);
    close(fd);
    return 0;
}
