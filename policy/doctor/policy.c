/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/key-arn.h"
#include "doctor/examination.h"
#include "keypolicy/condition-key.h"

/* The request that the agent made: its Decrypt, with the PCRs and the encryption context of the report. */
static int build_request(const struct examination *x, struct request *q) {
        const struct boot_report *b = &x->report;
        struct document d = { .kind = DOCUMENT_NITROTPM };
        int r;

        r = request_init(q, x->diagnosis->principal, "kms:Decrypt",
                         b->key_arn && key_arn_valid(b->key_arn) ? b->key_arn : NULL, x->e);
        if (r < 0)
                return r;
        if (b->encryption_context) {
                json_object_object_foreach(b->encryption_context, name, value) {
                        if (!json_object_is_type(value, json_type_string))
                                continue;
                        r = request_add_context(q, name, json_object_get_string(value), x->e);
                        if (r < 0)
                                return r;
                }
        }
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++)
                d.pcr[i] = boot_report_has_pcr(b, i) ? b->pcr[i] : NULL;
        return request_add_document(q, &d, x->e);
}

/* Why an Allow does not apply: each element that is not met, with what it wants and what was found. */
static char *describe_unmet(const struct statement_result *s) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        fprintf(f, "%s does not apply:", s->statement->name);
        for (size_t i = 0, unmet = 0; i < s->n; i++) {
                const struct element_result *e = &s->elements[i];

                if (e->truth == TRUTH_YES)
                        continue;
                fprintf(f, "%s %s%s%s %s ", unmet++ > 0 ? ";" : "", e->element, e->key ? " " : "", e->key ?: "",
                        e->truth == TRUTH_NO ? "wants" : "may want");
                for (size_t k = 0; e->wanted && k < e->wanted->n; k++)
                        fprintf(f, "%s%s", k > 0 ? " or " : "", e->wanted->items[k]);
                fprintf(f, " and found %s", e->found ?: "nothing");
        }
        putc('.', f);
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}

/* Why a Deny applies: the conditions that the request meets. */
static char *describe_denial(const struct statement_result *s) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        fprintf(f, "%s denies it outright", s->statement->name);
        for (size_t i = 0, met = 0; i < s->n; i++)
                if (s->elements[i].key)
                        fprintf(f, "%s %s is %s", met++ > 0 ? " and" : ", because", s->elements[i].key,
                                s->elements[i].found ?: "absent");
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}

static const char boot_another[] =
        "Boot the image the policy names; or have the key's owner accept this one: `sealboot measure`, then `sealboot "
        "policy`, with the references of every image that may run.";

static int remark_unmet(struct examination *x, const struct statement_result *s) {
        _cleanup_free_ char *text = describe_unmet(s);

        return text ? remark(x, "policy", REMARK_PROBLEM, NULL, "%s", text) : fail_oom(x->e);
}

/* Whether this is one of the Deny statements that `sealboot policy` writes: for what no accepted image presents. */
static bool denies_other_images(const struct statement *s) {
        for (size_t i = 0; i < s->n_conditions; i++)
                if (s->conditions[i].negated && is_attestation_key(s->conditions[i].key))
                        return true;
        return false;
}

static int remark_denial(struct examination *x, const struct statement_result *s) {
        static const char advice[] = "An explicit Deny overrides every Allow: have the key's owner correct that "
                                     "statement, or change what it is about.";
        _cleanup_free_ char *text = describe_denial(s);

        if (!text)
                return fail_oom(x->e);
        return remark(x, "policy", REMARK_PROBLEM, denies_other_images(s->statement) ? boot_another : advice, "%s",
                      text);
}

/* A role that is made again under the name of a deleted one is another role to KMS. */
static int remark_deleted(struct examination *x, const struct statement *s) {
        for (size_t i = 0; i < s->principals.n; i++)
                if (is_unique_id(s->principals.items[i]))
                        return remark(x, "policy", REMARK_PROBLEM,
                                      "If it was made again, under the same name or another, have the key's owner put "
                                      "its ARN into the policy once more.",
                                      "%s names %s, which is what is left of a role or user that was deleted", s->name,
                                      s->principals.items[i]);
        return 0;
}

static bool names_caller(const struct statement_result *s) {
        return s->n > 0 && s->elements[0].truth == TRUTH_YES;
}

/* Statements for other callers explain nothing, unless there is none for this one. */
static int remark_statement(struct examination *x, const struct statement_result *s, bool named) {
        int r;

        if (!statement_covers_action(s->statement, "kms:Decrypt"))
                return 0;
        if (!s->statement->allow)
                return s->truth == TRUTH_YES ? remark_denial(x, s) : 0;
        if (s->truth != TRUTH_NO)
                return 0;
        r = named && !names_caller(s) ? 0 : remark_unmet(x, s);
        return r < 0 ? r : remark_deleted(x, s->statement);
}

static int remark_denied(struct examination *x) {
        static const char name_it[] =
                "Have the key's owner name the instance's role in the policy (`sealboot policy --principal`).";
        const struct evaluation *v = &x->diagnosis->evaluation;
        bool named = false;
        int r;

        for (size_t i = 0; i < v->n; i++)
                named |= v->statements[i].statement->allow && names_caller(&v->statements[i]);
        for (size_t i = 0; i < v->n; i++) {
                r = remark_statement(x, &v->statements[i], named);
                if (r < 0)
                        return r;
        }
        return remark(x, "policy", REMARK_PROBLEM,
                      v->explicit_deny ? NULL
                      : named          ? boot_another
                                       : name_it,
                      "the key policy does not release the key to what was presented");
}

static int remark_decision(struct examination *x) {
        const struct evaluation *v = &x->diagnosis->evaluation;

        if (v->decision == DECISION_DENIED)
                return remark_denied(x);
        if (v->decision == DECISION_UNKNOWN)
                return remark(x, "policy", REMARK_UNKNOWN,
                              "Give the role's own ARN with --principal, or decide it with --set of `sealboot policy "
                              "check`.",
                              "the key policy depends on conditions that the report does not tell");
        return remark(x, "policy", REMARK_GOOD, NULL, "the key policy releases the key to what was presented%s",
                      v->delegated ? ", if the IAM policies of the account do" : "");
}

int examine_policy(struct examination *x) {
        const struct key_policy *policy = x->evidence->policy;
        _cleanup_request_ struct request request = {};
        int r;

        if (!policy)
                return remark(x, "policy", REMARK_UNKNOWN,
                              "Give the key policy with --policy (`aws kms get-key-policy --policy-name default "
                              "--key-id ...`).",
                              "the key policy was not given");
        if (!x->report.present)
                return remark(x, "policy", REMARK_UNKNOWN, NULL, "the boot ended before the key was asked for");
        if (!x->diagnosis->principal[0])
                return remark(x, "policy", REMARK_UNKNOWN, "Name the instance's role with --principal.",
                              "the caller is not known");
        r = build_request(x, &request);
        if (r < 0)
                return r;
        r = evaluate(policy, &request, &x->diagnosis->evaluation, x->e);
        if (r < 0)
                return r;
        x->diagnosis->evaluated = true;
        return remark_decision(x);
}
