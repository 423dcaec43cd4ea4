/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/compose.h"

#include "basic/encode.h"
#include "keypolicy/key-policy.h"
#include "keypolicy/lint.h"

enum { PCR_IMAGE = 4, PCR_SECURE_BOOT = 7, PCR_COMMAND_LINE = 12, PCR_MODEL = 15 };

static const char *const admin_actions[] = {
        "kms:CancelKeyDeletion", "kms:DescribeKey",        "kms:DisableKey",        "kms:DisableKeyRotation",
        "kms:EnableKey",         "kms:EnableKeyRotation",  "kms:GetKeyPolicy",      "kms:GetKeyRotationStatus",
        "kms:ListGrants",        "kms:ListKeyPolicies",    "kms:ListResourceTags",  "kms:PutKeyPolicy",
        "kms:RevokeGrant",       "kms:ScheduleKeyDeletion", "kms:TagResource",      "kms:UntagResource",
        "kms:UpdateKeyDescription",
};
static const char *const sealer_actions[] = { "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey" };
static const char *const release_actions[] = { "kms:Decrypt" };
static const char *const plaintext_actions[] = { "kms:Decrypt", "kms:ReEncryptFrom" };

/* json-c takes ownership of what is added, and tells of a failure to allocate only by NULL: which all these pass on. */

static void add(json_object *to, const char *key, json_object *value) {
        json_object_object_add(to, key, value);
}

static void add_text(json_object *to, const char *key, const char *value) {
        add(to, key, json_object_new_string(value));
}

static json_object *list(const char *const *items, size_t n) {
        json_object *o;

        if (n == 1)
                return json_object_new_string(items[0]);
        o = json_object_new_array();
        for (size_t i = 0; i < n; i++)
                json_object_array_add(o, json_object_new_string(items[i]));
        return o;
}

static json_object *new_document(json_object **ret_statements) {
        json_object *o = json_object_new_object();

        *ret_statements = json_object_new_array();
        add_text(o, "Version", "2012-10-17");
        add(o, "Statement", *ret_statements);
        return o;
}

/* Resource is "*", which in a key policy is the key, until another is added. */
static json_object *add_statement(json_object *statements, const char *sid, const char *effect,
                                  const struct names *principals, const char *const *actions, size_t n_actions) {
        json_object *s = json_object_new_object(), *who;

        json_object_array_add(statements, s);
        add_text(s, "Sid", sid);
        add_text(s, "Effect", effect);
        if (principals) {
                who = json_object_new_object();
                add(who, "AWS", list(principals->items, principals->n));
                add(s, "Principal", who);
        }
        add(s, "Action", list(actions, n_actions));
        add_text(s, "Resource", "*");
        return s;
}

static json_object *image_conditions(const struct reference *image, bool one_shot) {
        bool nitrotpm = reference_is_nitrotpm(image);
        char hex[2 * REFERENCE_SIZE + 1], key[64];
        json_object *o = json_object_new_object();

        for (unsigned i = 0; i < REFERENCE_PCRS; i++) {
                if (!reference_has(image, i))
                        continue;
                hex_encode(image->pcr[i], REFERENCE_SIZE, hex);
                if (!nitrotpm && i == 0)
                        snprintf(key, sizeof key, "kms:RecipientAttestation:ImageSha384");
                else
                        snprintf(key, sizeof key, "kms:RecipientAttestation:%sPCR%u", nitrotpm ? "NitroTPM" : "", i);
                add_text(o, key, hex);
        }
        if (one_shot) {
                hex_encode((const uint8_t[REFERENCE_SIZE]) {}, REFERENCE_SIZE, hex);
                add_text(o, "kms:RecipientAttestation:NitroTPMPCR15", hex);
        }
        return o;
}

static int context_conditions(const struct composition *c, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();

        for (size_t i = 0; i < c->context.n; i++) {
                const char *name = c->context.items[i], *equals = strchr(name, '=');
                _cleanup_free_ char *key = NULL;

                if (!equals || equals == name || !equals[1])
                        return fail(e, FAILURE_USAGE, -EINVAL, name, "is not NAME=VALUE of an encryption context");
                if (strstr(equals, "${"))
                        return fail(e, FAILURE_POLICY, -EINVAL, name,
                                    "holds \"${\", which KMS would replace by what the request says of itself");
                if (asprintf(&key, "kms:EncryptionContext:%.*s", (int) (equals - name), name) < 0)
                        return fail_oom(e);
                if (json_object_object_get_ex(o, key, NULL))
                        return fail(e, FAILURE_USAGE, -EINVAL, name, "names a part of the encryption context again");
                add_text(o, key, equals + 1);
        }
        *ret = TAKE(o);
        return 0;
}

static int check_principals(const struct names *names, const char *what, struct error *e) {
        for (size_t i = 0; i < names->n; i++)
                if (strpbrk(names->items[i], "*?"))
                        return fail(e, FAILURE_POLICY, -EINVAL, names->items[i],
                                    "a wildcard %s would let everyone it matches ask: name each by its ARN", what);
        return 0;
}

bool reference_needs_secure_boot(const struct reference *r) {
        return reference_is_nitrotpm(r) && reference_has(r, PCR_SECURE_BOOT) &&
               !(reference_has(r, PCR_IMAGE) && reference_has(r, PCR_COMMAND_LINE));
}

static int check_image(const struct composition *c, const struct reference *image, struct error *e) {
        static const uint8_t zeros[REFERENCE_SIZE];

        if (c->secure_boot && image->secure_boot == SECURE_BOOT_OFF && reference_needs_secure_boot(image)) {
                fail(e, FAILURE_POLICY, -EINVAL, image->source,
                     "secure-boot-off: its PCR7 was predicted for Secure Boot off, where it tells nothing of the image");
                fail_advice(e, "Bind PCR2, PCR4 and PCR12, or measure again with Secure Boot on, as the instances have "
                               "it.");
                return -EINVAL;
        }

        if (!c->one_shot)
                return 0;
        if (!reference_is_nitrotpm(image))
                return fail(e, FAILURE_USAGE, -EINVAL, image->source,
                            "measures an enclave, which has no PCR15 for one-shot release");
        if (reference_has(image, PCR_MODEL) && memcmp(image->pcr[PCR_MODEL], zeros, sizeof zeros) != 0)
                return fail(e, FAILURE_USAGE, -EINVAL, image->source,
                            "binds PCR15 to a model, but one-shot release binds it to zeros");
        return 0;
}

/* Whether a finding is that PCR2 is missing, of an image whose reference itself says that PCR7 is of Secure Boot on. */
static bool is_excused(const struct composition *c, const struct finding *f) {
        size_t n;

        return streq(f->code, "pcr4-without-pcr2") && sscanf(f->statement, "ReleaseToImage%zu", &n) == 1 && n >= 1 &&
               n <= c->images.n && c->images.items[n - 1].secure_boot == SECURE_BOOT_ON &&
               reference_has(&c->images.items[n - 1], PCR_SECURE_BOOT);
}

static int check_composition(const struct composition *c, struct error *e) {
        int r;

        if (c->images.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy", "no reference measurements were given");
        if (c->principals.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy",
                            "no principal was given: whose instances may have the key?");
        if (c->admins.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy",
                            "no administrator was given: nobody could manage the key");
        r = check_principals(&c->principals, "principal", e);
        if (r == 0)
                r = check_principals(&c->admins, "administrator", e);
        if (r == 0)
                r = check_principals(&c->sealers, "sealer", e);
        for (size_t i = 0; i < c->images.n && r == 0; i++)
                r = check_image(c, &c->images.items[i], e);
        return r;
}

/* Keys in one block must all be absent for the Deny: a document of either kind, NitroTPM or enclave, escapes it. */
static void add_denial(json_object *statements) {
        json_object *s, *condition = json_object_new_object(), *absent = json_object_new_object();
        const char *anyone = "*";
        const struct names everyone = { &anyone, 1 };

        s = add_statement(statements, "DenyWithoutAttestation", "Deny", &everyone, plaintext_actions,
                          ELEMENTS(plaintext_actions));
        add_text(absent, "kms:RecipientAttestation:NitroTPMPCR4", "true");
        add_text(absent, "kms:RecipientAttestation:ImageSha384", "true");
        add(condition, "Null", absent);
        add(s, "Condition", condition);
}

/* What is written is read again by the code that judges policies, so that it cannot be less than it seems to be. */
static int check_written(const struct composition *c, json_object *o, struct error *e) {
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_findings_ struct findings findings = {};
        size_t worst = 0;
        int r;

        if (!text)
                return fail_oom(e);
        if (strlen(text) >= KEY_POLICY_MAX)
                return fail(e, FAILURE_POLICY, -EFBIG, "key policy",
                            "takes %zu bytes for %zu images even without white space, and KMS takes no more than %d",
                            strlen(text) + 1, c->images.n, KEY_POLICY_MAX);
        r = key_policy_parse(text, strlen(text), "key policy", &policy, e);
        if (r < 0)
                return r;
        r = key_policy_lint(&policy, c->secure_boot, &findings, e);
        if (r < 0)
                return r;
        while (worst < findings.n && is_excused(c, &findings.items[worst]))
                worst++;
        if (worst == findings.n)
                return 0;
        fail(e, FAILURE_POLICY, -EINVAL, findings.items[worst].statement, "%s: %s", findings.items[worst].code,
             findings.items[worst].text);
        if (streq(findings.items[worst].code, "pcr4-without-pcr2"))
                fail_advice(e, "Measure again with `sealboot measure`, which gives PCR2; or give --pcr2 none where the "
                               "instances load no option ROMs, or the PCR2 of those that do; or, where PCR7 was computed for "
                               "Secure Boot on, say so with --secure-boot.");
        if (streq(findings.items[worst].code, "pcr4-without-pcr12"))
                fail_advice(e, "Measure again with `sealboot measure` or nitro-tpm-pcr-compute 1.1 or later, which give "
                               "PCR12; or, where PCR7 "
                               "was computed for Secure Boot on, say so with --secure-boot.");
        if (streq(findings.items[worst].code, "self-administration"))
                fail_advice(e, "Give --admin someone of the key owner's whom neither the instances' role nor its account "
                               "can act as.");
        return -EINVAL;
}

int compose_key_policy(const struct composition *c, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = NULL, *context = NULL;
        json_object *statements, *s, *condition;
        char sid[64];
        int r;

        r = check_composition(c, e);
        if (r == 0)
                r = context_conditions(c, &context, e);
        if (r < 0)
                return r;
        o = new_document(&statements);
        add_statement(statements, "AdministerKey", "Allow", &c->admins, admin_actions, ELEMENTS(admin_actions));
        if (c->sealers.n > 0)
                add_statement(statements, "SealModels", "Allow", &c->sealers, sealer_actions, ELEMENTS(sealer_actions));
        for (size_t i = 0; i < c->images.n; i++) {
                snprintf(sid, sizeof sid, "ReleaseToImage%zu", i + 1);
                s = add_statement(statements, sid, "Allow", &c->principals, release_actions, ELEMENTS(release_actions));
                condition = json_object_new_object();
                add(condition, "StringEqualsIgnoreCase", image_conditions(&c->images.items[i], c->one_shot));
                if (c->context.n > 0)
                        add(condition, "StringEquals", json_object_get(context));
                add(s, "Condition", condition);
        }
        if (c->deny_unattested)
                add_denial(statements);
        r = check_written(c, o, e);
        if (r < 0)
                return r;
        *ret = TAKE(o);
        return 0;
}

/* The objects below the prefix; one that does not end in a slash may also be an object itself, but not the beginning of
 * other names. */
static int objects(const struct composition *c, json_object **ret, struct error *e) {
        const char *arn = c->key ?: c->principals.n > 0 ? c->principals.items[0] : "";
        const char *partition = strncmp(arn, "arn:", 4) == 0 ? arn + 4 : "aws";
        _cleanup_free_ char *one = NULL, *below = NULL;
        const char *both[2];
        size_t n;

        if (!c->bucket)
                return fail(e, FAILURE_USAGE, -EINVAL, "policy", "no --model s3://BUCKET/PREFIX/ was given");
        if (strpbrk(c->bucket, "*?") || (c->prefix && strpbrk(c->prefix, "*?$")))
                return fail(e, FAILURE_USAGE, -EINVAL, c->prefix ?: c->bucket,
                            "holds a character that S3 policies read as a wildcard");
        if (asprintf(&one, "arn:%.*s:s3:::%s/%s", (int) strcspn(partition, ":"), partition, c->bucket, c->prefix ?: "") <
            0) {
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
        *ret = list(both, one[n - 1] == '/' ? 1 : 2);
        return 0;
}

int compose_role_policy(const struct composition *c, json_object **ret, struct error *e) {
        static const char *const get[] = { "s3:GetObject" };
        _cleanup_json_ json_object *read = NULL;
        json_object *o, *statements, *s;
        int r;

        if (!c->key || strncmp(c->key, "arn:aws", 7) != 0 || !strstr(c->key, ":kms:") || strpbrk(c->key, "*?"))
                return fail(e, FAILURE_USAGE, -EINVAL, c->key ?: "role policy",
                            "--key takes the ARN of the one KMS key the models are sealed under");
        r = objects(c, &read, e);
        if (r < 0)
                return r;
        o = new_document(&statements);
        s = add_statement(statements, "UnsealModels", "Allow", NULL, release_actions, ELEMENTS(release_actions));
        add_text(s, "Resource", c->key);
        s = add_statement(statements, "ReadSealedModels", "Allow", NULL, get, ELEMENTS(get));
        add(s, "Resource", TAKE(read));
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
                            "no principal was given: whose instances read the bucket?");
        r = check_principals(&c->principals, "principal", e);
        if (r == 0)
                r = objects(c, &read, e);
        if (r < 0)
                return r;
        o = new_document(&statements);
        s = add_statement(statements, "ReadSealedModels", "Allow", &c->principals, get, ELEMENTS(get));
        add(s, "Resource", json_object_get(read));
        s = add_statement(statements, "DenyPlainHttp", "Deny", &everyone, all, ELEMENTS(all));
        add(s, "Resource", TAKE(read));
        condition = json_object_new_object();
        insecure = json_object_new_object();
        add_text(insecure, "aws:SecureTransport", "false");
        add(condition, "Bool", insecure);
        add(s, "Condition", condition);
        *ret = o;
        return 0;
}
