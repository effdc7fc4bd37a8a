/* Media types by the ending of a file's name. Pure. */
#ifndef WEB_TYPE_H
#define WEB_TYPE_H

/* What stands in Content-Type, with the charset where it is text. Never NULL: what nobody knows is
 * application/octet-stream. */
const char *web_type(const char *name);

#endif
