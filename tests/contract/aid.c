#include "aid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocol/cursor.h"

const struct contract_fixture *contract_fixture;

struct harness *contract_begin(void)
{
    return harness_start(contract_fixture->backend, contract_fixture->values());
}

/* Another name for each call, in memory that stays. */
struct wsbus_topic contract_topic_of(unsigned partitions)
{
    static char names[256][48];
    static unsigned next;
    static uint64_t run;
    if (partitions > 1 && !contract_fixture->make) skip();
    if (!run) run = random_u64() >> 32;
    char *name = names[next++ % 256];
    int n = snprintf(name, sizeof(names[0]), "contract.%llx.%u", (unsigned long long)run, next);
    if (contract_fixture->make) contract_fixture->make(name, partitions);
    return (struct wsbus_topic){
        .name = name, .name_len = (size_t)n, .rule = contract_fixture->rule};
}

struct wsbus_topic contract_topic(void)
{
    return contract_topic_of(1);
}

struct wsbus_publish contract_text(const struct wsbus_topic *topic, const char *payload)
{
    return (struct wsbus_publish){
        .topic = *topic,
        .payload = payload,
        .payload_len = (uint32_t)strlen(payload),
        .partition = -1,
    };
}

uint64_t contract_number(struct harness *h, const struct wsbus_topic *topic, unsigned n,
                         const char *key)
{
    char payload[16];
    snprintf(payload, sizeof(payload), "%u", n);
    struct wsbus_publish p = contract_text(topic, payload);
    p.key = key;
    p.key_len = key ? (uint32_t)strlen(key) : 0;
    return harness_publish(h, &p);
}

unsigned contract_number_of(const struct wsbus_message *m)
{
    char payload[16] = "";
    assert_in_range(m->payload_len, 1, sizeof(payload) - 1);
    memcpy(payload, m->payload, m->payload_len);
    return (unsigned)strtoul(payload, NULL, 10);
}

struct wsbus_pos contract_published(struct harness *h, uint64_t token)
{
    const struct event *e = harness_wait(h, EVENT_PUBLISHED, token);
    assert_int_equal(e->status, WSBUS_OK);
    return e->pos;
}

/* 0, 1, … count - 1, of which every third has the key "a" and the others "b". */
void contract_publish_many(struct harness *h, const struct wsbus_topic *topic, unsigned count,
                           struct wsbus_pos *ret_pos)
{
    bool keys = contract_fixture->caps & WSBUS_CAP_KEY;
    uint64_t first = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t token = contract_number(h, topic, i, !keys ? NULL : i % 3 ? "b" : "a");
        if (i == 0) first = token;
    }
    for (unsigned i = 0; i < count; i++)
        ret_pos[i] = contract_published(h, first + i);
}

struct wsbus_cursor *contract_cursor(struct wsbus_pos pos)
{
    struct wsbus_cursor *c = cursor_new(1);
    c->pos[0] = pos;
    return c;
}

const struct event *contract_locate(struct harness *h, const struct wsbus_locate *l)
{
    const struct event *e = harness_wait(h, EVENT_LOCATED, harness_locate(h, l));
    assert_int_equal(e->status, WSBUS_OK);
    assert_non_null(e->cursor);
    return e;
}

const struct event *contract_read(struct harness *h, const struct wsbus_read *r)
{
    const struct event *e = harness_wait(h, EVENT_CHUNK, harness_read(h, r));
    assert_int_equal(e->status, WSBUS_OK);
    assert_non_null(e->cursor);
    return e;
}

struct wsbus_read contract_read_all(const struct wsbus_topic *topic)
{
    return (struct wsbus_read){
        .topic = *topic,
        .max_messages = 1 << 20,
        .max_bytes = 1 << 30,
        .max_scan = 1 << 20,
    };
}

/* Reads from the request's `from` in as many pieces as it takes; the numbers must be `first`,
 * first + step, … Returns how many there were. */
unsigned contract_read_numbers(struct harness *h, struct wsbus_read r, unsigned first,
                               unsigned step)
{
    unsigned n = 0;
    for (unsigned turns = 0; turns < SPLICE * 2; turns++) {
        const struct event *e = contract_read(h, &r);
        assert_true(e->count <= r.max_messages);
        assert_int_equal(e->lost, WSBUS_NOTHING_LOST);
        for (size_t i = 0; i < e->count; i++)
            assert_int_equal(contract_number_of(e->messages[i]), first + step * n++);
        r.from = e->cursor;
        if (e->end) return n;
    }
    fail_msg("reading does not come to an end");
    return 0;
}

/* The number of the first message after a place, or -1. */
int contract_number_after(struct harness *h, const struct wsbus_topic *topic,
                          const struct wsbus_cursor *place, const char *key)
{
    struct wsbus_read r = contract_read_all(topic);
    r.from = place;
    r.key = key;
    r.key_len = key ? strlen(key) : 0;
    const struct event *e = contract_read(h, &r);
    return e->count ? (int)contract_number_of(e->messages[0]) : -1;
}

void contract_need(unsigned caps)
{
    if ((contract_fixture->caps & caps) != caps) skip();
}
