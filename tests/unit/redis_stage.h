/* A bus thread and a Redis server in one test: the services of struct wsbus_host on a loop that the
 * test turns by hand, and a server on a unix socket that says what the test tells it to.
 *
 * The clock stands still (base/clock.h); stage_pass() moves it and fires what falls due. Whatever
 * waits gives up after ten real seconds and fails the test. Commands are compared as text: words
 * with a space between them. */
#ifndef UNIT_REDIS_STAGE_H
#define UNIT_REDIS_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <wsbus/backend.h>

#include "base/buf.h"
#include "base/timers.h"
#include "bus/redis_config.h"

struct stage_client { /* a connection as the server sees it */
    int fd;
    struct buf in;
};

struct stage {
    struct wsbus_host host;
    struct timers wheel;
    struct wsbus_watch *watches;
    struct stage_job *jobs;
    char folder[32], path[64], url[96];
    int listener; /* -1: the server is down */
    struct wsbus_value *values;
    char said[4096]; /* log lines, each with a newline */
};

void stage_init(struct stage *r);
void stage_done(struct stage *r); /* nothing may be watched or set any more */
void stage_set(struct stage *r, const char *option, const char *text);
struct redis_config *stage_config(struct stage *r);

void stage_turn(struct stage *r); /* one turn of the loop, without waiting */
void stage_pass(struct stage *r, uint64_t ms);
bool stage_wait(struct stage *r, bool (*met)(void *arg), void *arg);

void stage_server_up(struct stage *r);
void stage_server_down(struct stage *r);
/* Turns until a connection comes, moving the clock on for pauses. */
struct stage_client stage_accept(struct stage *r);
/* Accepts and answers CLIENT SETNAME and PING. */
struct stage_client stage_greet(struct stage *r);
/* Turns until a command is there, which must be this one. */
void stage_expect(struct stage *r, struct stage_client *c, const char *command);
/* Like it, for a command that begins with this word: how many words it has. */
unsigned stage_expect_words(struct stage *r, struct stage_client *c, const char *first);
/* Turns until a command is there: is it this one? It stays where it is. */
bool stage_peek(struct stage *r, struct stage_client *c, const char *command);
/* Nothing has come after some turns. */
void stage_expect_nothing(struct stage *r, struct stage_client *c);
void stage_say(struct stage *r, struct stage_client *c, const char *raw);
void stage_hang_up(struct stage *r, struct stage_client *c);

#endif
