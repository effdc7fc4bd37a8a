#include "base/tls_error.h"

#include <openssl/err.h>
#include <string.h>

const char *tls_error(void)
{
    unsigned long code = ERR_peek_error();
    const char *words = NULL;
    if (ERR_SYSTEM_ERROR(code))
        words = strerror(ERR_GET_REASON(code));
    else if (code)
        words = ERR_reason_error_string(code);
    return words ? words : "unknown error";
}
