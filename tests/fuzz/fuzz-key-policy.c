/* SPDX-License-Identifier: Apache-2.0 */

/* A key policy, and what is done with one: a policy that is accepted can be judged, evaluated, explained, and is the
 * same as itself. */

#include "keypolicy/diff.h"
#include "keypolicy/evaluate.h"
#include "keypolicy/explain.h"
#include "keypolicy/lint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum decision judge(const struct key_policy *policy, const char *key, FILE *f) {
        static const uint8_t pcr[SHA384_SIZE];
        const struct document d = { .kind = DOCUMENT_NITROTPM, .pcr = { [4] = pcr, [12] = pcr } };
        _cleanup_evaluation_ struct evaluation v = {};
        _cleanup_findings_ struct findings findings = {};
        _cleanup_request_ struct request request = {};
        struct error e = { 0 };

        if (request_init(&request, "arn:aws:sts::222222222222:assumed-role/inference/i", "kms:Decrypt", key, &e) < 0 ||
            request_add_context(&request, "model", "llama", &e) < 0 || request_add_document(&request, &d, &e) < 0 ||
            evaluate(policy, &request, &v, &e) < 0 || key_policy_lint(policy, false, &findings, &e) < 0)
                abort();
        if (v.explicit_deny && v.decision != DECISION_DENIED)
                abort();
        for (size_t i = 0; i < findings.n; i++)
                if (!findings.items[i].text[0] || !findings.items[i].advice[0])
                        abort();
        explain_evaluation(f, &v, request.principal, request.action);
        explain_findings(f, &findings);
        json_object_put(explain_evaluation_json(&v));
        json_object_put(explain_findings_json(&findings));
        return v.decision;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_fclose_ FILE *f = fopen("/dev/null", "we");
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_changes_ struct changes changes = {};
        enum decision known, unknown;
        struct error e = { 0 };

        if (!f || key_policy_parse((const char *) data, size, "fuzz", &policy, &e) < 0)
                return !f || e.failure != FAILURE_POLICY || !e.reason[0] ? (abort(), 0) : 0;
        known = judge(&policy, "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", f);
        unknown = judge(&policy, NULL, f);
        if (unknown != DECISION_UNKNOWN && unknown != known)
                abort();
        if (key_policy_compare(&policy, &policy, &changes, &e) < 0 || changes.n > 0)
                abort();
        return 0;
}
