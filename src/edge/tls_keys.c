#include "edge/tls_keys.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/mem.h"

#define NAME_SIZE 16 /* as OpenSSL has it */
#define KEY_SIZE 32

struct key {
    unsigned char name[NAME_SIZE];
    unsigned char cipher[KEY_SIZE], mac[KEY_SIZE];
    uint64_t born; /* in clock_ticks(); the name says nothing of it */
    bool exists;
};

struct tls_keys {
    pthread_mutex_t lock;
    struct key now, before;
};

static bool make(struct key *k)
{
    *k = (struct key){.born = clock_ticks(), .exists = true};
    return RAND_bytes(k->name, sizeof k->name) == 1 &&
           RAND_priv_bytes(k->cipher, sizeof k->cipher) == 1 &&
           RAND_priv_bytes(k->mac, sizeof k->mac) == 1;
}

struct tls_keys *tls_keys_new(void)
{
    struct tls_keys *k = mem_zero(sizeof(*k));
    pthread_mutex_init(&k->lock, NULL);
    if (make(&k->now)) return k;
    tls_keys_free(k);
    return NULL;
}

void tls_keys_free(struct tls_keys *k)
{
    if (!k) return;
    pthread_mutex_destroy(&k->lock);
    OPENSSL_cleanse(k, sizeof(*k));
    free(k);
}

/* Locked. Where there is no randomness for a new key, the old one goes on. */
static void rotate(struct tls_keys *k)
{
    uint64_t life = TLS_TICKET_S * 1000ULL, age = clock_ticks() - k->now.born;
    struct key fresh;
    if (age < life) return;
    if (make(&fresh)) {
        k->before = k->now;
        k->now = fresh;
        if (age >= 2 * life) OPENSSL_cleanse(&k->before, sizeof k->before);
    }
    OPENSSL_cleanse(&fresh, sizeof fresh);
}

/* A copy of the key for a new ticket. */
static void key_now(struct tls_keys *k, struct key *ret)
{
    pthread_mutex_lock(&k->lock);
    rotate(k);
    *ret = k->now;
    pthread_mutex_unlock(&k->lock);
}

/* A copy of the key of this name. 0: unknown; 1; 2: it is the old one, and the client should have a
 * new ticket. */
static int key_named(struct tls_keys *k, const unsigned char *name, struct key *ret)
{
    int found = 0;
    pthread_mutex_lock(&k->lock);
    rotate(k);
    if (memcmp(name, k->now.name, NAME_SIZE) == 0)
        found = 1;
    else if (k->before.exists && memcmp(name, k->before.name, NAME_SIZE) == 0)
        found = 2;
    if (found) *ret = found == 1 ? k->now : k->before;
    pthread_mutex_unlock(&k->lock);
    return found;
}

static bool set_mac(EVP_MAC_CTX *mac, struct key *key)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

int tls_keys_seal(struct tls_keys *k, const struct tls_ticket *t)
{
    struct key key;
    key_now(k, &key);
    memcpy(t->name, key.name, NAME_SIZE);
    bool good = RAND_bytes(t->iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                EVP_EncryptInit_ex(t->cipher, EVP_aes_256_cbc(), NULL, key.cipher, t->iv) == 1 &&
                set_mac(t->mac, &key);
    OPENSSL_cleanse(&key, sizeof key);
    return good ? 1 : -1;
}

int tls_keys_open(struct tls_keys *k, const struct tls_ticket *t)
{
    struct key key;
    int found = key_named(k, t->name, &key);
    if (found == 0) return 0;
    bool good = set_mac(t->mac, &key) &&
                EVP_DecryptInit_ex(t->cipher, EVP_aes_256_cbc(), NULL, key.cipher, t->iv) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    return good ? found : -1;
}
