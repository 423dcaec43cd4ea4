/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

/* The kinds of policies, in the words of AWS. */
static const char *const kind_names[] = {
        [DENIAL_UNNAMED] = "policy",
        [DENIAL_IDENTITY] = "identity-based policy",
        [DENIAL_RESOURCE] = "resource-based policy",
        [DENIAL_BOUNDARY] = "permissions boundary",
        [DENIAL_SESSION] = "session policy",
        [DENIAL_SERVICE_CONTROL] = "service control policy",
        [DENIAL_RESOURCE_CONTROL] = "resource control policy",
        [DENIAL_VPC_ENDPOINT] = "VPC endpoint policy",
};

/* The account of a key's ARN, the part behind its fourth colon; "" when there is none. */
static const char *account_of(const char *arn) {
        for (unsigned colons = 0; colons < 4; colons++) {
                arn = strchr(arn, ':');
                if (!arn)
                        return "";
                arn++;
        }
        return arn;
}

static bool crosses_accounts(const struct boot_report *b) {
        const char *owner, *account = b->identity.account;
        size_t n;

        if (!b->key_arn || !account)
                return false;
        owner = account_of(b->key_arn);
        n = strcspn(owner, ":");
        return strlen(account) != n || strncmp(owner, account, n) != 0;
}

/* KMS does not say which kind of policy refused, and the key policy allows it: the other kinds are left. */
static int remark_other_policies(struct examination *x) {
        return remark(x, "permissions", REMARK_PROBLEM,
                      "Let the role's IAM policy allow kms:Decrypt on the key (`sealboot policy --for role` writes "
                      "one); "
                      "then look at VPC endpoint policies, service control policies, and whether the key's policy is "
                      "still this one.",
                      "the key policy allows what KMS refused%s, so the refusal comes from elsewhere",
                      crosses_accounts(&x->report)
                              ? "; the key belongs to another account, so the role's own IAM policy must allow "
                                "kms:Decrypt too"
                              : "");
}

int examine_permissions(struct examination *x) {
        bool allowed = x->diagnosis->evaluated && x->diagnosis->evaluation.decision == DECISION_ALLOWED;
        const struct denial *d = &x->denial;
        char advice[1024];

        if (!x->denied)
                return 0;
        if (d->kind == DENIAL_UNNAMED)
                return allowed ? remark_other_policies(x) : 0;
        if (d->kind == DENIAL_RESOURCE && allowed)
                return remark(x, "permissions", REMARK_PROBLEM,
                              "Give the policy that is in force (`aws kms get-key-policy --policy-name default "
                              "--key-id "
                              "...`), or put this one into force (`aws kms put-key-policy`).",
                              "KMS says that the key policy refused, but the one that was given allows the request: it "
                              "is not the key policy that was in force");
        if (d->kind == DENIAL_RESOURCE)
                return 0; /* the remarks on the key policy give the reason */
        denial_advice(d, "key policy", advice, sizeof advice);
        return remark(x, "permissions", REMARK_PROBLEM, advice, "KMS says that it was %s %s%s%s that refused",
                      d->kind == DENIAL_IDENTITY ? "an" : "a", kind_names[d->kind], d->policy[0] ? ", " : "",
                      d->policy);
}
