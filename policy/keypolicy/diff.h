/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Compares the meaning of key policies. These make no difference: the order of statements and values; a single value or
 * an array of one; the case of actions, of condition keys, and of values under operators that ignore it; an account or
 * its root ARN; Sids. The Version makes a difference to a statement with policy variables. */

#include "keypolicy/key-policy.h"

/* A statement that only one policy has (the other name is NULL), or that differs under the same Sid. */
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
