/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Evaluates a key policy as KMS does (IAM user guide, "Policy evaluation logic"), and keeps the reasons: KMS itself
 * answers AccessDeniedException and no more.
 *
 * Only the key policy is judged. Two kinds of callers also need an identity policy that allows the request: those of
 * another account, and those that the key policy admits by their account only (evaluation.delegated). */

#include "keypolicy/condition.h"

struct element_result {
        const char *element;          /* "Principal", "Action", "Resource", or a condition's operator */
        const char *key;              /* of a condition, else NULL */
        const struct strings *wanted; /* NULL: anyone */
        char *found;                  /* NULL: absent, or a key that was not given */
        enum truth truth;
};

struct statement_result {
        const struct statement *statement;
        enum truth truth;
        struct element_result *elements;
        size_t n;
        bool delegated; /* it names the caller's account only */
};

enum decision {
        DECISION_DENIED,
        DECISION_UNKNOWN,
        DECISION_ALLOWED,
};

struct evaluation {
        enum decision decision;
        bool explicit_deny;
        bool delegated;                      /* allowed to the account: its identity policies decide */
        struct statement_result *statements; /* as many as the policy has, in its order */
        size_t n;
};

/* The result borrows from the policy. */
int evaluate(const struct key_policy *policy, const struct request *request, struct evaluation *ret, struct error *e);
void evaluation_done(struct evaluation *v);
#define _cleanup_evaluation_ _cleanup_(evaluation_done)

const char *decision_name(enum decision d);
