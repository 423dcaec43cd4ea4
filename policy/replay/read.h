/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Event logs from files, of whichever kind. */

#include "replay/log.h"

/* Where Linux shows the firmware's log. MEASUREMENT_LOG_PATH is where userspace keeps its own. */
#define FIRMWARE_LOG_PATH "/sys/kernel/security/tpm0/binary_bios_measurements"

/* Reads either kind, by its first byte. FAILURE_EVENT_LOG when it is not well-formed. */
int event_log_parse(const void *data, size_t size, const char *subject, struct event_log *ret, struct error *e);

/* The same from a file or "-"; the events borrow `path`. FAILURE_IO when it cannot be read. */
int event_log_read(const char *path, struct event_log *ret, struct error *e);

/* Whether the file carries the mark of a writer that died between its TPM command and the end of its record
 * (measurement-log.h): an event may then be measured and not logged. */
bool event_log_is_unfinished(const char *path);
