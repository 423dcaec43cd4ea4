/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Finds where the message in an object ends by its frames: not at the object's end if the object was truncated or has
 * trailing bytes. The search reads the heads of frames and nothing else; in an object that is whole, one head. */

#include "owner/place.h"

/* `size` is the object's. FAILURE_SEALED_FORMAT with the number of bytes that are missing or left over, unless the
 * message ends at the object's end. */
int message_end_check(const struct place *p, struct owner *owner, const char *name, const struct message_header *h,
                      uint64_t size, struct error *e);
