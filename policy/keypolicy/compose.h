/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes the policies that let instances open a sealed model: of the key, of the instances' role, of the bucket. Each
 * accepted image has a statement of its own: two values for PCR4 and two for PCR12 in one statement would admit all
 * four combinations. */

#include "basic/json.h"
#include "verify/reference.h"

struct names {
        const char **items;
        size_t n;
};

struct composition {
        struct references images;
        struct names principals;     /* roles that may decrypt, of any account */
        struct names admins;         /* may manage the key and its policy, but neither use it nor grant its use */
        struct names sealers;        /* may make data keys */
        struct names openers;        /* roles or users of the owner's who may decrypt without a document */
        struct names context;        /* NAME=VALUE that the model was sealed with */
        const char *key;             /* ARN, for the role's policy */
        const char *bucket, *prefix; /* of the sealed model, for the role's and the bucket's policy */
        const char *report_bucket,
                *report_prefix; /* where instances store boot reports, for the role's policy; or NULL */
        const char *group;      /* the Auto Scaling group, for the role's policy; NULL: none */
        bool one_shot;          /* release only before a model is measured: PCR15 is zeros */
        bool secure_boot;       /* the references' PCR7 is the value of Secure Boot on */
        bool allow_unattested;  /* leave out the Deny for everyone but the accepted images */
};

/* FAILURE_POLICY for a principal with a wildcard. `what`: "administrator", for the error. */
int names_check(const struct names *names, const char *what, struct error *e);

/* Whether PCR7 stands in for PCR2, PCR4 or PCR12, which it can only with Secure Boot on. */
bool reference_needs_secure_boot(const struct reference *r);

/* FAILURE_USAGE where something is missing, FAILURE_POLICY where the result would have findings (lint.h). Three
 * findings are accepted: openers need no attestation; a reference has zeros in one of PCR0 to PCR7; a reference lacks
 * PCR2, and says that its PCR7 is of Secure Boot on. */
int compose_key_policy(const struct composition *c, json_object **ret, struct error *e);
/* The identity policy of the instance role. */
int compose_role_policy(const struct composition *c, json_object **ret, struct error *e);
/* The policy of the owner's bucket, which a role of another account needs. */
int compose_bucket_policy(const struct composition *c, json_object **ret, struct error *e);
