/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/compose.h"

#include "basic/encode.h"
#include "keypolicy/condition-key.h"
#include "keypolicy/key-policy.h"
#include "keypolicy/lint.h"
#include "keypolicy/policy-json.h"
#include "keypolicy/principal.h"

#define OPEN_MODELS "OpenModels"

/* clang-format off */
static const char *const admin_actions[] = {
        "kms:CancelKeyDeletion", "kms:DescribeKey",        "kms:DisableKey",        "kms:DisableKeyRotation",
        "kms:EnableKey",         "kms:EnableKeyRotation",  "kms:GetKeyPolicy",      "kms:GetKeyRotationStatus",
        "kms:ListGrants",        "kms:ListKeyPolicies",    "kms:ListResourceTags",  "kms:PutKeyPolicy",
        "kms:RevokeGrant",       "kms:ScheduleKeyDeletion", "kms:TagResource",      "kms:UntagResource",
        "kms:UpdateKeyDescription",
};
/* clang-format on */
static const char *const sealer_actions[] = { "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey" };
static const char *const release_actions[] = { "kms:Decrypt" };
/* These give plaintext away and carry no document: nobody needs them for this key. */
static const char *const unattested_actions[] = { "kms:CreateGrant", "kms:ReEncryptFrom" };

static json_object *image_conditions(const struct reference *image, bool one_shot) {
        bool nitrotpm = reference_is_nitrotpm(image);
        char hex[2 * SHA384_SIZE + 1], key[ATTESTATION_KEY_SIZE];
        json_object *o = json_object_new_object();

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                if (!reference_has(image, i))
                        continue;
                hex_encode(image->pcr[i], SHA384_SIZE, hex);
                if (!nitrotpm && i == 0)
                        snprintf(key, sizeof key, ATTESTATION_KEY "ImageSha384");
                else
                        attestation_key_name(nitrotpm, i, key);
                policy_add_text(o, key, hex);
        }
        if (one_shot) {
                hex_encode((const uint8_t[SHA384_SIZE]) {}, SHA384_SIZE, hex);
                policy_add_text(o, ATTESTATION_KEY "NitroTPMPCR15", hex);
        }
        return o;
}

static int context_conditions(const struct composition *c, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();

        for (size_t i = 0; i < c->context.n; i++) {
                const char *name = c->context.items[i], *equals = strchr(name, '=');
                _cleanup_free_ char *key = NULL;

                if (!equals || equals == name || !equals[1])
                        return fail(e, FAILURE_USAGE, -EINVAL, name, "it is not NAME=VALUE of an encryption context");
                if (strstr(equals, "${"))
                        return fail(e, FAILURE_POLICY, -EINVAL, name,
                                    "it holds \"${\", which KMS would replace by a value of the request");
                if (asprintf(&key, CONTEXT_KEY "%.*s", (int) (equals - name), name) < 0)
                        return fail_oom(e);
                if (json_object_object_get_ex(o, key, NULL))
                        return fail(e, FAILURE_USAGE, -EINVAL, name, "it is listed twice in the encryption context");
                policy_add_text(o, key, equals + 1);
        }
        *ret = TAKE(o);
        return 0;
}

int names_check(const struct names *names, const char *what, struct error *e) {
        for (size_t i = 0; i < names->n; i++)
                if (strpbrk(names->items[i], "*?"))
                        return fail(e, FAILURE_POLICY, -EINVAL, names->items[i],
                                    "a wildcard %s would let everyone it matches ask: name each by its ARN", what);
        return 0;
}

/* An opener is excepted from the Deny by aws:PrincipalArn, which is the ARN of a user, or of the role behind a
 * session. */
static int check_openers(const struct composition *c, struct error *e) {
        for (size_t i = 0; i < c->openers.n; i++) {
                const char *opener = c->openers.items[i];

                if (!strstr(opener, ":iam::") || !(strstr(opener, ":role/") || strstr(opener, ":user/")))
                        return fail(e, FAILURE_USAGE, -EINVAL, opener,
                                    "it is not the ARN of a role or user, as an opener must be");
                for (size_t k = 0; k < c->principals.n; k++) {
                        if (!principals_share_account(opener, c->principals.items[k]))
                                continue;
                        fail(e, FAILURE_POLICY, -EINVAL, opener,
                             "it is of an account that the key is released to, and could open the models outside the "
                             "image");
                        fail_advice(e, "Give --opener a role or user of an account that no --principal belongs to.");
                        return -EINVAL;
                }
        }
        return 0;
}

bool reference_needs_secure_boot(const struct reference *r) {
        return reference_is_nitrotpm(r) && reference_has(r, PCR_SECURE_BOOT) &&
               !(reference_has(r, PCR_DRIVERS) && reference_has(r, PCR_IMAGE) && reference_has(r, PCR_COMMAND_LINE));
}

static int check_image(const struct composition *c, const struct reference *image, struct error *e) {
        static const uint8_t zeros[SHA384_SIZE];

        if (c->secure_boot && image->secure_boot == SECURE_BOOT_OFF && reference_needs_secure_boot(image)) {
                fail(e, FAILURE_POLICY, -EINVAL, image->source,
                     "secure-boot-off: its PCR7 was predicted for Secure Boot off, where PCR7 does not identify the "
                     "image");
                fail_advice(e, "Bind PCR2, PCR4 and PCR12, or measure again with Secure Boot on, as the instances have "
                               "it.");
                return -EINVAL;
        }

        if (!c->one_shot)
                return 0;
        if (!reference_is_nitrotpm(image))
                return fail(e, FAILURE_USAGE, -EINVAL, image->source,
                            "it measures an enclave, which has no PCR15 for one-shot release");
        if (reference_has(image, PCR_MODEL) && memcmp(image->pcr[PCR_MODEL], zeros, sizeof zeros) != 0)
                return fail(e, FAILURE_USAGE, -EINVAL, image->source,
                            "it binds PCR15 to a model, but one-shot release binds it to zeros");
        return 0;
}

/* Whether the reference says that its PCR7 is of Secure Boot on, and the value is not a known one of Secure Boot off.
 */
static bool says_secure_boot(const struct reference *r) {
        char pcr7[2 * SHA384_SIZE + 1];

        if (r->secure_boot != SECURE_BOOT_ON || !reference_has(r, PCR_SECURE_BOOT))
                return false;
        hex_encode(r->pcr[PCR_SECURE_BOOT], SHA384_SIZE, pcr7);
        return !is_secure_boot_off(pcr7);
}

/* Whether a finding says that PCR2 is missing, for an image whose PCR7 stands in for it. */
static bool is_excused(const struct composition *c, const struct finding *f) {
        size_t n;

        return streq(f->code, "pcr4-without-pcr2") && sscanf(f->statement, "ReleaseToImage%zu", &n) == 1 && n >= 1 &&
               n <= c->images.n && says_secure_boot(&c->images.items[n - 1]);
}

static int check_composition(const struct composition *c, struct error *e) {
        const struct {
                const struct names *names;
                const char *what;
        } callers[] = {
                { &c->principals, "principal" },
                { &c->admins, "administrator" },
                { &c->sealers, "sealer" },
                { &c->openers, "opener" },
        };
        int r;

        if (c->images.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy",
                            "no --reference was given: the measurements of an image");
        if (c->principals.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy",
                            "no --principal was given: the role of the instances that may have the key");
        if (c->admins.n == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "key policy",
                            "no --admin was given: nobody could manage the key");
        for (size_t i = 0; i < ELEMENTS(callers); i++) {
                r = names_check(callers[i].names, callers[i].what, e);
                if (r < 0)
                        return r;
        }
        r = check_openers(c, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < c->images.n; i++) {
                r = check_image(c, &c->images.items[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The condition key that identifies an image. */
static const char *identity_of(json_object *image) {
        static const char *const keys[] = { ATTESTATION_KEY "NitroTPMPCR4", ATTESTATION_KEY "NitroTPMPCR7",
                                            ATTESTATION_KEY "ImageSha384", ATTESTATION_KEY "PCR8" };

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (json_object_object_get_ex(image, keys[i], NULL))
                        return keys[i];
        json_object_object_foreach(image, key, value) {
                (void) value;
                return key;
        }
        return "";
}

static void accept_value(json_object *accepted, const char *key, json_object *value) {
        json_object *values;

        if (!json_object_object_get_ex(accepted, key, &values)) {
                values = json_object_new_array();
                policy_add(accepted, key, values);
        }
        for (size_t i = 0; i < json_object_array_length(values); i++)
                if (json_object_equal(json_object_array_get_idx(values, i), value))
                        return;
        json_object_array_add(values, json_object_get(value));
}

/* The values that the images have for this key. Images that do not bind this key are identified by another one:
 * negated conditions in one block must all hold for the Deny, so that an image escapes it by either key. */
static json_object *accepted_values(json_object *images, const char *key) {
        json_object *accepted = json_object_new_object(), *value;

        for (size_t i = 0; i < json_object_array_length(images); i++) {
                json_object *image = json_object_array_get_idx(images, i);
                const char *own = json_object_object_get_ex(image, key, NULL) ? key : identity_of(image);

                if (json_object_object_get_ex(image, own, &value))
                        accept_value(accepted, own, value);
        }
        return accepted;
}

static bool is_among(json_object *array, json_object *o) {
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (json_object_equal(json_object_array_get_idx(array, i), o))
                        return true;
        return false;
}

static void add_denial(const struct composition *c, json_object *statements, const char *key, json_object *accepted) {
        json_object *s, *condition = json_object_new_object(), *differs = json_object_new_object(), *others;
        const char *anyone = "*";
        const struct names everyone = { &anyone, 1 };
        char sid[64];

        json_object_object_foreach(accepted, name, values) {
                bool one = json_object_array_length(values) == 1;

                policy_add(differs, name, json_object_get(one ? json_object_array_get_idx(values, 0) : values));
        }
        policy_add(condition, "StringNotEqualsIgnoreCase", differs);
        if (c->openers.n > 0) {
                others = json_object_new_object();
                policy_add(others, "aws:PrincipalArn", policy_list(c->openers.items, c->openers.n));
                policy_add(condition, "ArnNotEquals", others);
        }
        snprintf(sid, sizeof sid, "DenyUnless%s", key + strlen(ATTESTATION_KEY));
        s = policy_add_statement(statements, sid, "Deny", &everyone, release_actions, ELEMENTS(release_actions));
        policy_add(s, "Condition", condition);
}

/* A Deny overrides every Allow and every grant, so that no mistake in another statement and no earlier grant opens the
 * models, not even to the account's administrators. There is one Deny for each PCR. Its operator is negated, and so
 * also holds for a request without the key: a request without a document is denied, and so is the document of another
 * image. Making data keys is not denied: it reveals no existing key, and sealers do it without a document.
 * DeriveSharedSecret needs no Deny: KMS refuses it for a key that encrypts. */
static void add_denials(const struct composition *c, json_object *statements, json_object *images) {
        _cleanup_json_ json_object *written = json_object_new_array(), *seen = json_object_new_object();
        const char *anyone = "*";
        const struct names everyone = { &anyone, 1 };

        policy_add_statement(statements, "DenyGrants", "Deny", &everyone, unattested_actions,
                             ELEMENTS(unattested_actions));
        for (size_t i = 0; i < json_object_array_length(images); i++) {
                json_object_object_foreach(json_object_array_get_idx(images, i), key, value) {
                        json_object *accepted;

                        if (json_object_object_get_ex(seen, key, NULL))
                                continue;
                        policy_add(seen, key, json_object_get(value));
                        accepted = accepted_values(images, key);
                        if (!is_among(written, accepted))
                                add_denial(c, statements, key, accepted);
                        json_object_array_add(written, accepted);
                }
        }
}

/* An opener was named as one, and decrypts without a document. A PCR of zeros is what the reference says; it locks
 * everybody out, and lets nobody in. */
static bool is_asked_for(const struct finding *f) {
        return streq(f->code, "never-measured") ||
               (streq(f->statement, OPEN_MODELS) && streq(f->code, "no-attestation"));
}

static int refuse_finding(const struct finding *f, struct error *e) {
        fail(e, FAILURE_POLICY, -EINVAL, f->statement, "%s: %s", f->code, f->text);
        fail_advice(e, "%s", f->advice);
        if (streq(f->code, "pcr4-without-pcr12"))
                fail_advice(e,
                            "Measure again with `sealboot measure` or nitro-tpm-pcr-compute 1.1 or later, which give "
                            "PCR12; or, where PCR7 was computed for Secure Boot on, say so with --secure-boot.");
        if (streq(f->code, "pcr4-without-pcr2"))
                fail_advice(e, "Measure again with `sealboot measure`, which gives PCR2; or give --pcr2 none where the "
                               "instances load no option ROMs, or the value of those that do; or, where PCR7 was "
                               "computed for Secure Boot on, say so with --secure-boot.");
        if (streq(f->code, "self-administration"))
                fail_advice(e, "Give --admin a role or user of an account that no --principal belongs to.");
        if (streq(f->code, "self-sealing"))
                fail_advice(e, "Give --sealer a role or user of an account that no --principal belongs to.");
        return -EINVAL;
}

/* The written policy is parsed and linted again, so that it cannot protect less than it seems to. */
static int check_written(const struct composition *c, json_object *o, struct error *e) {
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_findings_ struct findings findings = {};
        int r;

        if (!text)
                return fail_oom(e);
        if (strlen(text) >= KEY_POLICY_MAX)
                return fail(e, FAILURE_POLICY, -EFBIG, "key policy",
                            "it takes %zu bytes for %zu images even without white space, and KMS takes no more than %d",
                            strlen(text) + 1, c->images.n, KEY_POLICY_MAX);
        r = key_policy_parse(text, strlen(text), "key policy", &policy, e);
        if (r < 0)
                return r;
        r = key_policy_lint(&policy, c->secure_boot, &findings, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < findings.n; i++)
                if (!is_asked_for(&findings.items[i]) && !is_excused(c, &findings.items[i]))
                        return refuse_finding(&findings.items[i], e);
        return 0;
}

/* Adds a statement for each image, and the conditions of each to `images`. */
static void add_releases(const struct composition *c, json_object *statements, json_object *context,
                         json_object *images) {
        json_object *s, *condition, *image;
        char sid[64];

        for (size_t i = 0; i < c->images.n; i++) {
                snprintf(sid, sizeof sid, "ReleaseToImage%zu", i + 1);
                s = policy_add_statement(statements, sid, "Allow", &c->principals, release_actions,
                                         ELEMENTS(release_actions));
                condition = json_object_new_object();
                image = image_conditions(&c->images.items[i], c->one_shot);
                policy_add(condition, "StringEqualsIgnoreCase", image);
                json_object_array_add(images, json_object_get(image));
                if (c->context.n > 0)
                        policy_add(condition, "StringEquals", json_object_get(context));
                policy_add(s, "Condition", condition);
        }
}

static void add_openers(const struct composition *c, json_object *statements, json_object *context) {
        json_object *s = policy_add_statement(statements, OPEN_MODELS, "Allow", &c->openers, release_actions,
                                              ELEMENTS(release_actions));
        json_object *condition;

        if (c->context.n == 0)
                return;
        condition = json_object_new_object();
        policy_add(condition, "StringEquals", json_object_get(context));
        policy_add(s, "Condition", condition);
}

int compose_key_policy(const struct composition *c, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = NULL, *context = NULL, *images = json_object_new_array();
        json_object *statements;
        int r;

        r = check_composition(c, e);
        if (r < 0)
                return r;
        r = context_conditions(c, &context, e);
        if (r < 0)
                return r;
        o = policy_new(&statements);
        policy_add_statement(statements, "AdministerKey", "Allow", &c->admins, admin_actions, ELEMENTS(admin_actions));
        if (c->sealers.n > 0)
                policy_add_statement(statements, "SealModels", "Allow", &c->sealers, sealer_actions,
                                     ELEMENTS(sealer_actions));
        if (c->openers.n > 0)
                add_openers(c, statements, context);
        add_releases(c, statements, context, images);
        if (!c->allow_unattested)
                add_denials(c, statements, images);
        r = check_written(c, o, e);
        if (r < 0)
                return r;
        *ret = TAKE(o);
        return 0;
}
