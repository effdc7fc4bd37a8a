/* The floor and where its messages come from, where that is a bus. One thread. */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <stddef.h>
#include <stdint.h>

/* Puts a message into what this turn of the loop sends to those who receive the channel. */
void floor_deliver(const char *payload, size_t len, unsigned channel);

/* A bus: `open` gives what epoll watches for input, `read` takes what is there, `join` is called for the
 * first socket that receives a channel. */
struct floor_bus {
    const char *name;
    int (*open)(char **argv);
    void (*read)(void);
    void (*join)(unsigned channel);
};

extern const struct floor_bus floor_redis; /* redis=PORT: SUBSCRIBE b.00012 */
extern const struct floor_bus floor_kafka; /* kafka=BROKERS topic=NAME: the key is the channel */

#endif
