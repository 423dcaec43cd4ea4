/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/denial.h"
#include "aws/kms.h"
#include "aws/verdict.h"

/* What a program that runs once tries again, and what is final. The rows of the services' own tests are not repeated.
 */
static void test_verdicts(void **state) {
        static const struct {
                enum verdict_service service;
                long status;
                const char *code, *message;
                enum http_verdict verdict;
                enum failure failure;
        } table[] = {
                { VERDICT_IMDS, 404, NULL, NULL, HTTP_RETRY, FAILURE_IMDS },
                { VERDICT_IMDS, 200, VERDICT_CODE_EMPTY, NULL, HTTP_RETRY, FAILURE_IMDS },
                { VERDICT_IMDS, 200, "Failed", NULL, HTTP_RETRY, FAILURE_CREDENTIALS },
                { VERDICT_IMDS, 200, "InstanceProfileNotFound", "Instance Profile cannot be found", HTTP_RETRY,
                  FAILURE_CREDENTIALS },
                { VERDICT_IMDS, 429, NULL, NULL, HTTP_RETRY, FAILURE_IMDS },
                { VERDICT_IMDS, 500, NULL, NULL, HTTP_RETRY, FAILURE_IMDS },
                { VERDICT_IMDS, 403, NULL, NULL, HTTP_FINAL, FAILURE_IMDS },
                { VERDICT_IMDS, 400, NULL, NULL, HTTP_FINAL, FAILURE_IMDS },
                { VERDICT_AUTOSCALING, 400, "ValidationError", "No active Lifecycle Action found with instance ID i-1",
                  HTTP_RETRY, FAILURE_LIFECYCLE },
                { VERDICT_AUTOSCALING, 400, "ValidationError", "1 validation error detected", HTTP_FINAL,
                  FAILURE_LIFECYCLE },
                { VERDICT_AUTOSCALING, 500, "ResourceContention", NULL, HTTP_RETRY, FAILURE_LIFECYCLE },
                { VERDICT_AUTOSCALING, 403, "AccessDenied", "x", HTTP_FINAL, FAILURE_LIFECYCLE },
                { VERDICT_AUTOSCALING, 403, "ExpiredToken", "x", HTTP_REFRESH, FAILURE_LIFECYCLE },
                { VERDICT_AUTOSCALING, 400, "Throttling", "Rate exceeded", HTTP_RETRY, FAILURE_LIFECYCLE },
                { VERDICT_S3, 400, "XAmzContentChecksumMismatch", "the checksum did not match", HTTP_RETRY,
                  FAILURE_S3_UNAVAILABLE },
                { VERDICT_S3, 400, "IncompleteBody", "fewer bytes than Content-Length", HTTP_RETRY,
                  FAILURE_S3_UNAVAILABLE },
                { VERDICT_KMS, 400, "KMSInvalidStateException", "arn is creating.", HTTP_RETRY,
                  FAILURE_KMS_UNAVAILABLE },
                { VERDICT_KMS, 400, "KMSInvalidStateException", "arn is pending import.", HTTP_FINAL, FAILURE_KMS_KEY },
                { VERDICT_KMS, 400, "NewException", "x", HTTP_FINAL, FAILURE_KMS_DENIED },
                { VERDICT_KMS, 400, NULL, NULL, HTTP_FINAL, FAILURE_KMS_ANSWER },
                { VERDICT_S3, 400, "KMS.DisabledException", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 400, "KMS.NotFoundException", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 400, "KMS.NewException", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 400, "KMS.ThrottlingException", "x", HTTP_RETRY, FAILURE_S3_UNAVAILABLE },
                { VERDICT_S3, 500, "KMS.KMSInternalException", "x", HTTP_RETRY, FAILURE_S3_UNAVAILABLE },
                { VERDICT_S3, 400, "KMS.ExpiredTokenException", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 400, "IllegalLocationConstraintException", "x", HTTP_FINAL, FAILURE_S3_NOT_FOUND },
                { VERDICT_S3, 403, "InvalidObjectState", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 409, "ConditionalRequestConflict", "x", HTTP_RETRY, FAILURE_S3_UNAVAILABLE },
                { VERDICT_S3, 409, "NewConflict", "x", HTTP_FINAL, FAILURE_S3_DENIED },
                { VERDICT_S3, 409, NULL, NULL, HTTP_FINAL, FAILURE_S3_ANSWER },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct verdict v = verdict_of(table[i].service, table[i].status, table[i].code, table[i].message);

                if (v.verdict != table[i].verdict || v.failure != table[i].failure)
                        fail_msg("%ld %s: verdict %d, failure %d", table[i].status, table[i].code ?: "-",
                                 (int) v.verdict, (int) v.failure);
        }
        assert_true(verdict_code_valid("KMS.DisabledException"));
        assert_false(verdict_code_valid(""));
        assert_false(verdict_code_valid("Access Denied"));
        assert_false(verdict_code_valid("Access\x1b[2J"));
}

#define USER "User: arn:aws:sts::444455556666:assumed-role/r/i-0 is not authorized to perform: "
#define KEY "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/0a1b"

static void test_denials(void **state) {
        static const struct {
                const char *message;
                bool is_one;
                enum denial_kind kind;
                bool is_explicit;
                const char *action, *resource, *policy;
                const char *advice; /* words of it */
        } table[] = {
                { USER "kms:Decrypt on resource: " KEY
                       " because no identity-based policy allows the kms:Decrypt action",
                  true, DENIAL_IDENTITY, false, "kms:Decrypt", KEY, "",
                  "Let the caller's IAM policy allow kms:Decrypt on " KEY },
                { USER "kms:Decrypt on the resource associated with this ciphertext because no resource-based policy "
                       "allows the kms:Decrypt action",
                  true, DENIAL_RESOURCE, false, "kms:Decrypt", "", "", "Let the key policy allow" },
                { USER "s3:GetObjectVersion on resource: \"arn:aws:s3:::b/a key\" with an explicit deny in a "
                       "resource-based policy",
                  true, DENIAL_RESOURCE, true, "s3:GetObjectVersion", "arn:aws:s3:::b/a key", "",
                  "A Deny in the key policy" },
                { USER "kms:Decrypt on resource: " KEY " because no permissions boundary allows the kms:Decrypt action",
                  true, DENIAL_BOUNDARY, false, "kms:Decrypt", KEY, "", "permissions boundary" },
                { USER "kms:Decrypt because no session policy allows the kms:Decrypt action", true, DENIAL_SESSION,
                  false, "kms:Decrypt", "", "", "session policy" },
                { USER "kms:Decrypt on resource: " KEY " with an explicit deny in a service control policy: "
                       "arn:aws:organizations::9:policy/o-1/service_control_policy/p-1",
                  true, DENIAL_SERVICE_CONTROL, true, "kms:Decrypt", KEY,
                  "arn:aws:organizations::9:policy/o-1/service_control_policy/p-1", "p-1 refuses kms:Decrypt" },
                { USER "kms:Decrypt with an explicit deny in a resource control policy", true, DENIAL_RESOURCE_CONTROL,
                  true, "kms:Decrypt", "", "", "resource control policy" },
                { USER "s3:ListBucket because no VPC endpoint policy allows the s3:ListBucket action", true,
                  DENIAL_VPC_ENDPOINT, false, "s3:ListBucket", "", "", "VPC endpoint" },
                { USER "kms:Decrypt", true, DENIAL_UNNAMED, false, "kms:Decrypt", "", "", "" },
                /* The caller names its session, its objects and so on: only the end of the message counts. */
                { "User: arn:aws:sts::1:assumed-role/r/because no identity-based policy is not authorized to perform: "
                  "kms:Decrypt with an explicit deny in a VPC endpoint policy",
                  true, DENIAL_VPC_ENDPOINT, true, "kms:Decrypt", "", "", "A Deny in the policy of the VPC endpoint" },
                { USER
                  "s3:GetObject on resource: \"arn:aws:s3:::b/x with an explicit deny in an identity-based policy\" "
                  "because no resource-based policy allows the s3:GetObject action",
                  true, DENIAL_RESOURCE, false, "s3:GetObject",
                  "arn:aws:s3:::b/x with an explicit deny in an identity-based policy", "",
                  "Let the key policy allow" },
                { "Access Denied", false, 0, false, "", "", "", "" },
                { "", false, 0, false, "", "", "", "" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct denial d = {};
                char advice[512];

                assert_int_equal(denial_parse(table[i].message, &d), table[i].is_one);
                if (!table[i].is_one)
                        continue;
                if (d.kind != table[i].kind || d.is_explicit != table[i].is_explicit)
                        fail_msg("%s: kind %d", table[i].message, (int) d.kind);
                assert_string_equal(d.action, table[i].action);
                assert_string_equal(d.resource, table[i].resource);
                assert_string_equal(d.policy, table[i].policy);
                denial_advice(&d, "the key policy", advice, sizeof advice);
                if (!strstr(advice, table[i].advice) || (!table[i].advice[0] && advice[0]))
                        fail_msg("%s: %s", table[i].message, advice);
                denial_advice(&d, "the key policy", advice, 8);
                assert_true(strlen(advice) < 8);
        }
}

/* Whom the agent sends to the PCRs. */
static void test_what_the_key_policy_can_have_refused(void **state) {
        (void) state;
        assert_true(kms_denial_is_of_key_policy("HTTP 400 AccessDeniedException: " USER "kms:Decrypt"));
        assert_true(kms_denial_is_of_key_policy("HTTP 400 AccessDeniedException: no more is said"));
        assert_true(kms_denial_is_of_key_policy(
                "HTTP 400 AccessDeniedException: " USER
                "kms:Decrypt because no resource-based policy allows the kms:Decrypt action"));
        assert_false(kms_denial_is_of_key_policy(
                "HTTP 400 AccessDeniedException: " USER
                "kms:Decrypt because no identity-based policy allows the kms:Decrypt action"));
        assert_false(kms_denial_is_of_key_policy("HTTP 400 ValidationException: The attestation document has expired"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verdicts),
                cmocka_unit_test(test_denials),
                cmocka_unit_test(test_what_the_key_policy_can_have_refused),
        };

        return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
