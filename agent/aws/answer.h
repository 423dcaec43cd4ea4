/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading AWS's answers in JSON. AWS may add members, so unknown ones are ignored. Some answers hold a secret: it is
 * moved out of the text before the parser copies the text into ordinary memory. */

#include "basic/json.h"
#include "basic/secret.h"

/* Moves the text value of the top-level member `key` out of the JSON text: into *ret, with "\/" undone, and overwritten
 * by 'x' where it was. -ENOENT when there is none, -EBADMSG when it is not plain text or there are two, -ENOMEM. It
 * does not check the syntax otherwise: call json_parse() for the rest afterwards. */
int answer_take_secret(char *text, size_t n, const char *key, struct secret **ret);

/* A member that is text without NULs, or NULL; borrowed. */
const char *answer_text(json_object *o, const char *key);

/* "2026-11-21T14:00:00Z" in seconds since the epoch; -EBADMSG. */
int answer_time(const char *text, int64_t *ret);
