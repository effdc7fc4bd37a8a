/* What a Redis server sends, taken apart: hiredis' reader with objects of our own.
 *
 * The objects are struct redisReply as hiredis makes them (so whoever reads them need not know),
 * but all of a reply lies in one piece of memory that is used again for the next: no allocation for
 * each element, and an array is not believed before it is looked at (at most 1 048 576 elements,
 * where hiredis 0.14 allocates whatever is announced). RESP2. One thread. */
#ifndef BUS_REDIS_REPLY_H
#define BUS_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include <hiredis/hiredis.h>

#include <wsbus/backend.h>

struct reply_reader;

/* A reply has at most `max` bytes. */
struct reply_reader *reply_reader_new(size_t max);
void reply_reader_free(struct reply_reader *r);
int reply_reader_feed(struct reply_reader *r, const char *p, size_t n); /* 0, or -1 */
/* 1 with a reply that is good until the next call, 0 if none is complete, -1 for a breach of
 * protocol, after which nothing more can be read. */
int reply_reader_next(struct reply_reader *r, const struct redisReply **ret);
const char *reply_reader_words(const struct reply_reader *r); /* after -1 */
#define REPLY_WORDS 512
/* The words of an error, cut where they are too long, and what they mean to us. Returns `words`. */
const char *reply_words(const struct redisReply *error, char words[REPLY_WORDS]);
/* Does this error say that the server will serve nobody, or not us? */
bool reply_is_hopeless(const struct redisReply *error);
/* The status for a backend's answer that an error of the server stands for, by its first word:
 * LOADING, CLUSTERDOWN, MASTERDOWN, TRYAGAIN -> WSBUS_UNAVAILABLE; BUSY -> WSBUS_BUSY; all else
 * (NOPERM, NOAUTH, READONLY, OOM, WRONGTYPE, MOVED, ERR ...) -> WSBUS_REFUSED. */
enum wsbus_status reply_status(const struct redisReply *r);

#endif
