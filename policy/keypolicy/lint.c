/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/lint.h"

#include <strings.h>

#define ATTESTATION "kms:RecipientAttestation:"
#define NITROTPM ATTESTATION "NitroTPMPCR"
#define ENCLAVE ATTESTATION "PCR"
#define IMAGE ATTESTATION "ImageSha384"

enum { PCR_DIGITS = 96 };

/* PCR7 with Secure Boot off, no keys enrolled, and SecureBoot a zero byte (EC2, OVMF) or absent. */
static const char *const secure_boot_off[] = {
        "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35",
        "384a798e98b5369727295c5b2889e1e015c65b3add6d78dce4e457c164865ee2af7b6d53ac7cbcd092eaf5fa1a76ea18",
};

struct lint {
        const struct key_policy *policy;
        const struct statement *s;
        struct condition *conditions; /* its own, and those that a Deny for everyone adds; their values are borrowed */
        size_t n;
        struct findings *findings;
        bool secure_boot;
};

static void lint_done(struct lint *l) {
        free(l->conditions);
}
#define _cleanup_lint_ _cleanup_(lint_done)

static int found(const struct lint *l, const char *code, const char *text) {
        struct finding *larger = reallocarray(l->findings->items, l->findings->n + 1, sizeof *larger);

        if (!larger)
                return -ENOMEM;
        l->findings->items = larger;
        l->findings->items[l->findings->n++] = (struct finding) { code, l->s->name, text };
        return 0;
}

static bool is_attestation(const struct condition *c) {
        return strncasecmp(c->key, ATTESTATION, strlen(ATTESTATION)) == 0;
}

/* A condition that fails without a document, and pins the value it names. */
static bool requires(const struct condition *c, const char *key) {
        return strcasecmp(c->key, key) == 0 && !c->negated && !c->if_exists && c->quantifier != QUANTIFIER_ALL &&
               c->match != MATCH_NULL && c->match != MATCH_BOOL && c->match != MATCH_OTHER;
}

static const struct condition *find(const struct lint *l, const char *key) {
        for (size_t i = 0; i < l->n; i++)
                if (requires(&l->conditions[i], key))
                        return &l->conditions[i];
        return NULL;
}

static bool has_value(const struct condition *c, const char *value) {
        for (size_t i = 0; c && i < c->values.n; i++)
                if (strcasecmp(c->values.items[i], value) == 0)
                        return true;
        return false;
}

static bool is_secure_boot_off(const struct condition *c) {
        for (size_t i = 0; i < ELEMENTS(secure_boot_off); i++)
                if (has_value(c, secure_boot_off[i]))
                        return true;
        return false;
}

static bool releases(const struct statement *s) {
        return statement_covers_action(s, "kms:Decrypt") || statement_covers_action(s, "kms:ReEncryptFrom") ||
               statement_covers_action(s, "kms:CreateGrant");
}

static bool requires_attestation(const struct condition *conditions, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (is_attestation(&conditions[i]) && requires(&conditions[i], conditions[i].key))
                        return true;
        return false;
}

/* Whether `deny` refuses to everyone, of all that `s` releases, what comes without one attested value: whatever s says, the
 * value is required. A grant gives away no more than Decrypt and ReEncryptFrom, and the Deny holds for its users too. */
static bool guards(const struct statement *deny, const struct statement *s) {
        static const char *const actions[] = { "kms:Decrypt", "kms:ReEncryptFrom" };
        bool grants = statement_covers_action(s, "kms:CreateGrant"), every_key = false;
        const struct condition *c = deny->conditions;

        if (deny->allow || !deny->anyone || deny->not_principal || deny->not_resource || deny->n_conditions != 1 ||
            !is_attestation(c) || !c->negated || c->if_exists || c->quantifier != QUANTIFIER_NONE)
                return false;
        for (size_t i = 0; i < ELEMENTS(actions); i++)
                if ((grants || statement_covers_action(s, actions[i])) && !statement_covers_action(deny, actions[i]))
                        return false;
        for (size_t i = 0; i < deny->resources.n; i++)
                every_key |= streq(deny->resources.items[i], "*");
        return every_key;
}

static int gather(struct lint *l, const struct statement *s) {
        l->s = s;
        l->n = 0;
        l->conditions = calloc(s->n_conditions + l->policy->n, sizeof *l->conditions);
        if (!l->conditions)
                return -ENOMEM;
        for (; l->n < s->n_conditions; l->n++)
                l->conditions[l->n] = s->conditions[l->n];
        for (size_t i = 0; i < l->policy->n; i++)
                if (guards(&l->policy->statements[i], s)) {
                        l->conditions[l->n] = l->policy->statements[i].conditions[0];
                        l->conditions[l->n++].negated = false;
                }
        return 0;
}

static bool is_hex(const char *s, bool upper_too) {
        return strlen(s) == PCR_DIGITS && strspn(s, upper_too ? "0123456789abcdefABCDEF" : "0123456789abcdef") == PCR_DIGITS;
}

/* A value that KMS replaces before it compares; the keys of kms: are what the caller presents. */
static bool is_variable(const struct lint *l, const struct condition *c, const char *value) {
        return l->policy->variables && strcasestr(value, is_attestation(c) ? "${" : "${kms:");
}

/* Whether an earlier condition on the same key was already counted. */
static bool is_repeated(const struct lint *l, size_t i) {
        for (size_t k = 0; k < i; k++)
                if (strcasecmp(l->conditions[k].key, l->conditions[i].key) == 0 && l->conditions[k].values.n > 1)
                        return true;
        return false;
}

/* Conditions one by one. */
static int lint_values(const struct lint *l) {
        bool loose = false, never = false, variable = false;
        size_t several = 0;
        int r = 0;

        for (size_t i = 0; i < l->n; i++) {
                const struct condition *c = &l->conditions[i];
                bool equals = c->match == MATCH_STRING_EQUALS || c->match == MATCH_STRING_EQUALS_IGNORE_CASE;

                several += is_attestation(c) && !c->negated && c->values.n > 1 && !is_repeated(l, i);
                for (size_t k = 0; k < c->values.n && !c->negated; k++) {
                        const char *value = c->values.items[k];

                        if (is_variable(l, c, value))
                                variable = true;
                        else if (is_attestation(c)) {
                                loose |= (c->match == MATCH_STRING_LIKE || c->match == MATCH_ARN) && strpbrk(value, "*?");
                                never |= equals && !is_hex(value, c->match == MATCH_STRING_EQUALS_IGNORE_CASE);
                        }
                }
        }
        if (several > 1)
                r = found(l, "mixed-images",
                          "several PCRs have several values each, so that values of different images may be "
                          "combined: give every image a statement of its own");
        if (r == 0 && loose)
                r = found(l, "loose-match", "a PCR is matched by pattern: name the value");
        if (r == 0 && variable)
                r = found(l, "policy-variable",
                          "a value is filled in from the request itself, which any request meets: name the value");
        if (r == 0 && never)
                r = found(l, "never-matches",
                          "a PCR value is not 96 hex digits, lower-case unless the operator ignores case: KMS "
                          "never presents such a value");
        return r;
}

static int lint_nitrotpm(const struct lint *l) {
        const struct condition *pcr4 = find(l, NITROTPM "4"), *pcr7 = find(l, NITROTPM "7"),
                               *pcr12 = find(l, NITROTPM "12"), *pcr2 = find(l, NITROTPM "2");
        bool off = is_secure_boot_off(pcr7), secure_boot = l->secure_boot && pcr7 && !off;
        int r = 0;

        if (find(l, NITROTPM "0") || find(l, NITROTPM "1"))
                r = found(l, "firmware-pcr",
                          "NitroTPM PCR0 and PCR1 measure AWS's firmware, which changes under the image and "
                          "would lock it out");
        if (r == 0 && off && (!pcr4 || !pcr12))
                r = found(l, "secure-boot-off", "PCR7 is bound to the value that says that Secure Boot is off, which any "
                                                "image produces");
        if (r == 0 && pcr4 && !pcr12 && !secure_boot)
                r = found(l, "pcr4-without-pcr12",
                          "PCR4 does not cover a command line that is appended at boot (GHSA-xrv8-2pf5-f3q7): bind PCR12 "
                          "too, to 96 zeros where nothing is added");
        if (r == 0 && pcr4 && !pcr2 && !secure_boot)
                r = found(l, "pcr4-without-pcr2",
                          "PCR4 does not cover a UEFI driver from outside the firmware (DriverOrder, an option ROM), "
                          "which can change the image after it was measured: bind PCR2 too, or PCR7 of Secure Boot on");
        if (r == 0 && !pcr4 && !pcr7)
                r = found(l, "image-not-bound", "neither PCR4 nor PCR7 is bound, so any image may ask");
        if (r == 0 && !pcr4 && pcr7 && !secure_boot && !off)
                r = found(l, "image-not-bound",
                          "PCR7 alone identifies images only by who signed them, and only with Secure Boot on");
        return r;
}

static int lint_enclave(const struct lint *l) {
        const struct condition *image = find(l, IMAGE), *pcr0 = find(l, ENCLAVE "0"), *pcr8 = find(l, ENCLAVE "8");
        char zeros[PCR_DIGITS + 1];
        int r = 0;

        memset(zeros, '0', PCR_DIGITS);
        zeros[PCR_DIGITS] = '\0';
        if (has_value(image, zeros) || has_value(pcr0, zeros))
                r = found(l, "debug-enclave", "an image of zeros is an enclave in debug mode, which its parent can read");
        if (r == 0 && !image && !pcr0 && has_value(pcr8, zeros))
                r = found(l, "debug-enclave",
                          "PCR8 of zeros is that of enclaves in debug mode, which their parent can read, and of any that "
                          "nobody signed");
        if (r == 0 && !image && !pcr0 && !pcr8)
                r = found(l, "image-not-bound", "none of ImageSha384, PCR0 and PCR8 is bound, so any enclave may ask");
        return r;
}

/* The account of a principal, from there on; NULL of everyone, and of one that was deleted. */
static const char *account_of(const char *principal) {
        const char *account = strstr(principal, "::");

        account = account ? account + 2 : principal;
        return strspn(account, "0123456789") == 12 ? account : NULL;
}

/* The name of a role, behind a session too, less its path. */
static const char *role_of(const char *principal, size_t *ret_length) {
        const char *name = strstr(principal, ":assumed-role/");

        if (name)
                name += strlen(":assumed-role/");
        else if (strstr(principal, ":role/"))
                name = strrchr(principal, '/') + 1;
        *ret_length = name ? strcspn(name, "/") : 0;
        return name;
}

/* Whether what `admin` may do, the released principal may: it is the same one, or its account. */
static bool acts_for(const char *admin, const char *released) {
        const char *account = account_of(admin), *other = account_of(released), *role, *other_role;
        size_t n, m;

        if (!account || !other || strncmp(account, other, 12) != 0)
                return false;
        role = role_of(admin, &n);
        other_role = role_of(released, &m);
        return !account[12] || streq(account + 12, ":root") || streq(admin, released) ||
               (role && other_role && n == m && memcmp(role, other_role, n) == 0);
}

static bool shares_principal(const struct statement *admin, const struct statement *release) {
        for (size_t i = 0; i < admin->principals.n; i++)
                for (size_t k = 0; k < release->principals.n; k++)
                        if (acts_for(admin->principals.items[i], release->principals.items[k]))
                                return true;
        return false;
}

/* Attestation is no bar to who may rewrite the policy that demands it. Requests to do so carry no document. */
static int lint_administration(const struct lint *l) {
        if (!(statement_covers_action(l->s, "kms:PutKeyPolicy") || statement_covers_action(l->s, "kms:ReplicateKey")) ||
            requires_attestation(l->s->conditions, l->s->n_conditions))
                return 0;
        for (size_t i = 0; i < l->policy->n; i++) {
                const struct statement *release = &l->policy->statements[i];
                _cleanup_lint_ struct lint other = { .policy = l->policy };

                if (!release->allow || !releases(release) || !shares_principal(l->s, release))
                        continue;
                if (gather(&other, release) < 0)
                        return -ENOMEM;
                if (requires_attestation(other.conditions, other.n))
                        return found(l, "self-administration",
                                     "who gets the key, or its account, may rewrite this policy or replicate the key under "
                                     "another: administer it as someone else");
        }
        return 0;
}

static int lint_statement(const struct lint *l) {
        bool nitrotpm = false;
        int r = 0;

        if (l->s->anyone)
                r = found(l, "wildcard-principal", "everyone may ask: name the roles, of other accounts too, by their ARN");
        if (r == 0)
                r = lint_administration(l);
        if (r < 0 || !releases(l->s))
                return r;
        if (!requires_attestation(l->conditions, l->n))
                return found(l, "no-attestation", "plaintext is released without an attestation document");
        r = lint_values(l);
        for (size_t i = 0; i < l->n; i++)
                nitrotpm |= strncasecmp(l->conditions[i].key, NITROTPM, strlen(NITROTPM)) == 0;
        if (r == 0)
                r = nitrotpm ? lint_nitrotpm(l) : lint_enclave(l);
        return r;
}

int key_policy_lint(const struct key_policy *policy, bool secure_boot, struct findings *ret, struct error *e) {
        _cleanup_findings_ struct findings f = {};
        int r = 0;

        for (size_t i = 0; i < policy->n && r == 0; i++) {
                _cleanup_lint_ struct lint l = { .policy = policy, .findings = &f, .secure_boot = secure_boot };

                if (!policy->statements[i].allow)
                        continue;
                r = gather(&l, &policy->statements[i]);
                if (r == 0)
                        r = lint_statement(&l);
        }
        if (r < 0)
                return fail_oom(e);
        *ret = f;
        f = (struct findings) {};
        return 0;
}
