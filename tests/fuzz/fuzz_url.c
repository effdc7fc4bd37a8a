/* URLs of buses, and what is written with percent signs. */
#include "fuzz.h"

#include "base/percent.h"
#include "bus/kafka_url.h"
#include "bus/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), err[512];
    struct redis_url redis;
    struct kafka_url kafka;

    *err = '\0';
    if (redis_url_parse(text, &redis, err, sizeof err) == 0)
        HOLDS((redis.host != NULL) != (redis.path != NULL));
    else
        HOLDS(*err);
    redis_url_free(&redis);
    *err = '\0';
    if (kafka_url_parse(text, &kafka, err, sizeof err) == 0)
        HOLDS(kafka.brokers && *kafka.brokers && !kafka.user == !kafka.password);
    else
        HOLDS(*err);
    kafka_url_free(&kafka);
    free(percent_decode(span_of((const char *)data, size)));
    free(text);
    return 0;
}
