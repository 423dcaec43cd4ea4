/* SPDX-License-Identifier: Apache-2.0 */

/* A boot report from an instance that may say anything, beside a key policy and reference measurements. */

#include "doctor/diagnosis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char policy_text[] =
        "{\"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"222222222222\"}, \"Action\": "
        "\"kms:Decrypt\", \"Resource\": \"*\","
        "\"Condition\": {\"StringEquals\": {\"kms:RecipientAttestation:NitroTPMPCR12\": \"0\"}}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct reference image = { .source = (char *) "image", .present = 1u << 4 | 1u << 12 };
        const struct references references = { .items = &image, .n = 1 };
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_diagnosis_ struct diagnosis d = {};
        _cleanup_json_ json_object *report = NULL;
        struct error e = { 0 };

        if (json_parse((const char *) data, size, FAILURE_USAGE, "fuzz", &report, &e) < 0)
                return 0;
        if (key_policy_parse(policy_text, strlen(policy_text), "policy", &policy, &e) < 0)
                abort();
        const struct evidence evidence = {
                .report = report, .policy = &policy, .references = &references, .key = report
        };
        if (diagnose(&evidence, &d, &e) < 0)
                return e.failure != FAILURE_USAGE || !e.reason[0] ? (abort(), 0) : 0;
        if (d.n < 5)
                abort();
        return 0;
}
