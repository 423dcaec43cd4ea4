/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of an Allow is left once the policy's Deny statements for everyone have been looked at. A Deny that refuses
 * whatever comes without one attested value adds that value to the conditions of the Allow; a Deny that always
 * applies takes the action away. A Deny that is for some callers or for one key, or that has other conditions
 * besides, is not counted: it may have a gap. */

#include "keypolicy/condition.h"

/* Actions of one kind. kms:CreateGrant gives them away: where it is allowed, all of them are, to whom the grant
 * names. */
enum use {
        USE_RELEASE, /* Decrypt and ReEncryptFrom: what is sealed becomes readable */
        USE_SEAL,    /* GenerateDataKey, Encrypt and ReEncryptTo: the caller knows a key that he can seal with */
        USE_COUNT,
};

/* Zero-initialise. */
struct guarded {
        const struct statement *statement;
        bool used;                    /* whether an action of this kind is allowed at all */
        bool demands_document;        /* some Deny refuses what comes without a document, but names no value */
        struct condition *conditions; /* of the Allow and of the Deny statements; what they hold is the policy's */
        size_t n;
};

/* s is an Allow of this policy. -ENOMEM. */
int guarded_init(const struct key_policy *policy, const struct statement *s, enum use use, struct guarded *ret);
void guarded_done(struct guarded *g);
#define _cleanup_guarded_ _cleanup_(guarded_done)

/* Whether a condition keeps the statement from ever applying: it wants an attestation key that KMS does not have. */
bool statement_is_dead(const struct statement *s);
/* Whether some attested value is required. */
bool guarded_is_attested(const struct guarded *g);
/* The condition that requires this key with the fewest values, or NULL. */
const struct condition *guarded_find(const struct guarded *g, const char *key);
