/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compares key policies by what they mean: the order of statements and values, a single value or an array of one, the
 * case of action and condition key names and of values under operators that ignore it, an account and its root ARN, and
 * Sids make no difference. The Version does, to a statement with policy variables. */

#include "keypolicy/key-policy.h"

/* One statement that is in one policy only (the other name is NULL), or that is in both under the same Sid and differs.
 */
struct change {
        const char *before, *after; /* names, borrowed from the policies */
        char **removed, **added;    /* "Condition StringEquals kms:EncryptionContext:model = a | b"; as in JSON
                                     * where a name or value is no plain word */
        size_t n_removed, n_added;
};

struct changes {
        struct change *items;
        size_t n;
};

int key_policy_compare(const struct key_policy *before, const struct key_policy *after, struct changes *ret,
                       struct error *e);
void changes_done(struct changes *c);
#define _cleanup_changes_ _cleanup_(changes_done)
