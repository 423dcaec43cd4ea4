/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads the message of a service whose policy refuses: "User: ARN is not authorized to perform: ACTION on resource: ARN
 * because no KIND policy allows the ACTION action", or "... with an explicit deny in a KIND policy", since 2026 with
 * the policy's ARN behind it. Source: IAM User Guide, "Troubleshoot access denied error messages". */

#include "basic/macros.h"

enum denial_kind {
        DENIAL_UNNAMED, /* it does not say which kind */
        DENIAL_IDENTITY,
        DENIAL_RESOURCE, /* the key policy, the bucket policy */
        DENIAL_BOUNDARY,
        DENIAL_SESSION,
        DENIAL_SERVICE_CONTROL,
        DENIAL_RESOURCE_CONTROL,
        DENIAL_VPC_ENDPOINT,
};

/* Texts are "" where the message does not name them. */
struct denial {
        enum denial_kind kind;
        bool is_explicit; /* a Deny, and not the lack of an Allow */
        char action[80];  /* "kms:Decrypt" */
        char resource[512];
        char policy[512]; /* the ARN of the policy that refused */
};

/* False when the message is no such text. */
bool denial_parse(const char *message, struct denial *ret);

/* What to do about it: one or two sentences about the kind of policy that refused, and no other. "" for
 * DENIAL_UNNAMED. `resource_policy` is what the service calls its resource-based policy: "key policy". */
void denial_advice(const struct denial *d, const char *resource_policy, char *ret, size_t n);
