#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static int pipe_fds[2];
static int real_stderr;

static int setup(void **state)
{
    (void)state;
    clock_freeze(0, INT64_C(1763719200123));
    real_stderr = dup(STDERR_FILENO);
    if (pipe(pipe_fds) != 0) return -1;
    return dup2(pipe_fds[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    log_setup(LOG_INFO, LOG_LOGFMT);
    clock_thaw();
    return 0;
}

/* One read is one line, because a line is one write. */
static const char *line(void)
{
    static char buf[16384];
    ssize_t n = read(pipe_fds[0], buf, sizeof(buf) - 1);
    assert_true(n > 0);
    buf[n] = '\0';
    assert_ptr_equal(strchr(buf, '\n'), buf + n - 1);
    return buf;
}

static void writes_logfmt(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_info(log_event("listening"), log_s("address", "127.0.0.1:8080"), log_i("workers", 2));
    assert_string_equal(line(), "time=2025-11-21T10:00:00.123Z level=info event=listening "
                                "address=127.0.0.1:8080 workers=2\n");
}

static void writes_json(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    log_error(log_event("listening"), log_s("address", "127.0.0.1:8080"), log_i("workers", -2));
    assert_string_equal(line(), "{\"time\":\"2025-11-21T10:00:00.123Z\",\"level\":\"error\","
                                "\"event\":\"listening\",\"address\":\"127.0.0.1:8080\","
                                "\"workers\":-2}\n");
}

static void a_value_cannot_forge_a_line(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_LOGFMT);
    log_warn(log_span("x", SPAN("a\nb=\"c\\\x1b[0m\x7f\xff\xc2\x9b\xe2\x80\xa8\xc3\xa9\0z")));
    assert_non_null(strstr(line(), " x=\"a\\nb=\\\"c\\\\\\u001b[0m\\u007f\\ufffd\\u009b\\u2028"
                                   "\xc3\xa9\\u0000z\"\n"));
    log_warn(log_s("x", ""), log_s("y", "a b"), log_s("z", NULL), log_s("e", "a=b"));
    assert_non_null(strstr(line(), " x=\"\" y=\"a b\" z=\"\" e=\"a=b\"\n"));
}

static void long_values_are_cut_and_the_line_stays_whole(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    log_setup(LOG_INFO, LOG_JSON);
    log_info(log_s("a", text), log_i("n", 7));
    const char *l = line();
    assert_true(strlen(l) < 1200);
    assert_non_null(strstr(l, "x\",\"n\":7}\n"));

    memset(text, '\x01', sizeof(text) - 1);
    log_info(log_s("a", text), log_s("b", text), log_i("n", 7));
    l = line();
    assert_true(strlen(l) < 8192);
    assert_null(strstr(l, "\"b\""));
    assert_string_equal(l + strlen(l) - 3, "\"}\n");
}

static void below_the_level_nothing_is_written(void **state)
{
    (void)state;
    log_setup(LOG_WARN, LOG_LOGFMT);
    log_info(log_event("no"));
    log_debug(log_event("no"));
    log_error(log_event("yes"));
    assert_non_null(strstr(line(), "event=yes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_logfmt, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_json, setup, teardown),
        cmocka_unit_test_setup_teardown(a_value_cannot_forge_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(long_values_are_cut_and_the_line_stays_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(below_the_level_nothing_is_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
