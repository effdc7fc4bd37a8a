#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hub/mail.h"
#include "protocol/cursor.h"

static void test_ask(void **state)
{
    char name[] = "a.b";
    struct mail_ask *m =
        mail_ask_new(MAIL_SUBSCRIBE, span_str(name), SPAN("topic"), span_of(NULL, 0));
    (void)state;

    name[0] = 'x';
    assert_true(span_eq(m->channel, SPAN("a.b")));
    assert_string_equal(m->topic.p, "topic");
    assert_null(m->key.p);
    assert_int_equal(m->item.kind, MAIL_SUBSCRIBE);
    assert_true(m->item.bytes >= sizeof *m);
    m->cursor = cursor_new(2);
    m->until = cursor_new(3);
    mail_free(&m->item);

    m = mail_ask_new(MAIL_HISTORY, SPAN("a"), SPAN("t"), SPAN(""));
    assert_non_null(m->key.p); /* an empty key is a key */
    assert_int_equal(m->key.n, 0);
    mail_free(&m->item);
    mail_free(NULL);
}

static void test_publish(void **state)
{
    char value[] = "v1";
    struct wsbus_header headers[2] = {{"name", value, 4, 2}, {"other", "", 5, 0}};
    struct wsbus_publish p = {
        .topic = {"topic", 5, NULL},
        .key = "",
        .payload = "pay\0load",
        .payload_len = 8,
        .headers = headers,
        .header_count = 2,
        .partition = -1,
    };
    struct mail_publish *m = mail_publish_new(&p);
    (void)state;

    value[0] = 'x';
    assert_string_equal(m->publish.topic.name, "topic");
    assert_non_null(m->publish.key);
    assert_int_equal(m->publish.key_len, 0);
    assert_memory_equal(m->publish.payload, "pay\0load", 8);
    assert_string_equal(m->publish.headers[0].value, "v1");
    assert_string_equal(m->publish.headers[1].name, "other");
    assert_int_equal(m->publish.partition, -1);
    mail_free(&m->item);

    p = (struct wsbus_publish){.topic = {"t", 1, NULL}};
    m = mail_publish_new(&p);
    assert_null(m->publish.payload);
    assert_null(m->publish.key);
    assert_null(m->publish.headers);
    mail_free(&m->item);
}

/* The item of a frame lives as long as its slip, its frame as long as all items. */
static void test_frame(void **state)
{
    struct frame *f = frame_new(FRAME_TEXT, SPAN("hello"));
    struct mail_frame *a = mail_frame_new(MAIL_LIVE, 5, frame_ref(f));
    struct mail_frame *b = mail_frame_new(MAIL_FRAME, 6, f);
    struct slip *queued = slip_ref(&a->slip);
    (void)state;

    assert_true(a->item.bytes >= f->len);
    mail_free(&b->item);
    mail_free(&a->item);
    assert_true(span_eq(frame_payload(queued->frame), SPAN("hello")));
    slip_unref(queued);
}

static void test_answers(void **state)
{
    struct mail_subscribed *s = mail_subscribed_new(1, SPAN("[]"));
    struct mail_chunk *c = mail_chunk_new(2, 9);
    struct mail_left *l = mail_left_new(3, true, span_of(NULL, 0));
    struct mail_done *d = mail_done_new(MAIL_PUBLISHED, 4, ERR_BUSY, SPAN("why"));
    struct mail_leave *e = mail_leave_new(MAIL_PULL, 2, 5, true);
    (void)state;

    assert_true(span_eq(s->cursor, SPAN("[]")));
    assert_int_equal(s->recovered, RECOVERED_ABSENT);
    assert_int_equal(c->channel, 9);
    assert_true(l->answer && !l->reason.p);
    assert_true(span_eq(d->text, SPAN("why")));
    assert_int_equal(d->error, ERR_BUSY);
    assert_true(e->worker == 2 && e->id == 5 && e->answer);
    mail_free(&s->item);
    mail_free(&c->item);
    mail_free(&l->item);
    mail_free(&d->item);
    mail_free(&e->item);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_frame),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
