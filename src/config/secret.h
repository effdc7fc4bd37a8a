/* What must not be shown: passwords in URLs and in maps of a bus's own settings. */
#ifndef CONFIG_SECRET_H
#define CONFIG_SECRET_H

#include <stdbool.h>

#include "config/arena.h"

#define SECRET_BLOT "***"

/* Does a name say that its value is a secret ("sasl.password")? */
bool secret_name(const char *name);
/* The text, with user and password of every URL in it and the values of parameters with a secret's
 * name blotted out. */
const char *secret_blot(struct arena *a, const char *text);

#endif
