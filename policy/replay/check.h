/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether an event says what was measured. A log is not authenticated, only its digests can be: they lead to the PCR
 * values or they do not. What an event says beside its digest is worth as much as that only where the digest is of
 * these very bytes (TCG PC Client Platform Firmware Profile 1.06, 10.4.1, column "digest"): separators, actions,
 * variables, partition tables. For others, such as an image's path or the name of a section, nothing can be told. */

#include "replay/log.h"

/* Sets event->text_is from the event's digests, type and data; a digest of any bank that is of other bytes condemns it.
 */
void event_check(struct log_event *event, const void *data, size_t n);
