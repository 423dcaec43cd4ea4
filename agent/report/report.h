/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The boot report: what a boot did, when, and how it ended. Written as JSON for alarms and people (`sealboot doctor`
 * reads it), and to the journal as it happens: one structured entry for each stage and one for the end, each with a
 * message id. Its keys are described in sealboot-agent(8), "BOOT REPORT". */

#include <json-c/json.h>

#include "basic/failure.h"

struct report;

#define REPORT_STAGE_MESSAGE_ID "1973a906e0e945fd86a348d1fc55927a"
#define REPORT_PUBLISHED_MESSAGE_ID "d7488327ac624102b892c1de189fb906"

/* Writes the first report at once ("outcome": "running"), so that a place that cannot be written to is known before any
 * work. */
int report_new(const char *path, struct report **ret, struct error *e);
void report_free(struct report *r);
DEFINE_CLEANUP(struct report *, report_free, report_freep)

/* Stages may overlap, and begin again after they ended; `name` is a literal. `bytes` 0: no rate. Ending what has not
 * begun does nothing. */
void report_begin(struct report *r, const char *name);
void report_end(struct report *r, const char *name, uint64_t bytes);

/* Puts a value, which the report then owns, at a place such as "model" or "kms.request_id". */
void report_put(struct report *r, const char *place, json_object *value);
void report_text(struct report *r, const char *place, const char *text);
void report_hex(struct report *r, const char *place, const char *prefix, const uint8_t *data, size_t n);

/* Ends the report and writes it. e NULL: published. */
int report_close(struct report *r, const struct error *failure, struct error *e);
/* Writes it once more, with what came after its end. */
int report_write(struct report *r, struct error *e);
