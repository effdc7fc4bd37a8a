/* The compressed form of frames: permessage-deflate (RFC 7692), the way out.
 *
 * Every message is compressed by itself, from an empty window (server_no_context_takeover), so that
 * the outcome is the same for all sockets. A frame gets that form once in the process, from the
 * first worker that is about to write it to a client which takes it, and keeps it; a worker that
 * comes to the same frame meanwhile waits for it, for about 15 us at 1 KB, and everybody later finds
 * it with one atomic load. What is dropped before it is written is never compressed.
 *
 * A client may have asked for a smaller window (server_max_window_bits). No reference to what came
 * before in a message is longer than the message: so the one form is good for every window that holds
 * the message, and one that does not fit into a client's window goes to it as it is.
 *
 * A packer belongs to one thread. zlib's 268 KB are allocated with the first frame. */
#ifndef BASE_PACKER_H
#define BASE_PACKER_H

#include <stddef.h>

#include "base/frame.h"

#define PACKER_WINDOW_LEAST 8U /* RFC 7692 7.1.2.1 */
#define PACKER_WINDOW_MOST 15U

struct packer;

/* `level` as zlib's, 1 to 9; messages of fewer than `least` bytes are left as they are. */
struct packer *packer_new(int level, size_t least);
void packer_free(struct packer *p); /* NULL is fine */

/* What to write of a frame (or run) for a client with a window of 1 << window_bits bytes: its
 * compressed form, or the frame itself where that is not smaller or not for this window. Valid as
 * long as the frame. Of a run, each message is compressed that is worth it. */
const struct frame *packer_form(struct packer *p, const struct frame *f, unsigned window_bits);

#endif
