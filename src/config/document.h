/* JSON to be printed, built as a cJSON tree.
 *
 * `name` is the member's; NULL adds to a list. Texts are copied. Lists and objects that are
 * returned belong to what they were added to; document_print() ends the whole tree. Out of memory
 * ends the process, as with base/mem.h. */
#ifndef CONFIG_DOCUMENT_H
#define CONFIG_DOCUMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/buf.h"

cJSON *document_new(void); /* an object */
cJSON *document_object(cJSON *in, const char *name);
cJSON *document_list(cJSON *in, const char *name);
void document_string(cJSON *in, const char *name, const char *text);
void document_int(cJSON *in, const char *name, int64_t number); /* exact */
void document_bool(cJSON *in, const char *name, bool value);

/* Appends the indented text, with a line break at its end, and frees the tree. */
void document_print(cJSON *root, struct buf *out);

#endif
