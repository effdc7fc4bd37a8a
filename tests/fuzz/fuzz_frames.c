/* Frames of a client: in whatever pieces they come, the same is found and the same goes through. */
#include "fuzz.h"

#include "edge/frames.h"

#define EVENTS 4096

struct outcome {
    unsigned char events[EVENTS];
    size_t count;
    unsigned code;
    unsigned char *passed;
    size_t passed_n;
    uint64_t kinds; /* of messages, in their order, as far as these are few */
};

static bool take(struct frames *f, struct frames_piece *piece, struct outcome *o)
{
    struct frames_found found;
    enum frames_event e;

    while ((e = frames_next(f, piece, &found)) != FRAMES_END) {
        if (o->count < EVENTS) o->events[o->count++] = (unsigned char)e;
        if (e == FRAMES_PING) HOLDS(found.payload.n <= FRAMES_CONTROL_MAX);
        if (e != FRAMES_CLOSE && e != FRAMES_BROKEN) continue;
        o->code = found.code;
        HOLDS(o->code >= 1000 && o->code < 5000);
        return false;
    }
    HOLDS(piece->in == piece->n);
    return true;
}

static void run(struct span in, bool compressed, size_t step, struct outcome *o)
{
    const uint8_t *data = (const uint8_t *)in.p;
    size_t size = in.n;
    unsigned char *copy = malloc(size + 1);
    struct frames f;
    bool more = true;

    memset(o, 0, sizeof *o);
    o->passed = malloc(size + 1);
    memcpy(copy, data, size);
    frames_init(&f, 5000);
    if (compressed) HOLDS(frames_allow_compressed(&f) > 5000);
    for (size_t i = 0; more && i < size; i += step) {
        size_t n = size - i < step ? size - i : step;
        struct frames_piece piece = {.p = copy + i, .n = n};
        more = take(&f, &piece, o);
        HOLDS(piece.out <= piece.in && piece.in <= n);
        memcpy(o->passed + o->passed_n, copy + i, piece.out);
        o->passed_n += piece.out;
    }
    HOLDS(compressed || !f.kinds);
    while (f.kinds)
        o->kinds = o->kinds * 3 + 1 + frames_compressed(&f);
    frames_done(&f);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, parts;
    size_t step;

    if (size == 0) return 0;
    step = 1 + data[0] % 31;
    run(span_of((const char *)data + 1, size - 1), data[0] & 0x80, size, &whole);
    run(span_of((const char *)data + 1, size - 1), data[0] & 0x80, step, &parts);
    HOLDS(whole.code == parts.code && whole.kinds == parts.kinds);
    HOLDS(whole.count == parts.count && memcmp(whole.events, parts.events, whole.count) == 0);
    /* Of a header that is broken a part may have gone through before that was seen. */
    HOLDS(parts.passed_n >= whole.passed_n);
    HOLDS(parts.passed_n == whole.passed_n || whole.code != 0);
    HOLDS(memcmp(whole.passed, parts.passed, whole.passed_n) == 0);
    free(whole.passed);
    free(parts.passed);
    return 0;
}
