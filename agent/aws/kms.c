/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/kms.h"

#include <openssl/crypto.h>

#include "aws/answer.h"
#include "aws/denial.h"
#include "aws/key-arn.h"
#include "aws/service.h"
#include "aws/verdict.h"
#include "basic/encode.h"

enum { DEADLINE_MS = 30000, ATTEMPT_MS = 15000, MAX_ANSWER = 64 * 1024, MAX_SKEW_SECONDS = 5 * 60 };

struct kms {
        struct http *http;
        struct credential_source *credentials;
        char *region;
        struct endpoint endpoint;      /* .host NULL: AWS's own */
        struct endpoint_choice choice; /* of these */
        struct retry_policy policy;
};

int kms_new(struct http *http, struct credential_source *credentials, const char *region,
            const struct endpoint_choice *endpoint, unsigned deadline_ms, struct kms **ret, struct error *e) {
        _cleanup_(kms_freep) struct kms *kms = calloc(1, sizeof *kms);
        int r;

        if (!kms)
                return fail_oom(e);
        kms->http = http;
        kms->credentials = credentials;
        kms->policy =
                (struct retry_policy) { .deadline_ms = deadline_ms ?: DEADLINE_MS, .base_ms = 100, .cap_ms = 5000 };
        if (region && !region_valid(region))
                return fail(e, FAILURE_CONFIG, -EINVAL, "region", "\"%s\" is not a Region%s", region,
                            region_hint(region));
        kms->region = region ? strdup(region) : NULL;
        if (region && !kms->region)
                return fail_oom(e);
        kms->choice =
                (struct endpoint_choice) { .use_fips = endpoint->use_fips, .use_dualstack = endpoint->use_dualstack };
        if (endpoint->url) {
                r = endpoint_parse(endpoint->url, "KMS endpoint", &kms->endpoint, e);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(kms);
        return 0;
}

void kms_free(struct kms *kms) {
        if (!kms)
                return;
        endpoint_done(&kms->endpoint);
        free(kms->region);
        free(kms);
}

void kms_answer_done(struct kms_answer *answer) {
        free(answer->key_arn);
        secret_free(answer->plaintext);
        free(answer->blob);
        free(answer->envelope);
        *answer = (struct kms_answer) {};
}

/* "com.amazonaws.kms#NotFoundException:http://..." names the same error as "NotFoundException". */
static void short_type(const char *type, char *out, size_t room) {
        const char *hash = strchr(type, '#');

        type = hash ? hash + 1 : type;
        snprintf(out, room, "%.*s", (int) strcspn(type, ":"), type);
}

/* A signature whose date is off is called invalid, like one by the wrong key. */
static bool is_skew(const struct service_answer *answer, const char *type, const char *message) {
        if (!streq(type, "InvalidSignatureException"))
                return false;
        return strstr(message, "Signature expired") || strstr(message, "Signature not yet current") ||
               llabs(service_clock_ahead(answer)) > MAX_SKEW_SECONDS;
}

bool kms_denial_is_of_key_policy(const char *reason) {
        struct denial d;

        if (!strstr(reason, "AccessDeniedException"))
                return false;
        return !denial_parse(reason, &d) || d.kind == DENIAL_UNNAMED || d.kind == DENIAL_RESOURCE;
}

/* KMS judges the document before it looks at the key policy; its words for that are not documented. */
static void advise_about_document(const char *message, struct error *e) {
        static const char *const of_time[] = { "expire", "older", "too old", "time", "validity", "not yet valid" };

        for (size_t i = 0; i < ELEMENTS(of_time); i++)
                if (strcasestr(message, of_time[i])) {
                        fail_advice(e,
                                    "The attestation document was too old for KMS, or its time, which the NitroTPM "
                                    "sets, is wrong: the boot report has it. Boot again; if it happens again, compare "
                                    "that time with the real one and tell AWS. The PCRs were not looked at.");
                        return;
                }
        fail_advice(e,
                    "KMS does not accept the attestation document itself; the PCRs and the key policy were not looked "
                    "at. Check that the KMS endpoint and this instance are in the same partition, and boot again.");
}

#define CONNECT_KEY_STORE \
        "The key is in a custom key store, which the key's owner must connect " \
        "(`aws kms connect-custom-key-store`)."

const char *kms_state_advice(const char *words) {
        static const struct {
                const char *words[2]; /* as errors say it, and as DescribeKey does */
                const char *advice;
        } table[] = {
                { { "pending import", "PendingImport" },
                  "The key has no key material: it was not imported yet, or has expired. The key's owner must import "
                  "it (`aws kms import-key-material`)." },
                { { "deletion", "Deletion" },
                  "The key's owner must cancel its deletion (`aws kms cancel-key-deletion`), and then enable it." },
                { { "key store", "Unavailable" }, CONNECT_KEY_STORE },
                { { "unavailable", "external key" }, CONNECT_KEY_STORE },
                { { "is disabled", "Disabled" }, "The key's owner must enable it (`aws kms enable-key`)." },
                { { "is creating", "Creating" },
                  "The replica of this multi-Region key is being made: try again in some minutes." },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (strcasestr(words, table[i].words[0]) || strcasestr(words, table[i].words[1]))
                        return table[i].advice;
        return NULL;
}

static void advise_about_key(const char *message, struct error *e) {
        const char *advice = kms_state_advice(message);

        if (advice)
                fail_advice(e, "%s", advice);
}

static void advise(const char *type, const char *message, struct error *e) {
        struct denial d;
        char advice[sizeof e->advice];

        if (!e)
                return;
        if (streq(type, "ValidationException"))
                advise_about_document(message, e);
        else if (!streq(type, "AccessDeniedException"))
                fail_advice(e, "KMS named the reason above: its API reference lists what %s means.", type);
        else if (denial_parse(message, &d) && d.kind != DENIAL_UNNAMED && d.kind != DENIAL_RESOURCE) {
                denial_advice(&d, "key policy", advice, sizeof advice);
                fail_advice(e, "%s", advice);
        }
}

enum http_verdict kms_judge_error(const struct service_answer *answer, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        const char *full = NULL, *message;
        char type[80] = "", words[1024];
        struct verdict v;

        if (json_parse(answer->text, answer->n, FAILURE_KMS_ANSWER, answer->subject, &o, NULL) == 0)
                full = answer_text(o, "__type");
        if (full)
                short_type(full, type, sizeof type);
        if (!full || !verdict_code_valid(type)) {
                v = verdict_of(VERDICT_KMS, answer->status, NULL, NULL);
                fail(e, v.failure, -EIO, answer->subject, "HTTP %ld%s%s without a KMS error in it", answer->status,
                     type[0] ? " " : "", type);
                return v.verdict;
        }
        message = answer_text(o, "message") ?: answer_text(o, "Message") ?: "no message";
        snprintf(words, sizeof words, "HTTP %ld %s: %s", answer->status, type, message);
        v = verdict_of(VERDICT_KMS, answer->status, type, message);
        if (v.failure == FAILURE_CLOCK || is_skew(answer, type, message))
                return service_clock_fail(answer, words, e);
        fail(e, v.failure, -EIO, answer->subject, "%s", words);
        if (v.failure == FAILURE_KMS_DENIED)
                advise(type, message, e);
        else if (streq(type, "DisabledException") || streq(type, "KMSInvalidStateException"))
                advise_about_key(message, e);
        return v.verdict;
}

/* Base64 of a member, if it is there. */
static int take_bytes(json_object *o, const char *key, const char *subject, uint8_t **ret, size_t *ret_n,
                      struct error *e) {
        const char *text = answer_text(o, key);
        int r;

        if (!text)
                return 0;
        r = base64_decode(text, strlen(text), ret, ret_n);
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r < 0 || *ret_n == 0)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "%s is not base64 of anything", key);
        return 0;
}

/* The plaintext passes from one locked secret to another by way of a buffer that is wiped. */
static int decode_plaintext(const struct secret *text, const char *subject, struct secret **ret, struct error *e) {
        uint8_t *bytes = NULL;
        size_t n = 0;
        int r;

        r = base64_decode((const char *) text->data, text->size, &bytes, &n);
        if (r == -EINVAL)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "Plaintext is not base64");
        if (r < 0)
                return fail_oom(e);
        r = secret_copy(bytes, n, ret);
        OPENSSL_cleanse(bytes, n);
        free(bytes);
        return r < 0 ? fail_oom(e) : 0;
}

int kms_parse_answer(char *text, size_t n, const char *subject, struct kms_answer *ret, struct error *e) {
        _cleanup_(kms_answer_done) struct kms_answer out = {};
        _cleanup_secret_ struct secret *plaintext = NULL;
        _cleanup_json_ json_object *o = NULL;
        const char *arn, *algorithm;
        int r, p;

        p = answer_take_secret(text, n, "Plaintext", &plaintext);
        if (p == -ENOMEM)
                return fail_oom(e);
        r = json_parse(text, n, FAILURE_KMS_ANSWER, subject, &o, e);
        if (r < 0)
                return r;
        if (p == -EBADMSG && answer_text(o, "Plaintext"))
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "Plaintext is not base64");
        arn = answer_text(o, "KeyId");
        if (!arn || strlen(arn) >= KMS_KEY_ARN_SIZE)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "the answer names no KeyId");
        algorithm = answer_text(o, "EncryptionAlgorithm");
        if (algorithm && !streq(algorithm, "SYMMETRIC_DEFAULT"))
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject,
                            "the encryption algorithm is %.64s, not SYMMETRIC_DEFAULT", algorithm);
        out.key_arn = strdup(arn);
        if (!out.key_arn)
                return fail_oom(e);
        if (plaintext && plaintext->size > 0 && (r = decode_plaintext(plaintext, subject, &out.plaintext, e)) < 0)
                return r;
        r = take_bytes(o, "CiphertextBlob", subject, &out.blob, &out.blob_size, e);
        if (r == 0)
                r = take_bytes(o, "CiphertextForRecipient", subject, &out.envelope, &out.envelope_size, e);
        if (r < 0)
                return r;
        *ret = TAKE_STRUCT(out);
        return 0;
}

struct operation {
        struct kms *kms;
        const struct kms_request *request;
        const char *region;
        const struct endpoint *endpoint;
        char subject[sizeof "kms key " + KMS_KEY_ARN_SIZE];
        unsigned attempts;
};

int kms_add_text(json_object *o, const char *key, const char *text) {
        json_object *s = json_object_new_string(text);

        return s && json_object_object_add(o, key, s) == 0 ? 0 : -ENOMEM;
}

static int add_base64(json_object *o, const char *key, const void *data, size_t n) {
        _cleanup_free_ char *text = NULL;

        if (base64_encode(data, n, &text) < 0)
                return -ENOMEM;
        return kms_add_text(o, key, text);
}

int kms_add_context(json_object *o, const struct pair *context, size_t n) {
        _cleanup_json_ json_object *map = json_object_new_object();

        if (!map)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (kms_add_text(map, context[i].name, context[i].value) < 0)
                        return -ENOMEM;
        return n == 0 || json_object_object_add(o, "EncryptionContext", TAKE(map)) == 0 ? 0 : -ENOMEM;
}

static int add_recipient(struct operation *op, struct error *e) {
        _cleanup_json_ json_object *recipient = NULL;
        _cleanup_free_ uint8_t *document = NULL;
        size_t n = 0;
        int r;

        r = op->request->attest(op->request->userdata, &document, &n, e);
        if (r < 0)
                return r;
        recipient = json_object_new_object();
        if (!recipient || kms_add_text(recipient, "KeyEncryptionAlgorithm", "RSAES_OAEP_SHA_256") < 0 ||
            add_base64(recipient, "AttestationDocument", document, n) < 0 ||
            json_object_object_add(op->request->body, "Recipient", TAKE(recipient)) != 0)
                return fail_oom(e);
        return 0;
}

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct operation *op = userdata;
        _cleanup_free_ char *body = NULL, *target = NULL;
        const char *text;
        int r;

        op->attempts++;
        if (op->request->attest) {
                r = add_recipient(op, e);
                if (r < 0)
                        return r;
        }
        text = json_object_to_json_string_ext(op->request->body,
                                              JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        body = text ? strdup(text) : NULL;
        if (!body || asprintf(&target, "TrentService.%s", op->request->operation) < 0)
                return fail_oom(e);
        r = service_prepare(op->kms->http, op->kms->credentials, &(struct service_request) {
                .endpoint = op->endpoint, .service = "kms", .region = op->region, .path = "/",
                .http = {
                        .method = "POST",
                        .headers = (struct pair[]) { { "content-type", "application/x-amz-json-1.1" },
                                                            { "x-amz-target", target } },
                        .n_headers = 2,
                        .body = body, .body_size = strlen(body),
                        .max_answer = MAX_ANSWER, .secret_answer = true, .timeout_ms = ATTEMPT_MS,
                        .subject = op->subject, .malformed = FAILURE_KMS_ANSWER,
                },
        }, easy, refresh, ret, e);
        if (r == 0)
                http_call_attach(*ret, TAKE(body), free);
        return r;
}

static enum http_verdict judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);
        struct service_answer answer;

        (void) userdata;
        if (verdict != HTTP_OK || http_call_status(call) == 200)
                return verdict;
        answer = service_answer(call);
        verdict = kms_judge_error(&answer, e);
        if (e)
                snprintf(e->request_id, sizeof e->request_id, "%s", http_call_request_id(call));
        return verdict;
}

/* An ARN must be the very one; an id must be its end; what an alias stands for only KMS knows. */
static bool key_matches(const char *asked, const char *answered) {
        _cleanup_free_ char *region = NULL;
        size_t n = strlen(asked), m = strlen(answered);

        if (strstr(asked, ":key/"))
                return streq(asked, answered);
        if (key_arn_region(answered, &region) < 0 || !strstr(answered, ":key/"))
                return false;
        if (strncmp(asked, "alias/", 6) == 0 || strstr(asked, ":alias/"))
                return true;
        return m > n && streq(answered + m - n, asked) && answered[m - n - 1] == '/';
}

static int run(struct operation *op, struct http_call **ret, struct error *e) {
        struct http_exchange exchange = { .prepare = prepare, .judge = judge, .userdata = op };
        _cleanup_endpoint_ struct endpoint endpoint = {};
        _cleanup_free_ char *region = NULL;
        int r;

        snprintf(op->subject, sizeof op->subject, "kms key %s", op->request->key);
        if (strlen(op->request->key) >= KMS_KEY_ARN_SIZE ||
            (strncmp(op->request->key, "arn:", 4) == 0 && key_arn_region(op->request->key, &region) < 0))
                return fail(e, FAILURE_KMS_KEY, -EINVAL, op->subject, "is not the ARN of a KMS key");
        op->region = region ?: op->kms->region;
        if (!op->region)
                return fail(e, FAILURE_CONFIG, -EINVAL, op->subject,
                            "no Region: the key is not named by its ARN, and none is configured");
        op->endpoint = &op->kms->endpoint;
        if (!op->endpoint->host) {
                r = endpoint_aws(NULL, "kms", op->region, &op->kms->choice, &endpoint, e);
                if (r < 0)
                        return r;
                op->endpoint = &endpoint;
        }
        return http_perform(op->kms->http, &exchange, &op->kms->policy, ret, e);
}

int kms_perform(struct kms *kms, const struct kms_request *request, struct kms_answer *ret,
                struct kms_outcome *ret_outcome, struct error *e) {
        struct operation op = { .kms = kms, .request = request };
        _cleanup_(kms_answer_done) struct kms_answer answer = {};
        _cleanup_http_call_ struct http_call *call = NULL;
        struct kms_outcome outcome;
        char *text;
        size_t n;
        int r;

        r = run(&op, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &n);
        r = kms_parse_answer(text, n, op.subject, &answer, e);
        if (r == 0 && !key_matches(request->key, answer.key_arn))
                r = fail(e, FAILURE_KMS_ANSWER, -EBADMSG, op.subject, "the answer is for another key, %s",
                         answer.key_arn);
        outcome.attempts = op.attempts;
        snprintf(outcome.request_id, sizeof outcome.request_id, "%s", http_call_request_id(call));
        if (r < 0) {
                if (e)
                        snprintf(e->request_id, sizeof e->request_id, "%s", outcome.request_id);
                return r;
        }
        *ret = TAKE_STRUCT(answer);
        if (ret_outcome)
                *ret_outcome = outcome;
        return 0;
}

int kms_decrypt_body(const struct kms_ciphertext *c, json_object **ret) {
        _cleanup_json_ json_object *body = json_object_new_object();

        if (!body || kms_add_text(body, "KeyId", c->key_arn) < 0 ||
            add_base64(body, "CiphertextBlob", c->blob, c->size) < 0 ||
            kms_add_context(body, c->context, c->n_context) < 0)
                return -ENOMEM;
        *ret = TAKE(body);
        return 0;
}

int kms_release(struct kms *kms, const struct kms_ciphertext *ciphertext, kms_attest attest, void *userdata,
                struct kms_release *ret, struct error *e) {
        _cleanup_(kms_answer_done) struct kms_answer answer = {};
        _cleanup_json_ json_object *body = NULL;
        struct kms_request request = {
                .operation = "Decrypt", .key = ciphertext->key_arn, .attest = attest, .userdata = userdata
        };
        struct kms_outcome outcome = {};
        int r;

        if (kms_decrypt_body(ciphertext, &body) < 0)
                return fail_oom(e);
        request.body = body;
        r = kms_perform(kms, &request, &answer, &outcome, e);
        if (r < 0)
                return r;
        if (answer.plaintext) {
                fail(e, FAILURE_KMS_ANSWER, -EBADMSG, ciphertext->key_arn,
                     "the answer has the plaintext data key in it, although the request named a recipient");
                fail_advice(e, "What answered did not honour Recipient and has seen the data key: treat it as "
                               "disclosed, check the KMS endpoint, and seal the model again.");
                return -EBADMSG;
        }
        if (!answer.envelope)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, ciphertext->key_arn,
                            "the answer has no CiphertextForRecipient");
        *ret = (struct kms_release) { .envelope = TAKE(answer.envelope),
                                      .size = answer.envelope_size,
                                      .attempts = outcome.attempts };
        memcpy(ret->request_id, outcome.request_id, sizeof ret->request_id);
        return 0;
}
