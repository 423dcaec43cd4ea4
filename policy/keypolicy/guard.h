/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an Allow still allows under the policy's Deny statements for everyone. A Deny of all requests without one
 * attested value adds that value to the conditions of the Allow; a Deny that always applies takes the action away. A
 * Deny for some callers, for one key or with further conditions is not counted: it may have a gap. */

#include "keypolicy/condition.h"

/* Actions of one kind. kms:CreateGrant gives them away: where it is allowed, all of them are allowed to the caller that
 * the grant names. */
enum use {
        USE_RELEASE, /* Decrypt and ReEncryptFrom: sealed data becomes readable */
        USE_SEAL,    /* GenerateDataKey, Encrypt and ReEncryptTo: the caller knows a key to seal with */
        USE_COUNT,
};

/* Zero-initialise. */
struct guarded {
        const struct statement *statement;
        bool used;                    /* whether an action of this kind is allowed at all */
        bool demands_document;        /* a Deny refuses requests without a document, but names no value */
        struct condition *conditions; /* of the Allow and of the Deny statements; their contents are the policy's */
        size_t n;
};

/* s is an Allow of this policy. -ENOMEM. */
int guarded_init(const struct key_policy *policy, const struct statement *s, enum use use, struct guarded *ret);
void guarded_done(struct guarded *g);
#define _cleanup_guarded_ _cleanup_(guarded_done)

/* Whether the statement can never apply, because a condition wants an attestation key that KMS does not have. */
bool statement_is_dead(const struct statement *s);
/* Whether some attested value is required. */
bool guarded_is_attested(const struct guarded *g);
/* The condition that requires this key with the fewest values, or NULL. */
const struct condition *guarded_find(const struct guarded *g, const char *key);
