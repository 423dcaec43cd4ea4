/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A boot report (sealboot-agent(8), "BOOT REPORT") as one of many: of two hundred instances, some may be broken, old,
 * or in the hands of somebody who wants the page of a fleet to lie or to break. So it is read strictly: a member that
 * is known must have its type and its range, and what must be there must be there. Members that are not known are
 * ignored: instances may run a newer agent than the reader. One table in record.c lists the known ones. */

#include "basic/json.h"

enum { RECORD_MAX = 1024 * 1024, RECORD_STAGES_MAX = 256 };

enum record_outcome { RECORD_RUNNING, RECORD_WAITING, RECORD_PUBLISHED, RECORD_FAILED };

struct record_stage {
        const char *name;
        double began_ms, duration_ms;
        bool ended;
        double bytes; /* 0: no data moves in it */
};

/* Texts are "" where the report has none. They are of others: filter them. */
struct record {
        json_object *json; /* NULL after record_keep_known(); until then the texts are borrowed from it */
        char *texts;       /* what they are borrowed from afterwards */
        char *origin;      /* the file or the key that it was read from */
        enum record_outcome outcome;
        const char *version;
        const char *instance, *type, *image, *account, *region;
        const char *model, *model_version, *model_digest, *source;
        const char *key_arn;
        double began_ms;      /* since 1970 */
        double since_boot_ms; /* from the kernel's start to the agent's */
        double duration_ms;   /* 0 while it is running */
        double work_ms;       /* of it, without the time in a warm pool */
        double server_ms;     /* until the inference server was ready, likewise; 0: not known */
        double model_bytes, retries, cpu_seconds, peak_memory_kib;
        struct {
                double exit_code;
                const char *name, *title, *subject, *reason, *advice;
        } failure;
        struct {
                const char *doing;
                double at_ms, bytes, total;
        } progress;
        struct record_stage *stages;
        size_t n_stages;
};

/* FAILURE_USAGE, with `origin` as the subject. */
int record_parse(const char *text, size_t n, const char *origin, struct record *ret, struct error *e);
/* Frees the report itself, of which a hostile one is a hundred times as large in memory as its text. */
int record_keep_known(struct record *r, struct error *e);
void record_done(struct record *r);
#define _cleanup_record_ _cleanup_(record_done)

const char *record_outcome_word(enum record_outcome outcome);
/* Index of the stage that took longest, without those that contain others; n_stages: there is none. */
size_t record_longest_stage(const struct record *r);

/* "12 ms", "1.23 s", "2 min 05 s", "1 h 02 min". */
enum { DURATION_TEXT_SIZE = 32 };
void duration_text(double ms, char ret[static DURATION_TEXT_SIZE]);
