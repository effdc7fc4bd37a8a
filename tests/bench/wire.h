/* WebSocket and clock for the programs of this folder: no more of RFC 6455 than they need. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_frame {
    unsigned opcode;
    bool masked, packed; /* by permessage-deflate */
    char *payload;
    size_t len, size; /* of the payload, of the frame */
};

/* A whole frame at `p`, still masked; false: not all of it is there. */
bool wire_frame(char *p, size_t n, struct wire_frame *ret_frame);
/* The head of an unmasked frame with `len` bytes of payload: at most 10 bytes. Returns its length. */
size_t wire_head(char *out, unsigned opcode, size_t len);
/* A masked text frame, at most 14 bytes more than the text. The mask of zeros is as good as any on
 * loopback, and a server has to apply it like any other. */
size_t wire_masked(char *out, const char *text, size_t len);
/* The answer to a ping, as a client sends it; without an answer who pings closes. */
#define WIRE_PONG_MAX (6 + 125)
size_t wire_pong(char *out, const struct wire_frame *ping);

/* A non-blocking connection to a port of 127.0.0.1; it may not be there yet. Ends the program if there
 * can be none. Each `number` of sixteen has an address of its own: the more of the ports of one are taken,
 * the longer the kernel looks for the next one. */
int wire_connect(uint16_t port, unsigned number);
/* The request of an upgrade, with more lines of its head, each with its line end. Returns its length. */
size_t wire_request(char *out, size_t cap, const char *path, const char *more);
/* The value of NAME=VALUE among the arguments of a program, or `otherwise`. */
const char *wire_arg(char **argv, const char *name, const char *otherwise);
unsigned wire_number(char **argv, const char *name, unsigned otherwise);

uint64_t wire_ns(void);          /* CLOCK_MONOTONIC */
void wire_die(const char *what); /* with errno's words */

#endif
