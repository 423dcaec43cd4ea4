/* SPDX-License-Identifier: Apache-2.0 */
#include "lint.h"

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
        const struct statement *s;
        struct findings *findings;
        bool secure_boot;
};

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
               c->match != MATCH_NULL && c->match != MATCH_BOOL;
}

static const struct condition *find(const struct statement *s, const char *key) {
        for (size_t i = 0; i < s->n_conditions; i++)
                if (requires(&s->conditions[i], key))
                        return &s->conditions[i];
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

static bool requires_attestation(const struct statement *s) {
        for (size_t i = 0; i < s->n_conditions; i++)
                if (is_attestation(&s->conditions[i]) && requires(&s->conditions[i], s->conditions[i].key))
                        return true;
        return false;
}

static bool is_hex(const char *s, bool upper_too) {
        return strlen(s) == PCR_DIGITS && strspn(s, upper_too ? "0123456789abcdefABCDEF" : "0123456789abcdef") == PCR_DIGITS;
}

/* Conditions one by one. */
static int lint_values(const struct lint *l) {
        size_t several = 0;
        bool loose = false, never = false;
        int r = 0;

        for (size_t i = 0; i < l->s->n_conditions; i++) {
                const struct condition *c = &l->s->conditions[i];

                if (!is_attestation(c) || c->negated)
                        continue;
                several += c->values.n > 1;
                for (size_t k = 0; k < c->values.n; k++) {
                        loose |= (c->match == MATCH_STRING_LIKE || c->match == MATCH_ARN) &&
                                 strpbrk(c->values.items[k], "*?");
                        never |= (c->match == MATCH_STRING_EQUALS || c->match == MATCH_STRING_EQUALS_IGNORE_CASE) &&
                                 !is_hex(c->values.items[k], c->match == MATCH_STRING_EQUALS_IGNORE_CASE);
                }
        }
        if (several > 1)
                r = found(l, "mixed-images",
                          "several PCRs have several values each, so that values of different images may be "
                          "combined: give every image a statement of its own");
        if (r == 0 && loose)
                r = found(l, "loose-match", "a PCR is matched by pattern: name the value");
        if (r == 0 && never)
                r = found(l, "never-matches",
                          "a PCR value is not 96 hex digits, lower-case unless the operator ignores case: KMS "
                          "never presents such a value");
        return r;
}

static int lint_nitrotpm(const struct lint *l) {
        const struct condition *pcr4 = find(l->s, NITROTPM "4"), *pcr7 = find(l->s, NITROTPM "7"),
                               *pcr12 = find(l->s, NITROTPM "12");
        bool off = is_secure_boot_off(pcr7), secure_boot = l->secure_boot && pcr7 && !off;
        int r = 0;

        if (find(l->s, NITROTPM "0") || find(l->s, NITROTPM "1"))
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
        if (r == 0 && !pcr4 && !pcr7)
                r = found(l, "image-not-bound", "neither PCR4 nor PCR7 is bound, so any image may ask");
        if (r == 0 && !pcr4 && pcr7 && !secure_boot && !off)
                r = found(l, "image-not-bound",
                          "PCR7 alone identifies images only by who signed them, and only with Secure Boot on");
        return r;
}

static int lint_enclave(const struct lint *l) {
        const struct condition *image = find(l->s, IMAGE), *pcr0 = find(l->s, ENCLAVE "0"), *pcr8 = find(l->s, ENCLAVE "8");
        char zeros[PCR_DIGITS + 1];
        int r = 0;

        memset(zeros, '0', PCR_DIGITS);
        zeros[PCR_DIGITS] = '\0';
        if (has_value(image, zeros) || has_value(pcr0, zeros))
                r = found(l, "debug-enclave", "an image of zeros is an enclave in debug mode, which its parent can read");
        if (r == 0 && !image && !pcr0 && !pcr8)
                r = found(l, "image-not-bound", "none of ImageSha384, PCR0 and PCR8 is bound, so any enclave may ask");
        return r;
}

static int lint_statement(const struct lint *l) {
        bool nitrotpm = false;
        int r = 0;

        if (l->s->anyone || l->s->not_principal)
                r = found(l, "wildcard-principal", "everyone may ask: name the roles, of other accounts too, by their ARN");
        if (r < 0 || !releases(l->s))
                return r;
        if (!requires_attestation(l->s))
                return found(l, "no-attestation", "plaintext is released without an attestation document");
        r = lint_values(l);
        for (size_t i = 0; i < l->s->n_conditions; i++)
                nitrotpm |= strncasecmp(l->s->conditions[i].key, NITROTPM, strlen(NITROTPM)) == 0;
        if (r == 0)
                r = nitrotpm ? lint_nitrotpm(l) : lint_enclave(l);
        return r;
}

int key_policy_lint(const struct key_policy *policy, bool secure_boot, struct findings *ret, struct error *e) {
        _cleanup_findings_ struct findings f = {};
        int r = 0;

        for (size_t i = 0; i < policy->n && r == 0; i++) {
                const struct lint l = { &policy->statements[i], &f, secure_boot };

                if (policy->statements[i].allow)
                        r = lint_statement(&l);
        }
        if (r < 0)
                return fail_oom(e);
        *ret = f;
        f = (struct findings) {};
        return 0;
}
