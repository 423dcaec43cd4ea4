/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The firmware's event log in the crypto-agile format (TCG PC Client Platform Firmware Profile 1.06, section 10), as
 * Linux shows it at /sys/kernel/security/tpm0/binary_bios_measurements:
 *
 *   TCG_PCR_EVENT    pcr u32 | EV_NO_ACTION | SHA-1 digest, zero | u32 size |
 *                    "Spec ID Event03\0", platform class, versions, u32 n, { algorithm u16, digest size u16 }*n,
 *                    u8 vendor size, vendor
 *   TCG_PCR_EVENT2   pcr u32 | type u32 | u32 n | { algorithm u16, digest }*n | u32 size | event        (repeated)
 *
 * All little-endian. An event has at most one digest for each algorithm that the first event names. A copy of the whole
 * memory that firmware keeps the log in ends in zeros or ones (FF), which are not an event. */

#include "replay/log.h"

/* FAILURE_EVENT_LOG. */
int eventlog_parse(const void *data, size_t size, const char *subject, struct event_log *ret, struct error *e);
