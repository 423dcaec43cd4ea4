/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/kms.h"
#include "aws/service.h"
#include "canned.h"
#include "owner/environment.h"
#include "owner/kms-write.h"

#define KEY "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define ZEROS32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ERROR(type) \
        { \
                .status = "400 Bad Request", .headers = "x-amzn-RequestId: R-1\r\n", \
                .body = "{\"__type\":\"" type "\",\"message\":\"words\"}" \
        }

static void test_errors(void **state) {
        static const struct {
                long status;
                const char *text;
                enum http_verdict verdict;
                enum failure failure;
                const char *words;
        } table[] = {
                { 400, "{\"__type\":\"AccessDeniedException\",\"Message\":\"no\"}", HTTP_FINAL, FAILURE_KMS_DENIED,
                  "HTTP 400 AccessDeniedException: no" },
                { 400, "{\"__type\":\"com.amazonaws.kms#InvalidCiphertextException\"}", HTTP_FINAL,
                  FAILURE_KMS_CIPHERTEXT, "InvalidCiphertextException: no message" },
                { 400, "{\"__type\":\"IncorrectKeyException\",\"message\":\"x\"}", HTTP_FINAL, FAILURE_KMS_CIPHERTEXT,
                  "IncorrectKey" },
                { 400, "{\"__type\":\"NotFoundException:http://internal/\",\"message\":\"x\"}", HTTP_FINAL,
                  FAILURE_KMS_KEY, "NotFoundException: x" },
                { 400, "{\"__type\":\"DisabledException\",\"message\":\"x\"}", HTTP_FINAL, FAILURE_KMS_KEY,
                  "Disabled" },
                { 400, "{\"__type\":\"KMSInvalidStateException\",\"message\":\"pending deletion\"}", HTTP_FINAL,
                  FAILURE_KMS_KEY, "pending deletion" },
                { 500, "{\"__type\":\"KeyUnavailableException\",\"message\":\"x\"}", HTTP_RETRY,
                  FAILURE_KMS_UNAVAILABLE, "KeyUnavailable" },
                { 500, "{\"__type\":\"DependencyTimeoutException\",\"message\":\"x\"}", HTTP_RETRY,
                  FAILURE_KMS_UNAVAILABLE, "DependencyTimeout" },
                { 500, "{\"__type\":\"KMSInternalException\",\"message\":\"x\"}", HTTP_RETRY, FAILURE_KMS_UNAVAILABLE,
                  "KMSInternal" },
                { 400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}", HTTP_RETRY,
                  FAILURE_KMS_UNAVAILABLE, "Rate exceeded" },
                { 400, "{\"__type\":\"ExpiredTokenException\",\"message\":\"x\"}", HTTP_REFRESH, FAILURE_CREDENTIALS,
                  "ExpiredToken" },
                { 403, "{\"__type\":\"UnrecognizedClientException\",\"message\":\"x\"}", HTTP_FINAL,
                  FAILURE_CREDENTIALS, "Unrecognized" },
                { 403, "{\"__type\":\"InvalidSignatureException\",\"message\":\"The request signature we calculated\"}",
                  HTTP_FINAL, FAILURE_CREDENTIALS, "signature we calculated" },
                { 403, "{\"__type\":\"InvalidSignatureException\",\"message\":\"Signature expired: 2\"}", HTTP_FINAL,
                  FAILURE_CLOCK, "this machine's clock says" },
                { 403, "{\"__type\":\"RequestTimeTooSkewed\",\"message\":\"x\"}", HTTP_FINAL, FAILURE_CLOCK,
                  "service's nothing" },
                { 400, "{\"__type\":\"ValidationException\",\"message\":\"Attestation document is malformed\"}",
                  HTTP_FINAL, FAILURE_KMS_DENIED, "Attestation" },
                { 400, "{\"__type\":\"ValidationException\",\"message\":\"1 validation error\"}", HTTP_FINAL,
                  FAILURE_KMS_CIPHERTEXT, "1 validation" },
                { 400, "{\"__type\":\"SomethingNew\",\"message\":\"x\"}", HTTP_FINAL, FAILURE_KMS_DENIED,
                  "SomethingNew: x" },
                { 503, "{\"__type\":\"SomethingNew\",\"message\":\"x\"}", HTTP_RETRY, FAILURE_KMS_UNAVAILABLE,
                  "SomethingNew" },
                { 502, "<html>Bad Gateway</html>", HTTP_RETRY, FAILURE_KMS_UNAVAILABLE,
                  "HTTP 502 without a KMS error" },
                { 404, "", HTTP_FINAL, FAILURE_KMS_ANSWER, "HTTP 404 without a KMS error" },
                { 301, "{}", HTTP_FINAL, FAILURE_KMS_ANSWER, "HTTP 301 without a KMS error" },
                { 400, "{\"__type\":7}", HTTP_FINAL, FAILURE_KMS_ANSWER, "without a KMS error" },
                { 400, "{\"__type\":\"AccessDeniedException\\u001b[2J\",\"message\":\"x\"}", HTTP_FINAL,
                  FAILURE_KMS_ANSWER, "AccessDeniedException?[2J" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct service_answer answer = { .status = table[i].status,
                                                 .text = table[i].text,
                                                 .n = strlen(table[i].text),
                                                 .subject = "kms key K" };
                struct error e = {};

                if (kms_judge_error(&answer, &e) != table[i].verdict || e.failure != table[i].failure ||
                    !strstr(e.reason, table[i].words))
                        fail_msg("%s: %d: %s", table[i].text, (int) e.failure, e.reason);
                assert_string_equal(e.subject, "kms key K");
        }
}

/* A signature that is merely called invalid, while the clocks are hours apart, is the clock's fault. */
static void test_skew(void **state) {
        static const char text[] = "{\"__type\":\"InvalidSignatureException\",\"message\":\"bad\"}";
        struct service_answer answer = { .status = 403,
                                         .text = text,
                                         .n = strlen(text),
                                         .subject = "kms",
                                         .date = "Wed, 01 Jan 2020 00:00:00 GMT" };
        struct error e = {};

        (void) state;
        assert_int_equal(kms_judge_error(&answer, &e), HTTP_FINAL);
        assert_int_equal(e.failure, FAILURE_CLOCK);
        assert_non_null(strstr(e.reason, "the service's Wed, 01 Jan 2020 00:00:00 GMT: it is "));
        assert_non_null(strstr(e.reason, " s ahead"));
        answer.date = "yesterday, or so";
        assert_int_equal(kms_judge_error(&answer, &e), HTTP_FINAL);
        assert_int_equal(e.failure, FAILURE_CREDENTIALS);
}

static void test_parse(void **state) {
        static const struct {
                const char *text, *words; /* words NULL: is accepted */
                size_t plaintext, blob, envelope;
        } table[] = {
                { "{\"KeyId\":\"K\",\"Plaintext\":\"" ZEROS32 "\"}", NULL, 32, 0, 0 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"\\/w==\",\"CiphertextBlob\":\"AQI=\"}", NULL, 1, 2, 0 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"\",\"CiphertextForRecipient\":\"MIAG\","
                  "\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\"}",
                  NULL, 0, 0, 3 },
                { "{\"KeyId\":\"K\",\"Plaintext\":null,\"CiphertextForRecipient\":\"MIAG\",\"KeyMaterialId\":\"f00\"}",
                  NULL, 0, 0, 3 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"AA\"}", "Plaintext is not base64", 0, 0, 0 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"AA\\n=\"}", "Plaintext is not base64", 0, 0, 0 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"AA==\",\"Plaintext\":\"AA==\"}", "same key twice", 0, 0, 0 },
                { "{\"Plaintext\":\"AA==\"}", "names no KeyId", 0, 0, 0 },
                { "{\"KeyId\":1}", "names no KeyId", 0, 0, 0 },
                { "{\"KeyId\":\"K\",\"CiphertextForRecipient\":\"\"}", "CiphertextForRecipient is not base64", 0, 0,
                  0 },
                { "{\"KeyId\":\"K\",\"CiphertextForRecipient\":\"M IAG\"}", "CiphertextForRecipient is not base64", 0,
                  0, 0 },
                { "{\"KeyId\":\"K\",\"CiphertextBlob\":\"=\"}", "CiphertextBlob is not base64", 0, 0, 0 },
                { "{\"KeyId\":\"K\",\"EncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\"}", "not SYMMETRIC_DEFAULT", 0, 0,
                  0 },
                { "{\"KeyId\":\"K\"} more", "JSON", 0, 0, 0 },
                { "{\"KeyId\":\"K\",\"Plaintext\":\"AA==", "cut short", 0, 0, 0 },
                { "[\"KeyId\"]", "names no KeyId", 0, 0, 0 },
                { "", "cut short", 0, 0, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(kms_answer_done) struct kms_answer a = {};
                _cleanup_free_ char *text = strdup(table[i].text);
                struct error e = {};
                int r;

                r = kms_parse_answer(text, strlen(text), "kms", &a, &e);
                if (table[i].words ? r >= 0 || !strstr(e.reason, table[i].words) : r < 0)
                        fail_msg("%s: %d: %s", table[i].text, r, e.reason);
                assert_int_equal(a.plaintext ? a.plaintext->size : 0, table[i].plaintext);
                assert_int_equal(a.blob_size, table[i].blob);
                assert_int_equal(a.envelope_size, table[i].envelope);
                /* Wherever it goes next, the plaintext is no longer in the text. */
                assert_null(strstr(text, ZEROS32));
        }
}

/* The advice is about what KMS named. */
static void test_advice(void **state) {
#define DENIED(how) \
        "{\"__type\":\"AccessDeniedException\",\"message\":\"User: arn:aws:sts::444455556666:assumed-role/r/i is " \
        "not " \
        "authorized to perform: kms:Decrypt on resource: " KEY " " how "\"}"
        static const struct {
                const char *text, *has, *lacks;
        } table[] = {
                { DENIED("because no identity-based policy allows the kms:Decrypt action"), "IAM policy", "PCR" },
                { DENIED("with an explicit deny in a service control policy"), "service control policy", "IAM policy" },
                { DENIED("because no VPC endpoint policy allows the kms:Decrypt action"), "VPC endpoint",
                  "IAM policy" },
                { DENIED("with an explicit deny in a resource control policy"), "resource control policy", "PCR" },
                { DENIED("because no resource-based policy allows the kms:Decrypt action"), "", "IAM policy" },
                { "{\"__type\":\"ValidationException\",\"message\":\"The attestation document has expired\"}",
                  "too old", "instance type" },
                { "{\"__type\":\"ValidationException\",\"message\":\"Attestation document: bad signature\"}", "itself",
                  "too old" },
                { "{\"__type\":\"UnsupportedOperationException\",\"message\":\"x\"}", "UnsupportedOperationException",
                  "PCR" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct service_answer answer = {
                        .status = 400, .text = table[i].text, .n = strlen(table[i].text), .subject = "kms"
                };
                struct error e = {};

                assert_int_equal(kms_judge_error(&answer, &e), HTTP_FINAL);
                assert_int_equal(e.failure, FAILURE_KMS_DENIED);
                if (!strstr(e.advice, table[i].has) || strstr(e.advice, table[i].lacks) ||
                    (!table[i].has[0] && e.advice[0]))
                        fail_msg("%s: %s", table[i].text, e.advice);
        }
}

struct fixture {
        struct http *http;
        struct credential_source *source;
        struct kms *kms;
        struct canned canned;
        unsigned documents;
};

static void start(struct fixture *f, const struct canned_reply *replies, size_t n) {
        struct error e = {};

        *f = (struct fixture) {};
        setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
        setenv("AWS_SECRET_ACCESS_KEY", "key", 1);
        setenv("AWS_SESSION_TOKEN", "session", 1);
        canned_start(&f->canned, replies, n);
        assert_ok(http_new(&(struct http_options) {}, &f->http, &e), &e);
        assert_ok(credentials_from_environment(&f->source, &e), &e);
        assert_ok(kms_new(&(struct service_access) { .http = f->http,
                                                     .credentials = f->source,
                                                     .region = "us-east-1",
                                                     .endpoint.url = f->canned.url },
                          3000, &f->kms, &e),
                  &e);
}

static size_t stop(struct fixture *f) {
        size_t n = canned_stop(&f->canned);

        canned_done(&f->canned);
        kms_free(f->kms);
        credential_source_free(f->source);
        http_free(f->http);
        return n;
}

static int attest(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e) {
        struct fixture *f = userdata;
        uint8_t *document = malloc(1);

        (void) e;
        *document = (uint8_t) ++f->documents;
        *ret = document;
        *ret_n = 1;
        return 0;
}

static const struct pair context[] = { { "model", "llama" }, { "version", "1\"2" } };
static const struct kms_ciphertext ciphertext = { KEY, (const uint8_t *) "\x01\x02", 2, context, 2 };

/* Every attempt brings a document of its own, signed for the key's own Region. */
static void test_release(void **state) {
        /* clang-format off */
        static const struct canned_reply replies[] = {
                ERROR("ThrottlingException"), { .status = "500 Oops", .body = "" }, ERROR("KMSInternalException"),
                { .status = "200 OK", .headers = "x-amzn-RequestId: R-4\r\n",
                  .body = "{\"KeyId\":\"" KEY "\",\"CiphertextForRecipient\":\"MIAG\"}" },
        };
        /* clang-format on */
        static const char body[] = "{\"KeyId\":\"" KEY "\",\"CiphertextBlob\":\"AQI=\","
                                   "\"EncryptionContext\":{\"model\":\"llama\",\"version\":\"1\\\"2\"},"
                                   "\"Recipient\":{\"KeyEncryptionAlgorithm\":\"RSAES_OAEP_SHA_256\","
                                   "\"AttestationDocument\":\"AQ==\"}}";
        _cleanup_kms_answer_ struct kms_answer release = {};
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, replies, 4);
        assert_ok(kms_release(f.kms, &ciphertext, attest, &f, &release, &e), &e);
        assert_int_equal(release.envelope_size, 3);
        assert_memory_equal(release.envelope, "\x30\x80\x06", 3);
        assert_string_equal(release.request_id, "R-4");
        assert_int_equal(release.attempts, 4);
        assert_int_equal(f.documents, 4);
        assert_non_null(strstr(f.canned.requests[0], body));
        assert_non_null(strstr(f.canned.requests[3], "\"AttestationDocument\":\"BA==\""));
        assert_non_null(strstr(f.canned.requests[0], "x-amz-target: TrentService.Decrypt\r\n"));
        assert_non_null(strstr(f.canned.requests[0], "content-type: application/x-amz-json-1.1\r\n"));
        assert_non_null(strstr(f.canned.requests[0], "x-amz-security-token: session\r\n"));
        assert_non_null(
                strstr(f.canned.requests[0],
                       "/eu-west-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;"
                       "x-amz-security-token;x-amz-target, "));
        stop(&f);
}

static void test_release_refuses(void **state) {
        /* clang-format off */
        static const struct {
                struct canned_reply reply;
                enum failure failure;
                const char *words;
        } table[] = {
                { ERROR("AccessDeniedException"), FAILURE_KMS_DENIED, "HTTP 400 AccessDeniedException: words" },
                /* These credentials are not the metadata service's: there are no others. */
                { ERROR("ExpiredTokenException"), FAILURE_CREDENTIALS, "HTTP 400 ExpiredTokenException: words" },
                { { .status = "200 OK",
                    .body = "{\"KeyId\":\"" KEY "\",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":\"AAAA\"}" },
                  FAILURE_KMS_ANSWER, "plaintext data key in it" },
                { { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "\"}" }, FAILURE_KMS_ANSWER,
                  "no CiphertextForRecipient" },
                { { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "0\",\"CiphertextForRecipient\":\"MIAG\"}" },
                  FAILURE_KMS_ANSWER, "for another key" },
                { { .status = "200 OK", .body = "<html/>" }, FAILURE_KMS_ANSWER, "not valid JSON" },
                { { .status = "204 No Content" }, FAILURE_KMS_ANSWER, "HTTP 204" },
        };
        /* clang-format on */

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct kms_answer release = {};
                struct error e = {};
                struct fixture f;

                start(&f, &table[i].reply, 1);
                assert_refused(kms_release(f.kms, &ciphertext, attest, &f, &release, &e), &e, table[i].failure,
                               table[i].words);
                assert_null(release.envelope);
                if (i == 0)
                        assert_string_equal(e.request_id, "R-1");
                assert_int_equal(stop(&f), 1);
        }
}

/* A key store of an owner's own sees no credentials, and its answers are as hostile as KMS's. */
static void test_store(void **state) {
        /* clang-format off */
        static const struct {
                struct canned_reply reply;
                enum failure failure;
                const char *words;
        } table[] = {
                { { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "\",\"CiphertextForRecipient\":\"MIAG\"}" },
                  0, NULL },
                { ERROR("AccessDeniedException"), FAILURE_KMS_DENIED, "HTTP 400 AccessDeniedException: words" },
                { ERROR("InvalidCiphertextException"), FAILURE_KMS_CIPHERTEXT, "InvalidCiphertextException" },
                { ERROR("ExpiredTokenException"), FAILURE_KMS_ANSWER, "ExpiredTokenException" },
                { ERROR("UnrecognizedClientException"), FAILURE_KMS_ANSWER, "UnrecognizedClientException" },
                { ERROR("RequestExpired"), FAILURE_KMS_ANSWER, "RequestExpired" },
                { ERROR("AccessDenied\\u001b[2J"), FAILURE_KMS_ANSWER, "without a KMS error" },
                { { .status = "200 OK",
                    .body = "{\"KeyId\":\"" KEY "\",\"CiphertextForRecipient\":\"MIAG\",\"Plaintext\":\"AAAA\"}" },
                  FAILURE_KMS_ANSWER, "plaintext data key in it" },
                { { .status = "200 OK",
                    .body = "{\"KeyId\":\"" KEY
                            "\",\"CiphertextForRecipient\":\"MIAG\",\"Plaintex\\u0074\":\"AAAA\"}" },
                  FAILURE_KMS_ANSWER, "Plaintext is not base64" },
                { { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "\"}" }, FAILURE_KMS_ANSWER,
                  "no CiphertextForRecipient" },
                { { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "0\",\"CiphertextForRecipient\":\"MIAG\"}" },
                  FAILURE_KMS_ANSWER, "for another key" },
                { { .status = "200 OK", .body = "{\"CiphertextForRecipient\":\"MIAG\"}" }, FAILURE_KMS_ANSWER,
                  "names no KeyId" },
                { { .status = "200 OK", .body = "[]" }, FAILURE_KMS_ANSWER, "names no KeyId" },
                { { .status = "302 Found", .headers = "Location: http://127.0.0.1/\r\n" },
                  FAILURE_KMS_ANSWER, "HTTP 302" },
        };
        /* clang-format on */

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(kms_freep) struct kms *store = NULL;
                _cleanup_kms_answer_ struct kms_answer release = {};
                struct error e = {};
                struct fixture f;
                int r;

                start(&f, &table[i].reply, 1);
                assert_ok(kms_new_store(f.http, f.canned.url, 3000, &store, &e), &e);
                r = kms_release(store, &ciphertext, attest, &f, &release, &e);
                if (table[i].words)
                        assert_refused(r, &e, table[i].failure, table[i].words);
                else
                        assert_ok(r, &e);
                assert_null(strstr(f.canned.requests[0], "authorization"));
                assert_null(strstr(f.canned.requests[0], "session"));
                if (table[i].words) {
                        assert_memory_equal(e.subject, "key store http://127.0.0.1:", 27);
                        assert_non_null(strstr(e.subject, ", key " KEY));
                        assert_non_null(strstr(e.advice, strstr(e.reason, "plaintext") ? "seal the model again"
                                                                                       : "ask the owner"));
                }
                assert_int_equal(stop(&f), 1);
        }
}

static void test_owner_side(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK",
                  .body = "{\"KeyId\":\"" KEY "\",\"Plaintext\":\"" ZEROS32 "\",\"CiphertextBlob\":\"AQI=\"}" },
                { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "\",\"Plaintext\":\"" ZEROS32 "\"}" },
                { .status = "200 OK", .body = "{\"KeyId\":\"" KEY "\",\"Plaintext\":\"AAAA\"}" },
                { .status = "200 OK",
                  .body = "{\"KeyId\":\"1234\",\"Plaintext\":\"" ZEROS32 "\",\"CiphertextBlob\":\"AQI=\"}" },
        };
        static const uint8_t zeros[32];
        _cleanup_(kms_data_key_done) struct kms_data_key key = {};
        _cleanup_secret_ struct secret *plaintext = NULL;
        struct secret *none = NULL;
        struct kms_data_key no_key = {};
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, replies, 4);
        assert_ok(kms_generate_data_key(f.kms, "alias/models", context, 1, &key, &e), &e);
        assert_memory_equal(key.plaintext->data, zeros, 32);
        assert_int_equal(key.size, 2);
        assert_string_equal(key.key_arn, KEY);
        assert_non_null(strstr(f.canned.requests[0], "{\"KeyId\":\"alias/models\",\"KeySpec\":\"AES_256\","
                                                     "\"EncryptionContext\":{\"model\":\"llama\"}}"));
        assert_non_null(strstr(f.canned.requests[0], "/us-east-1/kms/aws4_request"));
        assert_ok(kms_decrypt(f.kms, &ciphertext, &plaintext, &e), &e);
        assert_int_equal(plaintext->size, 32);
        assert_refused(kms_decrypt(f.kms, &ciphertext, &none, &e), &e, FAILURE_KMS_ANSWER, "no data key of 32 bytes");
        assert_refused(kms_generate_data_key(f.kms, "1234", NULL, 0, &no_key, &e), &e, FAILURE_KMS_ANSWER,
                       "for another key");
        assert_refused(kms_generate_data_key(f.kms, "arn:aws:s3:::bucket", NULL, 0, &no_key, &e), &e, FAILURE_KMS_KEY,
                       "not the ARN of a KMS key");
        assert_int_equal(stop(&f), 4);
}

/* "must enable it, cancel its deletion, or correct its ARN" is right for one state in three. */
static void test_states_of_a_key(void **state) {
        static const struct {
                const char *words, *advice; /* NULL: none of its own */
        } table[] = {
                { "arn:aws:kms:us-east-1:111122223333:key/x is disabled.", "enable-key" },
                { "arn:aws:kms:us-east-1:111122223333:key/x is pending import.", "import-key-material" },
                { "arn:aws:kms:us-east-1:111122223333:key/x is pending deletion.", "cancel-key-deletion" },
                { "arn:aws:kms:us-east-1:111122223333:key/x is pending replica deletion.", "cancel-key-deletion" },
                { "arn:aws:kms:us-east-1:111122223333:key/x is unavailable.", "connect-custom-key-store" },
                { "Disabled", "enable-key" },
                { "PendingImport", "import-key-material" },
                { "PendingDeletion", "cancel-key-deletion" },
                { "PendingReplicaDeletion", "cancel-key-deletion" },
                { "Unavailable", "connect-custom-key-store" },
                { "Creating", "try again" },
                { "Updating", NULL },
                { "", NULL },
        };
        static char text[] = "{\"__type\":\"KMSInvalidStateException\",\"message\":\"arn is pending import.\"}";
        const struct service_answer answer = { .status = 400, .text = text, .n = strlen(text), .subject = "kms key" };
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *advice = kms_state_advice(table[i].words);

                if (!advice != !table[i].advice || (advice && !strstr(advice, table[i].advice)))
                        fail_msg("%s: %s", table[i].words, advice ?: "nothing");
        }
        assert_int_equal(kms_judge_error(&answer, &e), HTTP_FINAL);
        assert_int_equal(e.failure, FAILURE_KMS_KEY);
        assert_non_null(strstr(e.advice, "import-key-material"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),          cmocka_unit_test(test_skew),
                cmocka_unit_test(test_states_of_a_key), cmocka_unit_test(test_parse),
                cmocka_unit_test(test_advice),          cmocka_unit_test(test_release),
                cmocka_unit_test(test_release_refuses), cmocka_unit_test(test_store),
                cmocka_unit_test(test_owner_side),
        };

        return cmocka_run_group_tests_name("kms", tests, NULL, NULL);
}
