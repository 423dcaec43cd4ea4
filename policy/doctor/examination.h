/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the steps of a diagnosis share, and the steps. Each looks at one possible cause of a refusal and adds remarks.
 */

#include "aws/denial.h"
#include "doctor/boot-report.h"
#include "doctor/diagnosis.h"

struct examination {
        const struct evidence *evidence;
        struct boot_report report;
        bool denied;          /* a policy refused the key, by what KMS said ... */
        struct denial denial; /* ... of this kind */
        struct diagnosis *diagnosis;
        struct error *e;
};

/* Adds a remark. `advice` may be NULL or empty. 0 or -ENOMEM. */
int remark(struct examination *x, const char *topic, enum remark_state state, const char *advice, const char *format,
           ...) _printf_(5, 6);

/* 0, or a negative errno after filling x->e. */
int examine_outcome(struct examination *x);
int examine_clock(struct examination *x);
int examine_identity(struct examination *x);
int examine_key(struct examination *x);
int examine_pcrs(struct examination *x);
/* The key policy, if it was given: what it decides, and which statement and condition decides it. */
int examine_policy(struct examination *x);
/* Every other policy, if KMS refused. Needs the decision of the key policy. */
int examine_permissions(struct examination *x);
/* The self-test of a GPU image, if the report has one. */
int examine_gpus(struct examination *x);
