/* TLS to a Redis server, with OpenSSL directly: hiredis has TLS only since 1.0, and none of its
 * versions compares the certificate with the name of the server.
 *
 * A struct redis_tls is what all connections of a bus share: the trusted authorities, our own
 * certificate, the name that is expected. A struct tls_stream is one connection over a connected
 * non-blocking socket, which stays the caller's. TLS 1.2 or newer.
 *
 * Making a redis_tls reads files and may block; any thread, and it is not changed afterwards.
 * Streams: one thread. The words of an error are one sentence and stay until the next call. */
#ifndef BUS_REDIS_TLS_H
#define BUS_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct redis_tls;
struct tls_stream;

struct redis_tls_spec {
    const char *name;       /* of the server in its certificate: a host name or an address */
    const char *ca;         /* file; NULL: the system's authorities */
    const char *cert, *key; /* our own; NULL, or both */
    bool verify;
};

enum tls_step { TLS_OK, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_FAILED };

/* NULL with one sentence in `err`. */
struct redis_tls *redis_tls_new(const struct redis_tls_spec *spec, char *err, size_t err_size);
void redis_tls_free(struct redis_tls *t);

struct tls_stream *tls_stream_new(const struct redis_tls *t, int fd);
void tls_stream_free(struct tls_stream *s);
enum tls_step tls_handshake(struct tls_stream *s); /* TLS_OK: done */
/* With TLS_OK *n is what was read or written, and more than 0. */
enum tls_step tls_read(struct tls_stream *s, void *p, size_t *n);
enum tls_step tls_write(struct tls_stream *s, const void *p, size_t *n);
const char *tls_words(const struct tls_stream *s);

#endif
