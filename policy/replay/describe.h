/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a firmware event says, in words. The events of a log are not authenticated, and not measured themselves for
 * every type: the words help a person, the digests decide. Returns malloc'ed printable text; NULL when out of memory.
 */

#include <stddef.h>
#include <stdint.h>

char *describe_event(uint32_t type, const void *data, size_t n);

/* A copy with everything unprintable replaced and overlong text cut. */
char *describe_text(const char *text);
