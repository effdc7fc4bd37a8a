/* OpenSSL's queue of errors, which each thread has one of, as one text. */
#ifndef BASE_TLS_ERROR_H
#define BASE_TLS_ERROR_H

/* What went wrong first, in OpenSSL's words or the system's; the queue stays as it is. Good until the
 * thread asks the system for another text. */
const char *tls_error(void);

#endif
