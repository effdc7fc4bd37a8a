/* Addresses of peers, and networks of them. IPv4 is kept as IPv6 (::ffff:a.b.c.d), so that both are
 * compared alike and an IPv4 client of an IPv6 socket is the IPv4 client that it is. Pure. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum address_kind { ADDRESS_NONE, ADDRESS_IP, ADDRESS_UNIX };

struct address {
    enum address_kind kind;
    uint16_t port; /* 0: none is known */
    unsigned char ip[16];
};

#define ADDRESS_TEXT_MAX 56

struct sockaddr;

/* NULL or a family that is neither IP nor unix: ADDRESS_NONE. */
void address_of(const struct sockaddr *from, struct address *ret);
/* "192.0.2.1", "192.0.2.1:443", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443". */
bool address_parse(struct span text, struct address *ret);
/* "192.0.2.1:443", "[2001:db8::1]:443", "unix", "gone". Without a port where there is none. */
void address_write(const struct address *a, char out[ADDRESS_TEXT_MAX]);
bool address_loopback(const struct address *a); /* of this machine: 127/8, ::1, unix */
/* What is counted as one peer: an IPv4 address, or an IPv6 network of 64 bits. */
void address_group(const struct address *a, unsigned char ret[16]);

struct address_net {
    enum address_kind kind;
    unsigned bits; /* of 128 */
    unsigned char ip[16];
};

/* "192.0.2.0/24", "2001:db8::/32", a single address, or "unix:" (all unix sockets). 0, or -1 with
 * one sentence in `err`. */
int address_net_parse(const char *text, struct address_net *ret, char *err, size_t err_size);
bool address_in(const struct address *a, const struct address_net *net);

#endif
