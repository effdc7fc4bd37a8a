/* The scan of JSON: what is accepted can be read everywhere. */
#include "fuzz.h"

#include "base/json_scan.h"
#include "base/text.h"

static void walk(struct span value, unsigned depth)
{
    struct json_iter it;
    struct span key, part;
    struct buf text;
    int64_t number;

    HOLDS(depth <= JSON_DEPTH_MAX);
    switch (json_kind(value)) {
    case JSON_OBJECT:
        it = json_open(value);
        while (json_member(&it, &key, &part)) {
            (void)json_key_is(key, "channel");
            walk(part, depth + 1);
        }
        return;
    case JSON_ARRAY:
        it = json_open(value);
        while (json_element(&it, &part))
            walk(part, depth + 1);
        return;
    case JSON_STRING:
        buf_init(&text, BUF_UNLIMITED);
        if (json_unescape(json_trim(value), &text) == 0) {
            HOLDS(utf8_valid(buf_view(&text)) && text.n <= value.n);
            /* What is written of it reads as the same. */
            struct buf again, back;
            buf_init(&again, BUF_UNLIMITED);
            buf_init(&back, BUF_UNLIMITED);
            buf_json(&again, buf_view(&text));
            HOLDS(json_valid(buf_view(&again)) && json_unescape(buf_view(&again), &back) == 0);
            HOLDS(span_eq(buf_view(&text), buf_view(&back)));
            buf_free(&again);
            buf_free(&back);
        }
        buf_free(&text);
        return;
    case JSON_NUMBER: (void)json_integer(json_trim(value), &number); return;
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL: return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of((const char *)data, size);
    const char *why = NULL;
    size_t where = 0;

    if (json_check(text, &where, &why) == 0) {
        HOLDS(utf8_valid(text));
        walk(text, 0);
    } else {
        HOLDS(why && *why && where <= size);
    }
    return 0;
}
