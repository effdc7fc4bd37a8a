/* The contract of include/wsbus/backend.h as test cases, for any backend on its real server.
 *
 * A backend adds one fixture file with a main() that calls contract_run(). Cases skip what the
 * fixture's capabilities lack; every topic they use is new. */
#ifndef CONTRACT_SUITE_H
#define CONTRACT_SUITE_H

#include <stdbool.h>

#include <wsbus/backend.h>

struct contract_fixture {
    const char *name;
    const struct wsbus_backend *backend;
    unsigned caps;
    const struct wsbus_value *rule; /* of the topics used; may be NULL */
    /* Server up and down, once for the whole suite; 0, or -1. NULL: there is none. */
    int (*start)(void);
    void (*stop)(void);
    /* Makes a topic with so many partitions, before it is used. NULL: using it makes it, with one, and
     * cases that need more are skipped. */
    void (*make)(const char *topic, unsigned partitions);
    /* Cuts all connections to the server, which lives on. NULL: there are none. */
    void (*cut)(void);
    /* Do two instances with these options see the same topics? */
    bool shared;
    /* The options of an instance. */
    const struct wsbus_value *(*values)(void);
    /* The options of an instance that keeps about `keep` messages of a topic. NULL: it cannot. */
    const struct wsbus_value *(*values_short)(unsigned keep);
    /* Or: trims a topic to its newest `keep` messages, there and then. NULL: it cannot. */
    void (*shorten)(const char *topic, unsigned keep);
    /* A cursor at a message that is gone itself may count as lost, though nothing after it is: ids
     * have holes, and the bus cannot tell whether one is of a message that was trimmed. */
    bool doubts;
};

/* Runs all cases; the exit code of main(). */
int contract_run(const struct contract_fixture *fixture);

#endif
