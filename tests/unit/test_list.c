#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/list.h"

struct thing {
    int number;
    struct list node;
};

static int sum_in_order(struct list *head)
{
    int sum = 0;
    for (struct list *n = head->next; n != head; n = n->next)
        sum = sum * 10 + LIST_ITEM(n, struct thing, node)->number;
    return sum;
}

static void keeps_the_order_of_appending(void **state)
{
    (void)state;
    struct thing a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    list_append(&head, &a.node);
    list_append(&head, &b.node);
    list_prepend(&head, &c.node);
    assert_int_equal(sum_in_order(&head), 312);
}

static void deletes_from_the_middle_and_twice(void **state)
{
    (void)state;
    struct thing a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
    struct list head;
    list_init(&head);
    list_append(&head, &a.node);
    list_append(&head, &b.node);
    list_append(&head, &c.node);
    list_del(&b.node);
    assert_true(list_empty(&b.node));
    list_del(&b.node);
    assert_int_equal(sum_in_order(&head), 13);
}

static void pops_the_first_until_empty(void **state)
{
    (void)state;
    struct thing a = {.number = 1}, b = {.number = 2};
    struct list head;
    list_init(&head);
    list_append(&head, &a.node);
    list_append(&head, &b.node);
    assert_ptr_equal(list_pop(&head), &a.node);
    assert_ptr_equal(list_pop(&head), &b.node);
    assert_null(list_pop(&head));
}

static void moves_all_to_the_end(void **state)
{
    (void)state;
    struct thing a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
    struct list to, from;
    list_init(&to);
    list_init(&from);
    list_append(&to, &a.node);
    list_append(&from, &b.node);
    list_append(&from, &c.node);
    list_move(&to, &from);
    assert_int_equal(sum_in_order(&to), 123);
    assert_true(list_empty(&from));
    list_move(&to, &from);
    assert_int_equal(sum_in_order(&to), 123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_order_of_appending),
        cmocka_unit_test(deletes_from_the_middle_and_twice),
        cmocka_unit_test(pops_the_first_until_empty),
        cmocka_unit_test(moves_all_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
