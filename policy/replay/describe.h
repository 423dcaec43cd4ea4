/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a firmware event says, in words. These words are for a person; a comparison uses the digests alone, because the
 * data of an event is not authenticated, and not every type of event has a digest of its data. Returns malloc'ed
 * printable text; NULL when out of memory. */

#include <stddef.h>
#include <stdint.h>

char *describe_event(uint32_t type, const void *data, size_t n);

/* A copy with everything unprintable replaced and overlong text cut. */
char *describe_text(const char *text);
