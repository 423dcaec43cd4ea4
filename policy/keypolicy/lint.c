/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/lint.h"

#include <stdarg.h>
#include <strings.h>

#include "keypolicy/condition-key.h"
#include "keypolicy/guard.h"
#include "keypolicy/principal.h"

#define NITROTPM ATTESTATION_KEY "NitroTPMPCR"
#define ENCLAVE ATTESTATION_KEY "PCR"
#define IMAGE ATTESTATION_KEY "ImageSha384"

enum { PCR_DIGITS = 2 * SHA384_SIZE };

static const char zeros[] = "000000000000000000000000000000000000000000000000"
                            "000000000000000000000000000000000000000000000000";

/* PCR7 with Secure Boot off, no keys enrolled, and SecureBoot a zero byte (EC2, OVMF) or absent. */
static const char *const secure_boot_off[] = {
        "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35",
        "384a798e98b5369727295c5b2889e1e015c65b3add6d78dce4e457c164865ee2af7b6d53ac7cbcd092eaf5fa1a76ea18",
};

/* What to do about the findings of each code. */
static const struct {
        const char *code, *advice;
} advices[] = {
        { "wildcard-principal", "Name the roles, of other accounts too, by their ARN." },
        { "no-attestation",
          "Require the PCRs of the image in the statement's Condition, or deny to everyone what comes without them." },
        { "self-administration", "Let an account administer the key that it is not released to: the model owner's." },
        { "self-sealing", "Let an account seal that the key is not released to: the model owner's." },
        { "unique-id", "Name it by its ARN; if it was deleted, remove it." },
        { "image-not-bound",
          "Bind the image: PCR2, PCR4 and PCR12 as `sealboot measure` predicts them, or an enclave's ImageSha384." },
        { "pcr4-without-pcr12", "Bind PCR12 too, to 96 zeros where nothing is added." },
        { "pcr4-without-pcr2", "Bind PCR2 too, as `sealboot measure` predicts it, or PCR7 of Secure Boot on." },
        { "secure-boot-off", "Bind PCR2, PCR4 and PCR12; or boot with Secure Boot on, and bind the PCR7 of that." },
        { "firmware-pcr", "Leave PCR0 and PCR1 out." },
        { "never-measured", "Bind the value that `sealboot measure` predicts." },
        { "mixed-images", "Give every image a statement of its own." },
        { "added-command-line", "Bind PCR12 to zeros; if the other value is meant, give it a statement of its own." },
        { "not-one-shot", "Bind PCR15 to zeros alone, so that the key is released once per boot." },
        { "loose-match", "Name the value." },
        { "policy-variable", "Name the value." },
        { "open-context", "Name the value, with StringEquals." },
        { "debug-enclave", "Bind the image as it is outside debug mode." },
        { "never-matches", "Write 96 hex digits, and compare them with StringEqualsIgnoreCase." },
        { "unknown-key", "Spell it as KMS does: NitroTPMPCR4, PCR0 or ImageSha384 after kms:RecipientAttestation:, and "
                         "a name after kms:EncryptionContext:." },
};

/* The search. Functions that find something look at the statement `s`, and add findings. */
struct lint {
        const struct key_policy *policy;
        bool secure_boot;
        struct guarded *releases; /* what each statement releases */
        const struct statement *s;
        const struct guarded *g; /* what s releases */
        struct findings findings;
        bool failed; /* out of memory: a finding may be missing */
};

void findings_done(struct findings *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->items[i].text);
        free(f->items);
        *f = (struct findings) {};
}

static const char *advice_for(const char *code) {
        for (size_t i = 0; i < ELEMENTS(advices); i++)
                if (streq(advices[i].code, code))
                        return advices[i].advice;
        return "";
}

static void found(struct lint *l, const char *code, const char *format, ...) _printf_(3, 4);

static void found(struct lint *l, const char *code, const char *format, ...) {
        struct findings *f = &l->findings;
        struct finding *larger = reallocarray(f->items, f->n + 1, sizeof *larger);
        char *text = NULL;
        va_list ap;

        if (larger)
                f->items = larger;
        va_start(ap, format);
        if (!larger || vasprintf(&text, format, ap) < 0)
                l->failed = true;
        else
                f->items[f->n++] = (struct finding) { code, l->s->name, text, advice_for(code) };
        va_end(ap);
}

/* Conditions */

static bool is_on_attestation(const struct condition *c) {
        return attestation_key(c->key, NULL) != ATTESTATION_NONE;
}

static const struct condition *find(const struct lint *l, const char *key) {
        return guarded_find(l->g, key);
}

static bool has_value(const struct condition *c, const char *value) {
        for (size_t i = 0; c && i < c->values.n; i++)
                if (strcasecmp(c->values.items[i], value) == 0)
                        return true;
        return false;
}

bool is_secure_boot_off(const char *pcr7) {
        for (size_t i = 0; i < ELEMENTS(secure_boot_off); i++)
                if (strcasecmp(pcr7, secure_boot_off[i]) == 0)
                        return true;
        return false;
}

static bool allows_secure_boot_off(const struct condition *pcr7) {
        for (size_t i = 0; pcr7 && i < pcr7->values.n; i++)
                if (is_secure_boot_off(pcr7->values.items[i]))
                        return true;
        return false;
}

static bool is_hex(const char *s, bool upper_too) {
        return strlen(s) == PCR_DIGITS &&
               strspn(s, upper_too ? "0123456789abcdefABCDEF" : "0123456789abcdef") == PCR_DIGITS;
}

/* "${*}", "${?}" and "${$}" are these characters, and all else after "${" is the name of a variable. */
static bool names_variable(const char *value) {
        for (const char *s = strstr(value, "${"); s; s = strstr(s + 2, "${"))
                if (!s[2] || !strchr("*?$", s[2]) || s[3] != '}')
                        return true;
        return false;
}

/* Whether KMS replaces this value before it compares. The caller presents the keys of kms:, and the administrator of
 * the caller's account decides those of aws: tags, names and sessions. */
static bool is_variable(const struct lint *l, const struct condition *c, const char *value) {
        bool bound = is_on_attestation(c) || is_context_key(c->key);

        return l->policy->variables && (bound ? names_variable(value) : strcasestr(value, "${kms:") != NULL);
}

static bool matches_anything(const struct condition *c) {
        for (size_t i = 0; i < c->values.n; i++)
                if (strspn(c->values.items[i], "*?") == strlen(c->values.items[i]) && strchr(c->values.items[i], '*'))
                        return c->match == MATCH_STRING_LIKE || c->match == MATCH_ARN;
        return false;
}

/* One of several values that a condition on a PCR of the NitroTPM accepts is zeros. */
static void lint_zeros(struct lint *l, const struct condition *c, unsigned pcr) {
        bool several = c->values.n > 1;

        if (!has_value(c, zeros))
                return;
        if (several && pcr == PCR_COMMAND_LINE)
                found(l, "added-command-line",
                      "PCR12 may be zeros or another value, so that the same image is also accepted with something "
                      "added to its command line");
        else if (several && pcr == PCR_MODEL)
                found(l, "not-one-shot",
                      "PCR15 may be zeros or another value, so that the key is released once more after a model was "
                      "loaded");
        else if (pcr <= PCR_FIRMWARE_LAST)
                found(l, "never-measured",
                      "PCR%u is bound to zeros, which no boot leaves there: firmware extends PCR0 to PCR7", pcr);
}

/* The values that the statement accepts for each attestation key. */
static void lint_choices(struct lint *l) {
        size_t several = 0;

        for (size_t i = 0; i < l->g->n; i++) {
                const struct condition *c = &l->g->conditions[i];
                unsigned pcr;
                enum attestation_key kind = attestation_key(c->key, &pcr);

                if (kind == ATTESTATION_NONE || c != find(l, c->key))
                        continue;
                several += c->values.n > 1;
                if (kind == ATTESTATION_NITROTPM)
                        lint_zeros(l, c, pcr);
        }
        if (several > 1)
                found(l, "mixed-images",
                      "several PCRs have several values each, so that values of different images may be combined");
}

/* Conditions one by one. */
static void lint_values(struct lint *l) {
        bool loose = false, never = false, variable = false;

        for (size_t i = 0; i < l->g->n; i++) {
                const struct condition *c = &l->g->conditions[i];
                bool equals = c->match == MATCH_STRING_EQUALS || c->match == MATCH_STRING_EQUALS_IGNORE_CASE;
                bool pattern = c->match == MATCH_STRING_LIKE || c->match == MATCH_ARN;

                for (size_t k = 0; k < c->values.n && !c->negated; k++) {
                        const char *value = c->values.items[k];

                        if (is_variable(l, c, value)) {
                                variable = true;
                                continue;
                        }
                        if (!is_on_attestation(c))
                                continue;
                        loose |= pattern && strpbrk(value, "*?");
                        never |= equals && !is_hex(value, c->match == MATCH_STRING_EQUALS_IGNORE_CASE);
                }
        }
        if (loose)
                found(l, "loose-match", "a PCR is matched by pattern");
        if (variable)
                found(l, "policy-variable",
                      "KMS fills in a value from the request, or from what the caller's account says of the caller, so "
                      "that the caller chooses it");
        if (never)
                found(l, "never-matches",
                      "a PCR value is not 96 hex digits, lower-case unless the operator ignores case: KMS never "
                      "presents such a value");
}

/* Whether some condition pins this part of the encryption context. */
static bool is_pinned(const struct guarded *g, const char *key) {
        for (size_t i = 0; i < g->n; i++)
                if (strcasecmp(g->conditions[i].key, key) == 0 && condition_pins_value(&g->conditions[i]) &&
                    !matches_anything(&g->conditions[i]))
                        return true;
        return false;
}

/* The caller chooses the encryption context, so a condition that any value meets binds nothing. A negated operator is
 * intended: it excludes the value that it names. */
static void lint_context(struct lint *l) {
        for (size_t i = 0; i < l->g->n; i++) {
                const struct condition *c = &l->g->conditions[i];
                bool optional = c->if_exists || c->quantifier == QUANTIFIER_ALL;

                if (is_context_key(c->key) && !c->negated && c->match != MATCH_NULL &&
                    (optional || matches_anything(c)) && !is_pinned(l->g, c->key)) {
                        found(l, "open-context", "%s seems to be bound, but %s meets the condition", c->key,
                              optional ? "a request without it" : "any value");
                        return;
                }
        }
}

/* Images */

static void lint_nitrotpm(struct lint *l) {
        const struct condition *pcr4 = find(l, NITROTPM "4"), *pcr7 = find(l, NITROTPM "7"),
                               *pcr12 = find(l, NITROTPM "12"), *pcr2 = find(l, NITROTPM "2");
        bool off = allows_secure_boot_off(pcr7), secure_boot = l->secure_boot && pcr7 && !off;

        if (find(l, NITROTPM "0") || find(l, NITROTPM "1"))
                found(l, "firmware-pcr",
                      "NitroTPM PCR0 and PCR1 measure AWS's firmware, which changes under the image and would lock it "
                      "out");
        if (off && (!pcr4 || !pcr12))
                found(l, "secure-boot-off",
                      "PCR7 is bound to the value that says that Secure Boot is off, which any image produces");
        if (pcr4 && !pcr12 && !secure_boot)
                found(l, "pcr4-without-pcr12",
                      "PCR4 does not cover a command line that is appended at boot (GHSA-xrv8-2pf5-f3q7)");
        if (pcr4 && !pcr2 && !secure_boot)
                found(l, "pcr4-without-pcr2",
                      "PCR4 does not cover a UEFI driver from outside the firmware (DriverOrder, an option ROM), which "
                      "can change the image after it was measured");
        if (!pcr4 && !pcr7)
                found(l, "image-not-bound", "neither PCR4 nor PCR7 is bound, so any image may ask");
        if (!pcr4 && pcr7 && !secure_boot && !off)
                found(l, "image-not-bound",
                      "PCR7 alone identifies images only by who signed them, and only with Secure Boot on");
}

static void lint_enclave(struct lint *l) {
        const struct condition *image = find(l, IMAGE), *pcr0 = find(l, ENCLAVE "0"), *pcr8 = find(l, ENCLAVE "8");

        if (has_value(image, zeros) || has_value(pcr0, zeros))
                found(l, "debug-enclave", "an image of zeros is an enclave in debug mode, which its parent can read");
        if (!image && !pcr0 && has_value(pcr8, zeros))
                found(l, "debug-enclave",
                      "PCR8 of zeros is that of enclaves in debug mode, which their parent can read, and of any that "
                      "nobody signed");
        if (!image && !pcr0 && !pcr8)
                found(l, "image-not-bound", "none of ImageSha384, PCR0 and PCR8 is bound, so any enclave may ask");
}

static void lint_release(struct lint *l) {
        bool nitrotpm = false;

        if (!guarded_is_attested(l->g)) {
                if (l->g->demands_document)
                        found(l, "image-not-bound", "a document is demanded, but of no image in particular");
                else
                        found(l, "no-attestation", "plaintext is released without an attestation document");
                return;
        }
        lint_choices(l);
        lint_values(l);
        lint_context(l);
        for (size_t i = 0; i < l->g->n; i++)
                nitrotpm |= attestation_key(l->g->conditions[i].key, NULL) == ATTESTATION_NITROTPM;
        if (nitrotpm)
                lint_nitrotpm(l);
        else
                lint_enclave(l);
}

/* Callers */

/* Actions that decide who may use the key: by its policy; by a replica, which takes a policy of its own; by making
 * that replica the primary key; or by importing the key itself, which whoever imports it knows. */
static bool administers(const struct statement *s) {
        static const char *const actions[] = { "kms:PutKeyPolicy", "kms:ReplicateKey", "kms:UpdatePrimaryRegion",
                                               "kms:ImportKeyMaterial" };

        for (size_t i = 0; i < ELEMENTS(actions); i++)
                if (statement_covers_action(s, actions[i]))
                        return true;
        return false;
}

static bool shares_account(const struct statement *s, const struct statement *release) {
        for (size_t i = 0; i < s->principals.n; i++)
                for (size_t k = 0; k < release->principals.n; k++)
                        if (principals_share_account(s->principals.items[i], release->principals.items[k]))
                                return true;
        return false;
}

/* Whether the key is released to an account of this statement, if it is attested. */
static bool is_for_released(const struct lint *l) {
        for (size_t i = 0; i < l->policy->n; i++)
                if (l->releases[i].used && guarded_is_attested(&l->releases[i]) &&
                    shares_account(l->s, &l->policy->statements[i]))
                        return true;
        return false;
}

/* Whoever may rewrite the policy can remove the attestation that it demands. Such requests carry no document. */
static void lint_administration(struct lint *l) {
        const struct guarded own = { .conditions = l->s->conditions, .n = l->s->n_conditions };

        if (!administers(l->s) || guarded_is_attested(&own) || !is_for_released(l))
                return;
        found(l, "self-administration",
              "an account that the key is released to may rewrite this policy, replicate the key under another, or "
              "import the key itself");
}

/* The agent opens what is sealed under its keys. An attested image may make data keys for itself. */
static void lint_sealing(struct lint *l) {
        _cleanup_guarded_ struct guarded sealing = {};

        if (guarded_init(l->policy, l->s, USE_SEAL, &sealing) < 0) {
                l->failed = true;
                return;
        }
        if (!sealing.used || guarded_is_attested(&sealing) || !is_for_released(l))
                return;
        found(l, "self-sealing",
              "an account that the key is released to may seal under it, so that a model of its own passes for one of "
              "the owner's");
}

/* An ARN becomes such an id when its role or user is deleted. */
static void lint_unique_ids(struct lint *l) {
        bool matters = l->g->used || administers(l->s) || statement_covers_action(l->s, "kms:GenerateDataKey") ||
                       statement_covers_action(l->s, "kms:Encrypt") || statement_covers_action(l->s, "kms:ReEncryptTo");

        for (size_t i = 0; i < l->s->principals.n && matters; i++) {
                if (!is_unique_id(l->s->principals.items[i]))
                        continue;
                found(l, "unique-id",
                      "%s tells neither a name nor an account, so that it cannot be told from a principal that is "
                      "named by its ARN",
                      l->s->principals.items[i]);
                return;
        }
}

static void lint_callers(struct lint *l) {
        if (l->s->anyone)
                found(l, "wildcard-principal", "everyone may ask");
        lint_administration(l);
        lint_sealing(l);
        lint_unique_ids(l);
}

/* Statements */

static void lint_keys(struct lint *l) {
        for (size_t i = 0; i < l->s->n_conditions; i++) {
                const struct condition *c = &l->s->conditions[i];

                if (is_unknown_kms_key(c->key))
                        found(l, "unknown-key", "KMS has no condition key %s, so that this condition is %s true",
                              c->key, condition_met_without_key(c) ? "always" : "never");
        }
}

static void lint_statement(struct lint *l) {
        lint_keys(l);
        if (l->s->allow && !statement_is_dead(l->s))
                lint_callers(l);
        if (l->g->used)
                lint_release(l);
}

static void lint_done(struct lint *l) {
        for (size_t i = 0; l->releases && i < l->policy->n; i++)
                guarded_done(&l->releases[i]);
        free(l->releases);
        findings_done(&l->findings);
}

int key_policy_lint(const struct key_policy *policy, bool secure_boot, struct findings *ret, struct error *e) {
        _cleanup_(lint_done) struct lint l = { .policy = policy, .secure_boot = secure_boot };

        l.releases = calloc(policy->n + 1, sizeof *l.releases);
        if (!l.releases)
                return fail_oom(e);
        for (size_t i = 0; i < policy->n; i++)
                if (policy->statements[i].allow &&
                    guarded_init(policy, &policy->statements[i], USE_RELEASE, &l.releases[i]) < 0)
                        return fail_oom(e);
        for (size_t i = 0; i < policy->n; i++) {
                l.s = &policy->statements[i];
                l.g = &l.releases[i];
                lint_statement(&l);
        }
        if (l.failed)
                return fail_oom(e);
        *ret = TAKE_STRUCT(l.findings);
        return 0;
}
