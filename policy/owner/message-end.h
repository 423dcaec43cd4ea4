/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the message in an object ends by its frames, which is not where the object ends when something was cut off it
 * or put behind it. Found by a search over the heads of frames: nothing else is read, and of an object that is whole
 * but one head. */

#include "owner/place.h"

/* `size` is the object's. FAILURE_SEALED_FORMAT, which says how many bytes are missing or left over, unless the two are
 * equal. */
int message_end_check(const struct place *p, struct owner *owner, const char *name, const struct message_header *h,
                      uint64_t size, struct error *e);
