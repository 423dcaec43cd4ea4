/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/key-arn.h"
#include "aws/kms.h"
#include "doctor/examination.h"

/* Of `aws kms describe-key`; with --query KeyMetadata it prints the inner object alone. */
static const char *described(const struct examination *x, const char *whole, const char *inner) {
        json_object *key = x->evidence->key;

        return key ? json_text_at(key, whole) ?: json_text_at(key, inner) : NULL;
}

static int examine_state(struct examination *x) {
        const char *arn = described(x, "KeyMetadata.Arn", "Arn");
        const char *state = described(x, "KeyMetadata.KeyState", "KeyState");
        const struct boot_report *b = &x->report;

        if (b->failure.name && streq(b->failure.name, "kms-key") && !state)
                return remark(x, "key", REMARK_PROBLEM,
                              "The key's owner must enable it, cancel its deletion, or correct its ARN.",
                              "KMS will not use the key %s", b->key_arn ?: "");
        if (!state || !arn)
                return remark(x, "key", REMARK_UNKNOWN,
                              "Give what `aws kms describe-key --key-id ...` prints to the owner with --key.",
                              "%s; its state was not given", b->key_arn ?: "no key was named");
        if (b->key_arn && !streq(arn, b->key_arn))
                return remark(x, "key", REMARK_UNKNOWN, NULL,
                              "the model is sealed under %s, but the description is of %s", b->key_arn, arn);
        if (!streq(state, "Enabled"))
                return remark(x, "key", REMARK_PROBLEM,
                              kms_state_advice(state) ?: "The key's owner must enable it, or cancel its deletion.",
                              "%s is %s", arn, state);
        return remark(x, "key", REMARK_GOOD, NULL, "%s is enabled", arn);
}

/* A replica of a multi-Region key is looked for in the instance's own Region by the agent itself. */
static bool is_in_another_region(const char *arn, const char *region) {
        _cleanup_free_ char *own = NULL;

        return !key_arn_is_multi_region(arn) && (key_arn_region(arn, &own) < 0 || !streq(own, region));
}

int examine_key(struct examination *x) {
        const char *arn = x->report.key_arn, *region = x->report.identity.region;

        if (arn && region && is_in_another_region(arn, region))
                return remark(x, "key", REMARK_PROBLEM,
                              "Set \"region\" in the measured configuration to the key's, or seal under a key of the "
                              "instance's Region.",
                              "%s is not in %s, where the instance is", arn, region);
        return examine_state(x);
}
