/* The keys of session tickets: made at the start, one set for all workers, so that a client resumes
 * at whichever worker it comes to. A new key every TLS_TICKET_S seconds; the one before is good for
 * as long again, so that no ticket ends before its time; older ones are forgotten, and with them
 * every session that they sealed. They live in this process only. Any thread. */
#ifndef EDGE_TLS_KEYS_H
#define EDGE_TLS_KEYS_H

#include <openssl/evp.h>

#define TLS_TICKET_S (12 * 3600) /* life of a ticket */

struct tls_keys;

/* What OpenSSL hands over to have a ticket sealed or opened. */
struct tls_ticket {
    unsigned char *name; /* of the key, 16 bytes */
    unsigned char *iv;
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac;
};

struct tls_keys *tls_keys_new(void); /* NULL: there is no randomness */
void tls_keys_free(struct tls_keys *k);
/* Both return what OpenSSL wants to hear: below 0 the handshake fails, 0 it goes on without a
 * ticket, 1 it is done, 2 likewise, and the client shall have a new one. */
int tls_keys_seal(struct tls_keys *k, const struct tls_ticket *t);
int tls_keys_open(struct tls_keys *k, const struct tls_ticket *t);

#endif
