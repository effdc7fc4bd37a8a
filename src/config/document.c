#include "config/document.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void need(bool made)
{
    if (made) return;
    fputs("wsbus: out of memory (JSON)\n", stderr);
    abort();
}

static cJSON *add(cJSON *in, const char *name, cJSON *item)
{
    need(item);
    need(name ? cJSON_AddItemToObject(in, name, item) : cJSON_AddItemToArray(in, item));
    return item;
}

cJSON *document_new(void)
{
    cJSON *root = cJSON_CreateObject();
    need(root);
    return root;
}

cJSON *document_object(cJSON *in, const char *name)
{
    return add(in, name, cJSON_CreateObject());
}

cJSON *document_list(cJSON *in, const char *name)
{
    return add(in, name, cJSON_CreateArray());
}

void document_string(cJSON *in, const char *name, const char *text)
{
    add(in, name, cJSON_CreateString(text));
}

/* As text: a number of cJSON is a double. */
void document_int(cJSON *in, const char *name, int64_t number)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    add(in, name, cJSON_CreateRaw(digits));
}

void document_bool(cJSON *in, const char *name, bool value)
{
    add(in, name, cJSON_CreateBool(value));
}

void document_print(cJSON *root, struct buf *out)
{
    char *text = cJSON_Print(root);
    need(text);
    buf_str(out, text);
    buf_byte(out, '\n');
    cJSON_free(text);
    cJSON_Delete(root);
}
