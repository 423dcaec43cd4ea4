/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/diagnosis.h"

#include <inttypes.h>
#include <stdarg.h>

#include "aws/denial.h"
#include "aws/key-arn.h"
#include "aws/kms.h"
#include "basic/encode.h"
#include "keypolicy/condition-key.h"
#include "replay/compare.h"

enum {
        CLOCK_SKEW_MAX = 240,                   /* seconds; AWS refuses signatures at 300 */
        CLOCK_OFFSET_MAX_MS = 24 * 3600 * 1000, /* a boot this long is no boot */
};

struct work {
        const struct evidence *in;
        struct diagnosis *out;
        const char *failure;  /* its name; NULL when the model was published */
        const char *key_arn;  /* or NULL */
        bool denied;          /* KMS refused by some policy ... */
        struct denial denial; /* ... of this kind */
        bool presented;       /* a document was made, so the PCRs are there */
        uint32_t present;
        uint8_t pcr[PCR_COUNT_MAX][SHA384_SIZE];
};

static int add(struct work *w, const char *topic, enum remark_state state, const char *advice, const char *format, ...)
        _printf_(5, 6);

static int add(struct work *w, const char *topic, enum remark_state state, const char *advice, const char *format,
               ...) {
        struct remark *larger = reallocarray(w->out->remarks, w->out->n + 1, sizeof *larger), *r;
        va_list ap;
        int n;

        if (!larger)
                return -ENOMEM;
        w->out->remarks = larger;
        r = &w->out->remarks[w->out->n];
        *r = (struct remark) { .topic = topic, .state = state };
        va_start(ap, format);
        n = vasprintf(&r->text, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;
        w->out->n++;
        r->advice = advice && advice[0] ? strdup(advice) : NULL;
        return advice && advice[0] && !r->advice ? -ENOMEM : 0;
}

void diagnosis_done(struct diagnosis *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->remarks[i].text);
                free(d->remarks[i].advice);
        }
        free(d->remarks);
        evaluation_done(&d->evaluation);
        *d = (struct diagnosis) {};
}

/* "failure.name" in a JSON object that someone else wrote; NULL when it is not there or of another type. */
static json_object *look_up(json_object *at, const char *place, enum json_type type) {
        char part[64];

        for (;;) {
                size_t n = strcspn(place, ".");

                snprintf(part, sizeof part, "%.*s", (int) n, place);
                if (!json_object_is_type(at, json_type_object) || !json_object_object_get_ex(at, part, &at))
                        return NULL;
                if (!place[n])
                        return json_object_is_type(at, type) ? at : NULL;
                place += n + 1;
        }
}

static const char *text_at(json_object *o, const char *place) {
        return json_text(look_up(o, place, json_type_string));
}

static int read_pcrs(struct work *w, struct error *e) {
        json_object *pcrs = look_up(w->in->report, "pcrs", json_type_object);
        char index[8];

        for (unsigned i = 0; pcrs && i < PCR_COUNT_MAX; i++) {
                const char *hex;

                snprintf(index, sizeof index, "%u", i);
                hex = text_at(pcrs, index);
                if (!hex)
                        continue;
                if (hex_decode(hex, w->pcr[i], SHA384_SIZE) < 0)
                        return fail(e, FAILURE_USAGE, -EINVAL, "boot report", "PCR%u is not 96 hex digits", i);
                w->present |= UINT32_C(1) << i;
        }
        w->presented = w->present != 0;
        return 0;
}

static bool is_zero(const uint8_t pcr[static SHA384_SIZE]) {
        static const uint8_t zeros[SHA384_SIZE];

        return memcmp(pcr, zeros, sizeof zeros) == 0;
}

static bool presented(const struct work *w, unsigned pcr) {
        return (w->present & UINT32_C(1) << pcr) != 0;
}

/* What happened */

static int remark_outcome(struct work *w) {
        json_object *r = w->in->report;
        const char *outcome = text_at(r, "outcome"), *id = text_at(r, "failure.request_id");

        if (w->failure)
                return add(w, "outcome", REMARK_PROBLEM, text_at(r, "failure.advice"), "%s: %s: %s%s%s",
                           text_at(r, "failure.title") ?: w->failure, text_at(r, "failure.subject") ?: "",
                           text_at(r, "failure.reason") ?: "", id && id[0] ? "; request id " : "", id ?: "");
        if (streq(outcome, "failed"))
                return add(w, "outcome", REMARK_PROBLEM, "Look at the journal of sealboot-agent.",
                           "the boot failed, and the report does not say why");
        if (streq(outcome, "published"))
                return add(w, "outcome", REMARK_GOOD, NULL, "the model was published");
        return add(w, "outcome", REMARK_UNKNOWN,
                   "Look at the report again later; if nothing changes, at the journal of sealboot-agent.",
                   "the boot is still %s, or was cut off", outcome);
}

static json_object *find_stage(json_object *report, const char *name) {
        json_object *stages = look_up(report, "stages", json_type_array);

        for (size_t i = stages ? json_object_array_length(stages) : 0; i > 0; i--) {
                json_object *stage = json_object_array_get_idx(stages, i - 1);
                const char *its = text_at(stage, "name");

                if (its && streq(its, name))
                        return stage;
        }
        return NULL;
}

/* The document carries the hypervisor's time, which is right; the report carries the system clock's. */
static int remark_clock(struct work *w) {
        static const char advice[] = "Make chrony reach 169.254.169.123 (Amazon Time Sync) before the agent starts.";
        json_object *r = w->in->report, *document = look_up(r, "document.timestamp_ms", json_type_int);
        json_object *began = look_up(r, "clock.realtime_ms", json_type_int);
        json_object *stage = find_stage(r, "attestation"), *offset = NULL;
        double offset_ms = -1;
        int64_t skew;

        if (w->failure && streq(w->failure, "clock"))
                return add(w, "clock", REMARK_PROBLEM, advice, "AWS said that the clock of the instance is wrong");
        if (stage && json_object_object_get_ex(stage, "began_ms", &offset) &&
            !json_object_is_type(offset, json_type_string))
                offset_ms = json_object_get_double(offset);
        /* Asked this way round, it is false for a NaN. */
        if (!document || !began || !(offset_ms >= 0 && offset_ms < CLOCK_OFFSET_MAX_MS))
                return add(w, "clock", REMARK_UNKNOWN, NULL,
                           "no attestation document was made, so there is no time to compare with");
        skew = json_object_get_int64(began) / 1000 + (int64_t) (offset_ms / 1000) -
               json_object_get_int64(document) / 1000;
        if (skew > CLOCK_SKEW_MAX || skew < -CLOCK_SKEW_MAX)
                return add(w, "clock", REMARK_PROBLEM, advice,
                           "the clock of the instance %s by %" PRId64 " s against the NitroTPM's",
                           skew > 0 ? "leads" : "lags", skew > 0 ? skew : -skew);
        if (w->in->unsynchronized)
                return add(w, "clock", REMARK_PROBLEM, advice, "the clock of this machine is not synchronized");
        return add(w, "clock", REMARK_GOOD, NULL, "within %d s of the NitroTPM's", CLOCK_SKEW_MAX);
}

/* "... User: arn:aws:sts::... is not authorized to perform ..." What is no principal is left to --principal. */
static void find_principal(struct work *w) {
        _cleanup_request_ struct request request = {};
        const char *reason = text_at(w->in->report, "failure.reason"),
                   *user = reason ? strstr(reason, "User: arn:aws") : NULL;

        if (w->in->principal)
                snprintf(w->out->principal, sizeof w->out->principal, "%s", w->in->principal);
        else if (user)
                snprintf(w->out->principal, sizeof w->out->principal, "%.*s", (int) strcspn(user + 6, " "), user + 6);
        if (user && !w->in->principal && request_init(&request, w->out->principal, "kms:Decrypt", NULL, NULL) < 0)
                w->out->principal[0] = '\0';
}

/* A refusal of the attestation document itself is none by a policy. */
static void find_denial(struct work *w) {
        const char *reason = text_at(w->in->report, "failure.reason");

        if (!w->failure || !streq(w->failure, "kms-denied") || !reason)
                return;
        w->denied = denial_parse(reason, &w->denial) || strstr(reason, "AccessDenied");
}

static int remark_identity(struct work *w) {
        json_object *r = w->in->report;
        const char *instance = text_at(r, "identity.instance_id"), *account = text_at(r, "identity.account");

        if (w->failure && (streq(w->failure, "credentials") || streq(w->failure, "imds")))
                return add(w, "identity", REMARK_PROBLEM,
                           "Attach an instance profile with a role, and leave the metadata endpoint enabled.",
                           "the instance has no usable role credentials");
        if (!instance && !w->out->principal[0])
                return add(w, "identity", REMARK_UNKNOWN, NULL, "the report names neither instance nor role");
        return add(w, "identity", w->out->principal[0] ? REMARK_GOOD : REMARK_UNKNOWN,
                   w->out->principal[0] ? NULL : "Name the instance's role with --principal.",
                   "instance %s of account %s in %s, %s%s", instance ?: "?", account ?: "?",
                   text_at(r, "identity.region") ?: "?", w->out->principal[0] ? "as " : "role not known",
                   w->out->principal);
}

/* The n-th part of an ARN, from 0. */
static const char *arn_part(const char *arn, unsigned n, int *ret_length) {
        for (; n > 0; n--) {
                arn += strcspn(arn, ":");
                if (*arn)
                        arn++;
        }
        *ret_length = (int) strcspn(arn, ":");
        return arn;
}

static int remark_key_state(struct work *w) {
        /* With --query KeyMetadata the CLI prints the inner object alone. */
        const char *arn = w->in->key ? text_at(w->in->key, "KeyMetadata.Arn") ?: text_at(w->in->key, "Arn") : NULL;
        const char *state =
                w->in->key ? text_at(w->in->key, "KeyMetadata.KeyState") ?: text_at(w->in->key, "KeyState") : NULL;

        if (w->failure && streq(w->failure, "kms-key") && !state)
                return add(w, "key", REMARK_PROBLEM,
                           "The key's owner must enable it, cancel its deletion, or correct its ARN.",
                           "KMS will not use the key %s", w->key_arn ?: "");
        if (!state || !arn)
                return add(w, "key", REMARK_UNKNOWN,
                           "Give what `aws kms describe-key --key-id ...` prints to the owner with --key.",
                           "%s; its state was not given", w->key_arn ?: "no key was named");
        if (w->key_arn && !streq(arn, w->key_arn))
                return add(w, "key", REMARK_UNKNOWN, NULL, "the model is sealed under %s, but the description is of %s",
                           w->key_arn, arn);
        if (!streq(state, "Enabled"))
                return add(w, "key", REMARK_PROBLEM,
                           kms_state_advice(state) ?: "The key's owner must enable it, or cancel its deletion.",
                           "%s is %s", arn, state);
        return add(w, "key", REMARK_GOOD, NULL, "%s is enabled", arn);
}

static int remark_key(struct work *w) {
        const char *region = text_at(w->in->report, "identity.region"), *part;
        int n;

        /* A replica of a multi-Region key is looked for in the instance's own Region by the agent itself. */
        if (w->key_arn && region && !key_arn_is_multi_region(w->key_arn)) {
                part = arn_part(w->key_arn, 3, &n);
                if (strlen(region) != (size_t) n || strncmp(region, part, (size_t) n) != 0)
                        return add(w, "key", REMARK_PROBLEM,
                                   "Set \"region\" in the measured configuration to the key's, or seal under a key of "
                                   "the instance's Region.",
                                   "%s is not in %s, where the instance is", w->key_arn, region);
        }
        return remark_key_state(w);
}

/* PCRs */

static const char *meaning_of(unsigned pcr) {
        switch (pcr) {
        case 0:
        case 1:
                return "the firmware or its configuration is another; these change without the image";
        case PCR_DRIVERS:
                return "a UEFI driver from outside the firmware ran, or another one than expected: an option ROM, or "
                       "what the EFI variables DriverOrder and Driver#### name";
        case 3:
                return "a UEFI driver from outside the firmware was configured";
        case 4:
                return "another image was booted, another boot option was tried first, or an addon was loaded";
        case 7:
                return "Secure Boot is in another state, has other keys, or another key authorised the image";
        case PCR_COMMAND_LINE:
                return "something was added to the image's command line, or credentials or addons were passed";
        case PCR_MODEL:
                return "something was measured before the key was asked for";
        default:
                return "what was measured there is not what was expected";
        }
}

/* The first event that differs, where there is a log. */
static int explain_by_log(struct work *w, unsigned pcr, const uint8_t *expected, struct difference *ret) {
        const struct pcr_algorithm *bank = NULL;
        struct error ignored;

        for (size_t i = 0; w->in->log && i < w->in->log->n_banks; i++)
                if (streq(w->in->log->banks[i]->name, "sha384"))
                        bank = w->in->log->banks[i];
        if (!bank || compare_value(w->in->log, bank, pcr, expected, VALUE_EXPECTED, ret, &ignored) < 0 || ret->equal)
                return -ENODATA;
        return 0;
}

static int remark_pcr(struct work *w, const struct reference *r, unsigned pcr) {
        char found[2 * SHA384_SIZE + 1] = "nothing", wanted[2 * SHA384_SIZE + 1];
        struct difference difference = {};

        if (presented(w, pcr))
                hex_encode(w->pcr[pcr], SHA384_SIZE, found);
        hex_encode(r->pcr[pcr], SHA384_SIZE, wanted);
        if (explain_by_log(w, pcr, r->pcr[pcr], &difference) < 0)
                return add(w, "pcrs", REMARK_PROBLEM,
                           w->in->log ? NULL
                                      : "Give the instance's event log with --event-log to find the first event that "
                                        "differs, or compare it with `sealboot replay`.",
                           "PCR%u is %s, and %s expects %s: %s", pcr, found, r->source, wanted, meaning_of(pcr));
        return add(w, "pcrs", REMARK_PROBLEM, NULL, "PCR%u is %s, and %s expects %s: %s", pcr, found, r->source, wanted,
                   difference.meaning);
}

static uint32_t differing(const struct work *w, const struct reference *r) {
        uint32_t pcrs = 0;

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++)
                if (reference_has(r, i) && (!presented(w, i) || memcmp(w->pcr[i], r->pcr[i], SHA384_SIZE) != 0))
                        pcrs |= UINT32_C(1) << i;
        return pcrs;
}

static const struct reference *closest(const struct work *w) {
        const struct references *all = w->in->references;
        const struct reference *best = NULL;

        for (size_t i = 0; all && i < all->n; i++)
                if (!best || __builtin_popcount(differing(w, &all->items[i])) < __builtin_popcount(differing(w, best)))
                        best = &all->items[i];
        return best;
}

/* What PCR2 tells needs no reference, since without such drivers all firmware leaves the same value. Zero is that of no
 * firmware at all: a TPM that an emulator started. */
static int remark_drivers(struct work *w, const struct reference *r) {
        uint8_t alone[SHA384_SIZE];

        reference_firmware_alone(alone);
        if (!presented(w, PCR_DRIVERS) || (r && reference_has(r, PCR_DRIVERS)) || is_zero(w->pcr[PCR_DRIVERS]) ||
            memcmp(w->pcr[PCR_DRIVERS], alone, sizeof alone) == 0)
                return 0;
        return add(w, "pcrs", REMARK_UNKNOWN,
                   "If the instance type loads option ROMs, measure the image with `sealboot measure --pcr2` and give "
                   "that with --reference. Otherwise look at DriverOrder in the AMI's UEFI data; `sealboot replay` "
                   "names the driver.",
                   "PCR2 is not that of firmware alone: a UEFI driver from outside the firmware ran");
}

static int remark_pcrs(struct work *w) {
        const struct reference *r = closest(w);
        uint32_t differ;
        int k = 0;

        if (!w->presented)
                return add(w, "pcrs", REMARK_UNKNOWN, NULL, "the boot ended before PCRs were presented");
        if (presented(w, PCR_MODEL) && !is_zero(w->pcr[PCR_MODEL]))
                k = add(w, "pcrs", REMARK_PROBLEM,
                        "Reboot: a model can be loaded once per boot. If it happens on a first start, mask what "
                        "extends PCR15 (systemd-pcrmachine, systemd-pcrfs*).",
                        "PCR15 was not zero when the key was asked for, so a one-shot policy refuses");
        if (k >= 0)
                k = remark_drivers(w, r);
        if (k < 0)
                return k;
        if (!r && presented(w, PCR_COMMAND_LINE) && !is_zero(w->pcr[PCR_COMMAND_LINE]))
                return add(w, "pcrs", REMARK_UNKNOWN, "Give the image's reference measurements with --reference.",
                           "PCR12 is not zero: %s", meaning_of(PCR_COMMAND_LINE));
        if (!r)
                return add(w, "pcrs", REMARK_UNKNOWN, "Give the image's reference measurements with --reference.",
                           "there is nothing to compare them with");
        differ = differing(w, r);
        if (differ == 0)
                return add(w, "pcrs", REMARK_GOOD, NULL, "the PCRs that were presented are those of %s", r->source);
        for (unsigned i = 0; i < PCR_COUNT_MAX && k == 0; i++)
                if (differ & UINT32_C(1) << i)
                        k = remark_pcr(w, r, i);
        return k;
}

/* Policy */

static int fill_request(struct work *w, struct request *request, struct error *e) {
        json_object *context = look_up(w->in->report, "encryption_context", json_type_object);
        struct document d = { .kind = DOCUMENT_NITROTPM };
        int r;

        r = request_init(request, w->out->principal, "kms:Decrypt",
                         w->key_arn && key_arn_valid(w->key_arn) ? w->key_arn : NULL, e);
        if (context && r == 0) {
                json_object_object_foreach(context, name, value) {
                        if (r == 0 && json_object_is_type(value, json_type_string))
                                r = request_add_context(request, name, json_object_get_string(value), e);
                }
        }
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++)
                d.pcr[i] = presented(w, i) ? w->pcr[i] : NULL;
        return r < 0 ? r : request_add_document(request, &d, e);
}

static int remark_statement(struct work *w, const struct statement_result *s) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fprintf(f, "%s does not apply:", s->statement->name);
        for (size_t i = 0; i < s->n; i++) {
                const struct element_result *e = &s->elements[i];

                if (e->truth == TRUTH_YES)
                        continue;
                fprintf(f, " %s%s%s %s ", e->element, e->key ? " " : "", e->key ?: "",
                        e->truth == TRUTH_NO ? "wants" : "may want");
                for (size_t k = 0; e->wanted && k < e->wanted->n; k++)
                        fprintf(f, "%s%s", k > 0 ? " or " : "", e->wanted->items[k]);
                fprintf(f, " and found %s;", e->found ?: "nothing");
        }
        if (fclose(f) != 0)
                return -ENOMEM;
        text[strlen(text) - 1] = '.';
        return add(w, "policy", REMARK_PROBLEM, NULL, "%s", text);
}

static bool names_caller(const struct statement_result *s) {
        return s->n > 0 && s->elements[0].truth == TRUTH_YES;
}

static const char boot_another[] =
        "Boot the image the policy names; or have the key's owner accept this one: `sealboot measure`, then `sealboot "
        "policy`, with the references of every image that may run.";

/* A Deny that `sealboot policy` writes beside what it allows: of what no accepted image presents. */
static bool denies_other_images(const struct statement_result *s) {
        for (size_t i = 0; i < s->statement->n_conditions; i++) {
                const struct condition *c = &s->statement->conditions[i];
                enum attestation_key kind = attestation_key(c->key, NULL);

                if (c->negated && (kind == ATTESTATION_NITROTPM || kind == ATTESTATION_ENCLAVE))
                        return true;
        }
        return false;
}

/* A Deny that applies, and what of the request it is about. */
static int remark_denial(struct work *w, const struct statement_result *s) {
        static const char advice[] = "An explicit Deny overrides every Allow: have the key's owner correct that "
                                     "statement, or change what it is about.";
        _cleanup_free_ char *text = NULL;
        const char *join = "because ";
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return -ENOMEM;
        fprintf(f, "%s denies it outright", s->statement->name);
        for (size_t i = 0; i < s->n; i++) {
                const struct element_result *e = &s->elements[i];

                if (!e->key)
                        continue;
                fprintf(f, "%s %s%s is %s", join[0] == 'b' ? "," : "", join, e->key, e->found ?: "absent");
                join = "and ";
        }
        if (fclose(f) != 0)
                return -ENOMEM;
        return add(w, "policy", REMARK_PROBLEM, denies_other_images(s) ? boot_another : advice, "%s", text);
}

/* A role that is made anew under the old name is another one. */
static int remark_deleted(struct work *w, const struct statement *s) {
        for (size_t i = 0; i < s->principals.n; i++)
                if (is_unique_id(s->principals.items[i]))
                        return add(w, "policy", REMARK_PROBLEM,
                                   "If it was made again, under the same name or another, have the key's owner put its "
                                   "ARN into the policy once more.",
                                   "%s names %s, which is what is left of a role or user that was deleted", s->name,
                                   s->principals.items[i]);
        return 0;
}

static int remark_denied(struct work *w) {
        static const char name_it[] =
                "Have the key's owner name the instance's role in the policy (`sealboot policy --principal`).";
        const struct evaluation *v = &w->out->evaluation;
        bool named = false;
        int r = 0;

        for (size_t i = 0; i < v->n; i++)
                named |= v->statements[i].statement->allow && names_caller(&v->statements[i]);
        for (size_t i = 0; i < v->n && r == 0; i++) {
                const struct statement_result *s = &v->statements[i];

                if (!statement_covers_action(s->statement, "kms:Decrypt"))
                        continue;
                if (!s->statement->allow)
                        r = s->truth == TRUTH_YES ? remark_denial(w, s) : 0;
                else if (s->truth == TRUTH_NO) {
                        /* Statements for others say nothing, unless there is none for the caller. */
                        r = named && !names_caller(s) ? 0 : remark_statement(w, s);
                        r = r < 0 ? r : remark_deleted(w, s->statement);
                }
        }
        return r < 0 ? r
                     : add(w, "policy", REMARK_PROBLEM,
                           v->explicit_deny ? NULL
                           : named          ? boot_another
                                            : name_it,
                           "the key policy does not release the key to what was presented");
}

static int remark_allowed(struct work *w) {
        return add(w, "policy", REMARK_GOOD, NULL, "the key policy releases the key to what was presented%s",
                   w->out->evaluation.delegated ? ", if the IAM policies of the account do" : "");
}

/* KMS does not say which kind of policy refused, and the key policy says yes: what else can say no. */
static int remark_other_policies(struct work *w) {
        const char *account = text_at(w->in->report, "identity.account"), *owner;
        bool crosses = false;
        int n;

        if (w->key_arn && account) {
                owner = arn_part(w->key_arn, 4, &n);
                crosses = strlen(account) != (size_t) n || strncmp(owner, account, (size_t) n) != 0;
        }
        return add(w, "permissions", REMARK_PROBLEM,
                   "Let the role's IAM policy allow kms:Decrypt on the key (`sealboot policy --for role` writes one); "
                   "then look at VPC endpoint policies, service control policies, and whether the key's policy is "
                   "still this one.",
                   "the key policy allows what KMS refused%s, so the refusal comes from elsewhere",
                   crosses ? "; the key belongs to another account, so the role's own IAM policy must allow "
                             "kms:Decrypt too"
                           : "");
}

/* What KMS itself says of which policy refused. */
static int remark_permissions(struct work *w) {
        bool allowed = w->out->evaluated && w->out->evaluation.decision == DECISION_ALLOWED;
        char advice[1024];

        if (!w->denied)
                return 0;
        if (w->denial.kind == DENIAL_UNNAMED)
                return allowed ? remark_other_policies(w) : 0;
        if (w->denial.kind == DENIAL_RESOURCE && allowed)
                return add(w, "permissions", REMARK_PROBLEM,
                           "Give the policy that is in force (`aws kms get-key-policy --policy-name default --key-id "
                           "...`), or put this one into force (`aws kms put-key-policy`).",
                           "KMS says that the key policy refused, but the one that was given allows the request: it is "
                           "not the key policy that was in force");
        if (w->denial.kind == DENIAL_RESOURCE)
                return 0; /* the policy's own remarks tell why */
        denial_advice(&w->denial, "key policy", advice, sizeof advice);
        return add(w, "permissions", REMARK_PROBLEM, advice, "KMS says that it was %s %s%s%s that refused",
                   w->denial.kind == DENIAL_IDENTITY ? "an" : "a", denial_kind_name(w->denial.kind),
                   w->denial.policy[0] ? ", " : "", w->denial.policy);
}

static int remark_policy(struct work *w, struct error *e) {
        _cleanup_request_ struct request request = {};
        int r;

        if (!w->in->policy)
                return add(w, "policy", REMARK_UNKNOWN,
                           "Give the key policy with --policy (`aws kms get-key-policy --policy-name default --key-id "
                           "...`).",
                           "the key policy was not given");
        if (!w->presented)
                return add(w, "policy", REMARK_UNKNOWN, NULL, "the boot ended before the key was asked for");
        if (!w->out->principal[0])
                return add(w, "policy", REMARK_UNKNOWN, "Name the instance's role with --principal.",
                           "who asked is not known");
        r = fill_request(w, &request, e);
        if (r == 0)
                r = evaluate(w->in->policy, &request, &w->out->evaluation, e);
        if (r < 0)
                return r;
        w->out->evaluated = true;
        if (w->out->evaluation.decision == DECISION_ALLOWED)
                r = remark_allowed(w);
        else if (w->out->evaluation.decision == DECISION_DENIED)
                r = remark_denied(w);
        else
                r = add(w, "policy", REMARK_UNKNOWN,
                        "Give the role's own ARN with --principal, or decide it with --set of `sealboot policy check`.",
                        "the key policy depends on conditions that the report does not tell");
        return r < 0 ? fail_oom(e) : 0;
}

typedef int look(struct work *w);

int diagnose(const struct evidence *evidence, struct diagnosis *ret, struct error *e) {
        static look *const looks[] = {
                remark_outcome, remark_clock, remark_identity, remark_key, remark_pcrs,
        };
        _cleanup_diagnosis_ struct diagnosis d = {};
        struct work w = { .in = evidence, .out = &d };
        int r;

        if (!text_at(evidence->report, "outcome"))
                return fail(e, FAILURE_USAGE, -EINVAL, "boot report",
                            "has no \"outcome\": it is not the report of a sealboot-agent");
        w.failure = text_at(evidence->report, "failure.name");
        w.key_arn = text_at(evidence->report, "key_arn");
        r = read_pcrs(&w, e);
        if (r < 0)
                return r;
        find_principal(&w);
        find_denial(&w);
        *e = (struct error) {};
        for (size_t i = 0; i < ELEMENTS(looks); i++)
                if (looks[i](&w) < 0)
                        return fail_oom(e);
        r = remark_policy(&w, e);
        if (r < 0)
                return e->failure == FAILURE_NONE ? fail_oom(e) : r;
        if (remark_permissions(&w) < 0)
                return fail_oom(e);
        *ret = TAKE_STRUCT(d);
        return 0;
}
