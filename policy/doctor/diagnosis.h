/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Turns the report of a boot into an answer: what was refused, and which of the things that could be the cause is. KMS
 * says AccessDenied for a PCR mismatch and for a missing permission alike; with the key policy, both can be told apart
 * here.
 *
 * The report comes from the operator's instance and is believed as far as an operator needs: nothing here verifies it.
 */

#include "keypolicy/evaluate.h"
#include "replay/log.h"

enum remark_state {
        REMARK_GOOD, /* looked at, and not the cause */
        REMARK_PROBLEM,
        REMARK_UNKNOWN, /* could not be looked at; the text says what to give */
};

struct remark {
        const char *topic; /* outcome, clock, identity, key, pcrs, policy, permissions */
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
        bool unsynchronized;                 /* this is the instance, and its kernel says so of its clock */
        const char *principal;               /* otherwise the one that KMS named in its refusal */
};

/* Zero-initialise. */
struct diagnosis {
        struct remark *remarks;
        size_t n;
        struct evaluation evaluation; /* of the policy, when `evaluated` */
        bool evaluated;
        char principal[512]; /* who asked, or empty */
};

/* FAILURE_USAGE when the report is not one. */
int diagnose(const struct evidence *evidence, struct diagnosis *ret, struct error *e);
void diagnosis_done(struct diagnosis *d);
#define _cleanup_diagnosis_ _cleanup_(diagnosis_done)
