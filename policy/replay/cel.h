/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* TCG Canonical Event Log, JSON encoding: what systemd (/run/log/systemd/tpm2-measure.log) and the agent append, one
 * record per line behind an RS character (RFC 7464), and what converters write (records line by line, or in one array).
 *
 *   {"recnum": 3, "pcr": 11, "digests": [{"hashAlg": "sha256", "digest": "<hex>"}, ...], "content_type": "systemd",
 *    "content": {"eventType": "phase", "string": "enter-initrd", ...}}
 *
 * recnum is optional; where it is given it must count up. An unfinished last record, whose writer was interrupted, is
 * refused like any other damage. A record that is well-formed but not known is no damage:
 *
 *   - a record without "pcr" is kept as `elsewhere`; systemd from version 259 on writes such records, with "nv_index"
 * and "nvIndexName", of its NV indexes;
 *   - an unknown content_type is shown by its name;
 *   - a PCR has no known value after a record that has only digests of unknown algorithms, or a firmware event of
 * unknown type. */

#include "replay/log.h"

/* FAILURE_EVENT_LOG. */
int cel_parse(const char *text, size_t size, const char *subject, struct event_log *ret, struct error *e);
