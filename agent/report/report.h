/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The boot report: what a boot did, when, and how it ended. It is written as JSON, for alarms and people: when the boot
 * begins, at the beginning of each stage, about once a second while data moves, and at the end. So a running boot can
 * be watched (`sealboot status`); `sealboot doctor` explains one that failed. The journal gets one structured entry at
 * the end of each stage and one at the end of the boot, each with a message id. sealboot-agent(8), "BOOT REPORT",
 * describes the keys. */

#include <json-c/json.h>

#include "basic/failure.h"

struct report;

#define REPORT_STAGE_MESSAGE_ID "1973a906e0e945fd86a348d1fc55927a"
#define REPORT_PUBLISHED_MESSAGE_ID "d7488327ac624102b892c1de189fb906"
#define REPORT_WAIT_MESSAGE_ID "04f02e79b3954613a2c92d7affc0714a"
#define REPORT_LIFECYCLE_MESSAGE_ID "fd894128391d4c46a94bd1711938175c"
#define REPORT_SERVER_MESSAGE_ID "c71d4becd47c4fffa41db020f5e7a671"

/* Writes the first report at once ("outcome": "running"): a file that cannot be written is an error before any work. */
int report_new(const char *path, struct report **ret, struct error *e);
void report_free(struct report *r);
DEFINE_CLEANUP(struct report *, report_free, report_freep)

/* When the boot began, by the time of day. */
int64_t report_began_ms(const struct report *r);

/* Stages may overlap. A stage may begin again after its end. The end of a stage that has not begun does nothing. `name`
 * is a literal. `bytes` 0: the stage has no rate. */
void report_begin(struct report *r, const char *name);
void report_end(struct report *r, const char *name, uint64_t bytes);

/* What the boot does at this moment, and how far it is; `total` 0: no data moves. Written to the file at most once a
 * second, and not after the end. From any thread. */
void report_progress(struct report *r, const char *doing, uint64_t bytes, uint64_t total);

/* Puts a value at a place such as "model" or "kms.request_id". The report owns the value then. */
void report_put(struct report *r, const char *place, json_object *value);
void report_text(struct report *r, const char *place, const char *text);
void report_hex(struct report *r, const char *place, const char *prefix, const uint8_t *data, size_t n);

/* The boot waits in a warm pool, in this lifecycle state: "outcome": "waiting". Writes the report. */
void report_wait(struct report *r, const char *state);
/* What Auto Scaling was told: CONTINUE, or ABANDON with a reason. */
void report_lifecycle(struct report *r, const char *result, const char *group, const char *hook, const char *reason);

/* Puts what `sealboot-gpu --test --save` wrote to this file at "gpu_test", one object for each check. No file: nothing.
 */
void report_gpu_test(struct report *r, const char *path);

/* Ends the report and writes it, and beside it the same as metrics (metrics.h) in a file whose name ends in ".prom"
 * instead of ".json". `failure` NULL: the model is published. */
int report_close(struct report *r, const struct error *failure, struct error *e);
/* After the end: what became of the inference server. `failure` NULL: it is ready. Writes the report again. */
void report_server(struct report *r, const struct error *failure);
/* Writes the report again, with the values that were added after its end. */
int report_write(struct report *r, struct error *e);

/* The report for others than this instance, as JSON text; NULL: out of memory. It leaves out "model.files": names,
 * sizes and digests of the files are in the sealed manifest, which the operator of the instance cannot read. */
char *report_outline(struct report *r);
