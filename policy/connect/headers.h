/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which header fields go through, in each direction (RFC 9110, section 7.6.1), and where an answer may send its reader:
 * nowhere that is not this channel. */

#include "basic/macros.h"

/* `connection` is the value of the Connection field, which can name more fields that end here; NULL: there is none. */
bool header_passes_up(const char *name, const char *connection);
bool header_passes_down(const char *name, const char *connection);

/* A token of RFC 9110, and a value without control characters. */
bool header_is_valid(const char *name, const char *value);

/* A request's method that is passed on, and its target: a path, and perhaps a query. */
bool method_is_valid(const char *method);
bool target_is_valid(const char *target);

/* What Location becomes for the client of `server` ("https://host:port", without a path): NULL when it leads elsewhere,
 * otherwise a part of `location`. */
const char *location_within(const char *location, const char *server);

/* "HTTP/1.1 200 OK", "HTTP/2 200": the status, or -EBADMSG. */
int status_line_parse(const char *line, size_t n);
/* A header line, without its end, in place: "Name: value" becomes two strings. -EBADMSG. */
int header_line_split(char *line, char **ret_name, char **ret_value);
