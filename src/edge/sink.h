/* A sink: what a peer sends while it is being answered is read and thrown away.
 *
 * libwebsockets reads nothing in the middle of an answer, but is woken again and again by what
 * there is to read; and its way to stop that (lws_rx_flow_control) stops writing as well. So the
 * socket gets a second descriptor and a watcher of our own meanwhile.
 *
 * That is 4.1. The 4.3 of libwebsockets closes the connection when it is the first to see something
 * in the middle of an answer: who sends the next request before a long answer has come to its end
 * may not get the rest. Browsers do not. Together with the limits of its timers under libuv this is
 * why every answer says `Connection: close`. Worker thread. */
#ifndef EDGE_SINK_H
#define EDGE_SINK_H

struct conn;
struct sink;

/* NULL: no descriptors. A peer that closes its side, or sends more than a few requests' worth, has
 * its connection killed. */
struct sink *sink_open(struct conn *c);
void sink_close(struct sink *s); /* NULL is fine */

#endif
