/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Explains a refused boot by its report: each possible cause gets a remark that says whether it is the cause. KMS says
 * AccessDenied for a PCR mismatch and for a missing permission alike; the key policy tells one from the other.
 *
 * The report is not authenticated: it helps the operator of the instance, and proves nothing to others. */

#include "keypolicy/evaluate.h"
#include "replay/log.h"

enum remark_state {
        REMARK_GOOD,    /* not the cause */
        REMARK_PROBLEM, /* a finding: the cause, or one of several */
        REMARK_UNKNOWN, /* could not be examined; the advice says what to give */
};

struct remark {
        const char *topic; /* outcome, clock, identity, key, pcrs, policy, permissions, gpus */
        enum remark_state state;
        char *text, *advice; /* advice may be NULL */
};

/* All but the report may be NULL. */
struct evidence {
        json_object *report; /* the agent's, sealboot-agent(8) */
        const struct key_policy *policy;
        const struct references *references; /* of the image that was meant to boot */
        json_object *key;                    /* `aws kms describe-key` */
        const struct event_log *log;         /* the firmware's, of that boot */
        bool unsynchronized;                 /* this is the instance, and its kernel says that its clock is not set */
        const char *principal;               /* NULL: the one that KMS named in its refusal */
};

/* Zero-initialise. */
struct diagnosis {
        struct remark *remarks;
        size_t n;
        struct evaluation evaluation; /* of the policy, when `evaluated` */
        bool evaluated;
        char principal[512]; /* the caller; empty when not known */
};

/* FAILURE_USAGE when the report is no boot report, or evidence->principal is no principal. */
int diagnose(const struct evidence *evidence, struct diagnosis *ret, struct error *e);
void diagnosis_done(struct diagnosis *d);
#define _cleanup_diagnosis_ _cleanup_(diagnosis_done)
