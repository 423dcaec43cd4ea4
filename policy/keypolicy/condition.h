/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whether a request meets a condition of a statement (IAM user guide, "IAM JSON policy elements: Condition
 * operators"). */

#include "keypolicy/key-policy.h"
#include "keypolicy/request.h"

/* In this order, so that the smallest of several is their "and", and the largest their "or". */
enum truth {
        TRUTH_NO,
        TRUTH_UNKNOWN,
        TRUTH_YES,
};

const char *truth_name(enum truth t);
enum truth truth_of(bool b);
enum truth truth_not(enum truth t);

/* Unknown when the condition is on something that cannot be known here (aws:SourceIp, a policy variable), or that is
 * not compared here (dates, numbers, addresses). `variables`: the policy's. */
enum truth condition_met(const struct condition *c, bool variables, const struct request *q);

/* Whether this condition is true for a request that does not have its key: Null, a negated operator, IfExists,
 * ForAllValues. */
bool condition_met_without_key(const struct condition *c);
/* Whether this condition fails without its key, and otherwise pins the key's value. */
bool condition_pins_value(const struct condition *c);
