/* SPDX-License-Identifier: Apache-2.0 */

/* The policies of the instances' role and of the bucket. */

#include "aws/key-arn.h"
#include "keypolicy/compose.h"
#include "keypolicy/policy-json.h"

/* The objects below the prefix. A prefix without a slash at its end may also be an object itself, but does not stand
 * for other names that begin like it. */
static int list_objects(const struct composition *c, json_object **ret, struct error *e) {
        const char *arn = c->key ?: c->principals.n > 0 ? c->principals.items[0] : "";
        const char *partition = strncmp(arn, "arn:", 4) == 0 ? arn + 4 : "aws";
        _cleanup_free_ char *one = NULL, *below = NULL;
        const char *both[2];
        size_t n;

        if (!c->bucket)
                return fail(e, FAILURE_USAGE, -EINVAL, "policy", "no --model s3://BUCKET/PREFIX/ was given");
        if (strpbrk(c->bucket, "*?") || (c->prefix && strpbrk(c->prefix, "*?$")))
                return fail(e, FAILURE_USAGE, -EINVAL, c->prefix ?: c->bucket,
                            "it holds a character that S3 policies read as a wildcard");
        if (asprintf(&one, "arn:%.*s:s3:::%s/%s", (int) strcspn(partition, ":"), partition, c->bucket,
                     c->prefix ?: "") < 0) {
                one = NULL;
                return fail_oom(e);
        }
        n = strlen(one);
        if (asprintf(&below, "%s%s*", one, one[n - 1] == '/' ? "" : "/") < 0) {
                below = NULL;
                return fail_oom(e);
        }
        both[0] = below;
        both[1] = one;
        *ret = policy_list(both, one[n - 1] == '/' ? 1 : 2);
        return 0;
}

int compose_role_policy(const struct composition *c, json_object **ret, struct error *e) {
        static const char *const get[] = { "s3:GetObject" }, *const decrypt[] = { "kms:Decrypt" };
        _cleanup_json_ json_object *read = NULL;
        json_object *o, *statements, *s;
        int r;

        if (!c->key)
                return fail(e, FAILURE_USAGE, -EINVAL, "role policy",
                            "no --key was given: the ARN of the KMS key that the models are sealed under");
        if (!key_arn_valid(c->key))
                return fail(e, FAILURE_USAGE, -EINVAL, c->key, "it is not the ARN of a KMS key");
        r = list_objects(c, &read, e);
        if (r < 0)
                return r;
        o = policy_new(&statements);
        s = policy_add_statement(statements, "UnsealModels", "Allow", NULL, decrypt, ELEMENTS(decrypt));
        policy_add_text(s, "Resource", c->key);
        s = policy_add_statement(statements, "ReadSealedModels", "Allow", NULL, get, ELEMENTS(get));
        policy_add(s, "Resource", TAKE(read));
        *ret = o;
        return 0;
}

int compose_bucket_policy(const struct composition *c, json_object **ret, struct error *e) {
        static const char *const get[] = { "s3:GetObject" }, *const all[] = { "s3:*" };
        const char *anyone = "*";
        const struct names everyone = { &anyone, 1 };
        json_object *o, *statements, *s, *condition, *insecure;
        _cleanup_json_ json_object *read = NULL;
        int r;

        if (c->principals.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "bucket policy",
                            "no --principal was given: the role of the instances that read the bucket");
        r = names_check(&c->principals, "principal", e);
        if (r < 0)
                return r;
        r = list_objects(c, &read, e);
        if (r < 0)
                return r;
        o = policy_new(&statements);
        s = policy_add_statement(statements, "ReadSealedModels", "Allow", &c->principals, get, ELEMENTS(get));
        policy_add(s, "Resource", json_object_get(read));
        s = policy_add_statement(statements, "DenyPlainHttp", "Deny", &everyone, all, ELEMENTS(all));
        policy_add(s, "Resource", TAKE(read));
        condition = json_object_new_object();
        insecure = json_object_new_object();
        policy_add_text(insecure, "aws:SecureTransport", "false");
        policy_add(condition, "Bool", insecure);
        policy_add(s, "Condition", condition);
        *ret = o;
        return 0;
}
