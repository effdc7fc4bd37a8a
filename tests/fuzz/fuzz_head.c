/* The head of a request: complete with its last byte and not before, and nothing behind it counts. */
#include "fuzz.h"

#include "base/mem.h"
#include "edge/head.h"

#define MOST 4096

static void look_for_fields(struct span head)
{
    struct head_field field;
    size_t at = 0;

    while (head_next(head, "host", &at, &field)) {
        HOLDS(at <= head.n && field.name.n == 4);
        HOLDS(field.value.p >= field.name.p + 5 && field.value.p + field.value.n < head.p + at);
    }
}

/* What is left says the same, and needs nothing done to it. */
static void strip(const char *p, const struct head *h)
{
    char *copy = mem_dup(p, h->size), *again;
    struct head left;
    size_t n = head_strip(copy, h);

    HOLDS(n <= h->size);
    head_read(span_of(copy, n), MOST, &left);
    HOLDS(left.status == 0 && left.size == n && left.path == 0);
    HOLDS(left.upgrade == h->upgrade && left.body == h->body && left.speaks == h->speaks);
    again = mem_dup(copy, n);
    HOLDS(head_strip(again, &left) == n && memcmp(again, copy, n) == 0);
    free(again);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = {(const char *)data, size};
    struct head whole, part;

    head_read(in, MOST, &whole);
    HOLDS(whole.size <= size && whole.size <= MOST);
    HOLDS(whole.status == 0 || (whole.text && whole.status >= 400 && whole.status < 500));
    if (whole.status == 0 && whole.size == 0) HOLDS(size < MOST);
    if (whole.size > 0) {
        head_read(span_of(in.p, whole.size), MOST, &part);
        HOLDS(part.size == whole.size && part.status == whole.status);
        HOLDS(part.upgrade == whole.upgrade && part.body == whole.body);
        head_read(span_of(in.p, whole.size - 1), MOST, &part);
        HOLDS(part.size == 0);
    }
    if (whole.status == 0 && whole.size > 0) {
        HOLDS(part.status == 0);
        HOLDS(memcmp(in.p + whole.size - 4, "\r\n\r\n", 4) == 0);
        HOLDS(!memchr(in.p, '\0', whole.size));
        look_for_fields(span_of(in.p, whole.size));
        strip(in.p, &whole);
    }
    return 0;
}
