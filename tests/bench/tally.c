#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum { SLOT_US = 10, SLOTS = 1000000 };

struct tally tally;
static unsigned each, total;
static uint32_t slots[SLOTS]; /* ages in steps of SLOT_US */
static uint64_t dated, oldest_us;

void tally_open(unsigned channels_each, unsigned channels)
{
    each = channels_each;
    total = channels;
}

void tally_begin(struct tally_line *l, unsigned first)
{
    l->first = first;
    l->last = calloc(each, sizeof(*l->last));
    if (!l->last) wire_die("memory");
}

static unsigned place(const struct tally_line *l, unsigned channel)
{
    unsigned at = channel - l->first;
    if (channel < l->first) at += total;
    if (at >= each) {
        fprintf(stderr, "load: channel %u was not asked for\n", channel);
        exit(1);
    }
    return at;
}

static void missing(uint32_t last, uint64_t next)
{
    uint64_t expected = (uint64_t)(last & ~TALLY_GAP) + 1;
    if (next <= expected) return;
    tally.lost += next - expected;
    if (last & TALLY_GAP) tally.told += next - expected;
}

void tally_age(uint64_t us)
{
    uint64_t slot = us / SLOT_US;
    slots[slot < SLOTS ? slot : SLOTS - 1]++;
    if (us > oldest_us) oldest_us = us;
    dated++;
}

void tally_message(struct tally_line *l, unsigned channel, uint32_t number, uint64_t age_us)
{
    uint32_t *last = &l->last[place(l, channel)];
    tally.messages++;
    tally_age(age_us);
    if (number == *last + 1) {
        *last = number;
    } else if (number <= (*last & ~TALLY_GAP)) {
        tally.again++;
    } else {
        missing(*last, number);
        *last = number;
    }
}

void tally_gap(struct tally_line *l, unsigned channel)
{
    l->last[place(l, channel)] |= TALLY_GAP;
}

void tally_end(struct tally_line *l, uint64_t count)
{
    for (unsigned i = 0; i < each; i++) {
        unsigned channel = (l->first + i) % total;
        missing(l->last[i], count / total + (channel < count % total) + 1);
    }
}

void tally_anew(struct tally_line *l)
{
    memset(l->last, 0, each * sizeof(*l->last));
}

void tally_clear_ages(void)
{
    memset(slots, 0, sizeof(slots));
    dated = oldest_us = 0;
}

static double age_ms(double share)
{
    uint64_t want = (uint64_t)((double)dated * share), seen = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        seen += slots[i];
        if (seen > want) return (double)(i + 1) * SLOT_US / 1000;
    }
    return (double)oldest_us / 1000;
}

void tally_print(void)
{
    printf("\"messages\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"told\":%" PRIu64 ",\"again\":%" PRIu64
           ",\"dated\":%" PRIu64 ",\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f",
           tally.messages, tally.lost, tally.told, tally.again, dated, age_ms(0.5), age_ms(0.99),
           age_ms(0.999), (double)oldest_us / 1000);
}
