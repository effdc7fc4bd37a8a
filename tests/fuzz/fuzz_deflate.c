/* Compressed messages of clients: whatever comes, no more is made of it than may be, and what we
 * compress can be read again. */
#include "fuzz.h"

#include "base/frame.h"
#include "base/inflater.h"
#include "base/packer.h"

static const struct inflater_bounds all = {1U << 30, 0};

/* As a client with the smallest window that the form is for would read it. */
static void round_trip(struct inflater *i, struct span plain)
{
    struct packer *p = packer_new(1, 0);
    struct frame *f = frame_new(FRAME_BINARY, plain);
    const struct frame *form = packer_form(p, f, PACKER_WINDOW_MOST);
    struct span again;

    if (form != f) {
        HOLDS(form->len < f->len && form->bytes[0] == (0x80 | FRAME_COMPRESSED | FRAME_BINARY));
        HOLDS(inflater_message(i, frame_payload(form), &all, &again) == INFLATER_OK);
        HOLDS(span_eq(again, plain));
        inflater_rest(i);
    }
    frame_unref(f);
    packer_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct inflater *i;
    struct inflater_bounds bounds;
    enum inflater_result r;
    struct span in, plain;

    if (size < 2) return 0;
    if (!i) i = inflater_new(); /* one for all, as a worker has it */
    bounds = (struct inflater_bounds){(size_t)data[0] << (data[1] & 15), data[1] >> 4};
    in = span_of((const char *)data + 2, size - 2);
    r = inflater_message(i, in, &bounds, &plain);
    if (r == INFLATER_OK) {
        size_t dense = in.n * bounds.ratio > INFLATER_FREE ? in.n * bounds.ratio : INFLATER_FREE;
        char *copy = malloc(plain.n + 1);
        HOLDS(plain.n <= bounds.bytes);
        HOLDS(bounds.ratio == 0 || plain.n <= dense);
        if (plain.n) memcpy(copy, plain.p, plain.n);
        plain.p = copy;
        inflater_rest(i);
        round_trip(i, plain);
        free(copy);
    }
    round_trip(i, in);
    return 0;
}
