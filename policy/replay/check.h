/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether the text of an event is what was measured. A log is not authenticated; only its digests can be checked,
 * because they lead to the PCR values. The text beside a digest can be trusted where the digest is of exactly that text
 * (TCG PC Client Platform Firmware Profile 1.06, 10.4.1, column "digest"): separators, actions, variables, partition
 * tables. The digests of other events are of something else, such as an image whose path is the text; such a text
 * cannot be checked.
 */

#include "replay/log.h"

/* Sets event->text_is from the event's digests, type and data. One digest of other bytes, in any bank, is enough for
 * TEXT_NOT_MEASURED. */
void event_check(struct log_event *event, const void *data, size_t n);
