/* SPDX-License-Identifier: Apache-2.0 */

/* The policies of the instances' role and of the bucket. */

#include "aws/key-arn.h"
#include "keypolicy/compose.h"
#include "keypolicy/policy-json.h"

static int check_name(const char *bucket, const char *prefix, struct error *e) {
        if (!strpbrk(bucket, "*?") && !(prefix && strpbrk(prefix, "*?$")))
                return 0;
        return fail(e, FAILURE_USAGE, -EINVAL, prefix ?: bucket,
                    "it holds a character that S3 policies read as a wildcard");
}

/* The partition of the ARNs that were given: "aws", "aws-cn". */
static void partition_of(const struct composition *c, char ret[static 16]) {
        const char *arn = c->key ?: c->principals.n > 0 ? c->principals.items[0] : "";
        const char *partition = strncmp(arn, "arn:", 4) == 0 ? arn + 4 : "aws";

        snprintf(ret, 16, "%.*s", (int) strcspn(partition, ":"), partition);
}

/* The objects below the prefix. A prefix without a slash at its end may also be an object itself, but does not stand
 * for other names that begin like it. */
static int list_objects(const struct composition *c, json_object **ret, struct error *e) {
        _cleanup_free_ char *one = NULL, *below = NULL;
        const char *both[2];
        char partition[16];
        size_t n;
        int r;

        if (!c->bucket)
                return fail(e, FAILURE_USAGE, -EINVAL, "policy", "no --model s3://BUCKET/PREFIX/ was given");
        r = check_name(c->bucket, c->prefix, e);
        if (r < 0)
                return r;
        partition_of(c, partition);
        if (asprintf(&one, "arn:%s:s3:::%s/%s", partition, c->bucket, c->prefix ?: "") < 0) {
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

static int allow_reports(const struct composition *c, json_object *statements, struct error *e) {
        static const char *const put[] = { "s3:PutObject" };
        _cleanup_free_ char *below = NULL;
        char partition[16];
        json_object *s;
        int r;

        if (!c->report_bucket)
                return 0;
        r = check_name(c->report_bucket, c->report_prefix, e);
        if (r < 0)
                return r;
        partition_of(c, partition);
        if (asprintf(&below, "arn:%s:s3:::%s/%s*", partition, c->report_bucket, c->report_prefix ?: "") < 0) {
                below = NULL;
                return fail_oom(e);
        }
        s = policy_add_statement(statements, "StoreBootReports", "Allow", NULL, put, ELEMENTS(put));
        policy_add_text(s, "Resource", below);
        return 0;
}

/* Auto Scaling knows groups of the caller's own account and Region alone, so the ARN names neither. */
static int allow_lifecycle(const struct composition *c, json_object *statements, struct error *e) {
        static const char *const hook[] = { "autoscaling:CompleteLifecycleAction",
                                            "autoscaling:RecordLifecycleActionHeartbeat" };
        _cleanup_free_ char *group = NULL;
        char partition[16];
        json_object *s;

        if (!c->group)
                return 0;
        if (!c->group[0] || strlen(c->group) > 255 || strpbrk(c->group, ":*?$"))
                return fail(e, FAILURE_USAGE, -EINVAL, c->group,
                            "it is not the name of an Auto Scaling group, or holds a character that IAM policies read "
                            "as a wildcard");
        partition_of(c, partition);
        if (asprintf(&group, "arn:%s:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/%s", partition, c->group) <
            0) {
                group = NULL;
                return fail_oom(e);
        }
        s = policy_add_statement(statements, "TellAutoScaling", "Allow", NULL, hook, ELEMENTS(hook));
        policy_add_text(s, "Resource", group);
        return 0;
}

int compose_role_policy(const struct composition *c, json_object **ret, struct error *e) {
        static const char *const get[] = { "s3:GetObject" }, *const decrypt[] = { "kms:Decrypt" };
        _cleanup_json_ json_object *read = NULL, *o = NULL;
        json_object *statements, *s;
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
        r = allow_lifecycle(c, statements, e);
        if (r < 0)
                return r;
        r = allow_reports(c, statements, e);
        if (r < 0)
                return r;
        *ret = TAKE(o);
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
