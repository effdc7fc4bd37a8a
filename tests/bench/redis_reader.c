/* What it costs to read from Redis and do nothing else: a plain hiredis subscriber, the measure for
 * the bus thread.
 *
 *     redis_reader PORT CHANNELS PREFIX
 *
 * Subscribes to PREFIX0, PREFIX1, … and PREFIXend, says `ready`, reads until a message comes on the
 * last, and prints one line of JSON: messages, and the processor time they took. */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static redisReply *next(redisContext *c)
{
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK) {
        fprintf(stderr, "redis_reader: %s\n", c->errstr);
        exit(1);
    }
    return reply;
}

static void subscribe(redisContext *c, unsigned long channels, const char *prefix)
{
    for (unsigned long i = 0; i < channels; i++)
        redisAppendCommand(c, "SUBSCRIBE %s%lu", prefix, i);
    redisAppendCommand(c, "SUBSCRIBE %send", prefix);
    for (unsigned long i = 0; i <= channels; i++)
        freeReplyObject(next(c));
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: redis_reader PORT CHANNELS PREFIX\n");
        return 2;
    }
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
    if (!c || c->err) {
        fprintf(stderr, "redis_reader: %s\n", c ? c->errstr : "out of memory");
        return 1;
    }
    subscribe(c, strtoul(argv[2], NULL, 10), argv[3]);
    puts("ready");
    fflush(stdout);
    uint64_t before = processor_ns(), count = 0;
    size_t prefix = strlen(argv[3]);
    for (;;) {
        redisReply *r = next(c);
        int last = strcmp(r->element[1]->str + prefix, "end") == 0;
        freeReplyObject(r);
        if (last) break;
        count++;
    }
    printf("{\"messages\":%" PRIu64 ",\"processor_ns\":%" PRIu64 "}\n", count,
           processor_ns() - before);
    redisFree(c);
    return 0;
}
