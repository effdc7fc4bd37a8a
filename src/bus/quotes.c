#include "bus/quotes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define TOPIC "quotes"

/* Prices are whole numbers of points, a point is the last decimal. */
struct instrument {
    const char *symbol;
    int64_t start;
    int64_t spread;
    int64_t step; /* most that one update moves the price */
    int decimals;
};

static const struct instrument instruments[] = {
    {"EURUSD", 108438, 14, 6, 5},
    {"GBPUSD", 127215, 18, 8, 5},
    {"USDJPY", 154321, 14, 9, 3},
    {"USDCHF", 88542, 16, 6, 5},
    {"AUDUSD", 65377, 14, 5, 5},
    {"USDCAD", 139874, 18, 7, 5},
    {"NZDUSD", 58861, 18, 5, 5},
    {"EURGBP", 85238, 14, 5, 5},
    {"EURJPY", 167342, 18, 10, 3},
    {"EURCHF", 93612, 18, 5, 5},
    {"XAUUSD", 265840, 32, 45, 2},
    {"XAGUSD", 30842, 24, 18, 3},
    {"BTCUSD", 9842150, 1200, 2500, 2},
    {"ETHUSD", 335220, 90, 160, 2},
    {"SPX500", 591240, 50, 60, 2},
    {"DAX40", 192315, 12, 18, 1},
    {"AAPL", 22934, 2, 6, 2},
    {"MSFT", 41722, 4, 9, 2},
    {"NVDA", 14188, 2, 7, 2},
    {"AMZN", 20261, 2, 7, 2},
    {"SAP", 22485, 6, 7, 2},
    {"ASML", 65530, 16, 24, 2},
    {"SIE", 18466, 4, 6, 2},
    {"WTI", 7124, 4, 3, 2},
};

#define INSTRUMENTS (sizeof(instruments) / sizeof(instruments[0]))

struct quotes {
    const struct wsbus_host *host;
    void (*publish)(void *arg, const struct wsbus_publish *p);
    void *arg;
    struct wsbus_timer *timer;
    uint32_t rate;
    uint64_t begin; /* ticks from which `sent` counts */
    uint64_t sent;
    uint64_t dice;
    int64_t price[INSTRUMENTS];
};

/* xorshift64*: looks random, and that is all that is asked of it. */
static uint64_t roll(struct quotes *q)
{
    q->dice ^= q->dice >> 12;
    q->dice ^= q->dice << 25;
    q->dice ^= q->dice >> 27;
    return (q->dice * 0x2545f4914f6cdd1dU) >> 32;
}

/* The farther from the start, the likelier the step leads back: a band of about a tenth. */
static void walk(struct quotes *q, size_t i)
{
    const struct instrument *in = &instruments[i];
    int64_t step = 1 + (int64_t)(roll(q) % (uint64_t)in->step);
    int64_t away = q->price[i] - in->start;
    int64_t band = in->start / 10;
    int64_t chance = 500 + away * 500 / band; /* in a thousand, that it falls */
    q->price[i] += (int64_t)(roll(q) % 1000) < chance ? -step : step;
}

static void print_price(char *buf, size_t size, int64_t points, int decimals)
{
    int64_t unit = 1;
    for (int i = 0; i < decimals; i++)
        unit *= 10;
    snprintf(buf, size, "%" PRId64 ".%0*" PRId64, points / unit, decimals & 7, points % unit);
}

static void publish_quote(struct quotes *q, size_t i)
{
    const struct instrument *in = &instruments[i];
    char bid[48], ask[48], last[48], payload[320];
    int64_t low = q->price[i] - in->spread / 2;
    print_price(bid, sizeof(bid), low, in->decimals);
    print_price(ask, sizeof(ask), low + in->spread, in->decimals);
    print_price(last, sizeof(last), q->price[i], in->decimals);
    int n = snprintf(payload, sizeof(payload),
                     "{\"symbol\":\"%s\",\"bid\":%s,\"ask\":%s,\"last\":%s,\"time\":%" PRId64 "}",
                     in->symbol, bid, ask, last, q->host->now(q->host));
    struct wsbus_publish p = {
        .topic = {.name = TOPIC, .name_len = sizeof(TOPIC) - 1},
        .key = in->symbol,
        .key_len = (uint32_t)strlen(in->symbol),
        .payload = payload,
        .payload_len = (uint32_t)n,
        .partition = -1,
    };
    q->publish(q->arg, &p);
}

/* When the quote after `sent` others is due. */
static uint64_t due(const struct quotes *q)
{
    return q->begin + (q->sent + 1) * 1000 / q->rate;
}

static void on_tick(void *arg)
{
    struct quotes *q = arg;
    uint64_t now = q->host->ticks(q->host);
    if (now > due(q) + 1000) { /* the process was stopped, or the thread is short of time */
        q->begin = now;
        q->sent = 0;
    }
    for (; due(q) <= now; q->sent++) {
        size_t i = (size_t)(roll(q) % INSTRUMENTS);
        walk(q, i);
        publish_quote(q, i);
    }
    q->host->timer_set(q->timer, due(q) - now);
}

struct quotes *quotes_start(const struct wsbus_host *host, uint32_t rate,
                            void (*publish)(void *arg, const struct wsbus_publish *p), void *arg)
{
    struct quotes *q = mem_zero(sizeof(*q));
    q->host = host;
    q->publish = publish;
    q->arg = arg;
    q->rate = rate;
    q->dice = random_u64() | 1;
    q->begin = host->ticks(host);
    for (size_t i = 0; i < INSTRUMENTS; i++) {
        q->price[i] = instruments[i].start;
        publish_quote(q, i);
    }
    q->timer = host->timer(host, on_tick, q);
    host->timer_set(q->timer, due(q) - q->begin);
    return q;
}

void quotes_stop(struct quotes *q)
{
    if (!q) return;
    q->host->timer_free(q->timer);
    free(q);
}
