/* The address of a Redis server as a URL; redis_config.h has the forms. Pure.
 *
 * Where programs differ: a user without a colon is refused (redis-cli takes it for a password,
 * others for a user's name). What stands before the "@" is never repeated in a message. */
#ifndef BUS_REDIS_URL_H
#define BUS_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis_url {
    char *host, *path;     /* one of them; the other is NULL */
    char *user, *password; /* or NULL */
    uint16_t port;
    unsigned database;
    bool tls;
};

/* 0, or -1 with one sentence in `err`; redis_url_free() in both cases. */
int redis_url_parse(const char *text, struct redis_url *ret, char *err, size_t err_size);
void redis_url_free(struct redis_url *u);

#endif
