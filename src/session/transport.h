/* What a session asks of the connection beneath it. Implemented by edge/ over libwebsockets and
 * by the unit tests in memory. */
#ifndef SESSION_TRANSPORT_H
#define SESSION_TRANSPORT_H

#include <stddef.h>

#include "protocol/codes.h"

enum transport_result {
    TRANSPORT_OK,     /* taken; write again as you like */
    TRANSPORT_CHOKED, /* taken; write no more before session_writable() */
    TRANSPORT_DEAD,   /* the connection is gone; session_gone() follows */
};

struct transport {
    const struct transport_ops *ops;
    unsigned window_bits; /* the client takes compressed messages (base/packer.h); 0: it does not */
};

struct transport_ops {
    /* Whole WebSocket frames, one after the other. Never calls back into the session. */
    enum transport_result (*write)(struct transport *t, const unsigned char *p, size_t n);
    /* Bytes that were taken and have not been sent: in the library or in the kernel. */
    uint32_t (*waiting)(struct transport *t);
    /* Close with this code and reason as soon as what was written is out (at the latest after
     * a few seconds), then session_gone(). Never calls back from inside. */
    void (*close)(struct transport *t, enum close_code code, const char *reason);
};

#endif
