/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/kms.h"

#include "aws/key-arn.h"
#include "basic/clock.h"
#include "basic/encode.h"
#include "basic/json.h"
#include "basic/utf8.h"

enum { DEADLINE_MS = 30000, ATTEMPT_MS = 15000, ATTEMPT_MIN_MS = 1000, MAX_ANSWER = 64 * 1024 };

struct kms {
        struct service service;
        struct retry_policy policy;
        bool is_store; /* an owner's own */
};

static int make(const struct service_access *access, const char *setting, unsigned deadline_ms, struct kms **ret,
                struct error *e) {
        _cleanup_(kms_freep) struct kms *kms = calloc(1, sizeof *kms);
        int r;

        if (!kms)
                return fail_oom(e);
        kms->policy =
                (struct retry_policy) { .deadline_ms = deadline_ms ?: DEADLINE_MS, .base_ms = 100, .cap_ms = 5000 };
        r = service_init(&kms->service, "kms", setting, access, e);
        if (r < 0)
                return r;
        kms->is_store = !access->credentials;
        *ret = TAKE(kms);
        return 0;
}

int kms_new(const struct service_access *access, unsigned deadline_ms, struct kms **ret, struct error *e) {
        return make(access, "KMS endpoint", deadline_ms, ret, e);
}

int kms_new_store(struct http *http, const char *url, unsigned deadline_ms, struct kms **ret, struct error *e) {
        const struct service_access access = { .http = http, .endpoint = { .url = url } };

        return make(&access, "key store", deadline_ms, ret, e);
}

void kms_free(struct kms *kms) {
        if (!kms)
                return;
        service_done(&kms->service);
        free(kms);
}

/* ---- the body of a request */

static int add_text(json_object *o, const char *key, const char *text) {
        json_object *s = json_object_new_string(text);

        return s && json_object_object_add(o, key, s) == 0 ? 0 : -ENOMEM;
}

static int add_base64(json_object *o, const char *key, const void *data, size_t n) {
        _cleanup_free_ char *text = NULL;

        return base64_encode(data, n, &text) < 0 ? -ENOMEM : add_text(o, key, text);
}

static int add_context(json_object *o, const struct pair *context, size_t n) {
        _cleanup_json_ json_object *map = json_object_new_object();

        if (!map)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (add_text(map, context[i].name, context[i].value) < 0)
                        return -ENOMEM;
        return n == 0 || json_object_object_add(o, "EncryptionContext", TAKE(map)) == 0 ? 0 : -ENOMEM;
}

static int add_recipient(json_object *o, const uint8_t *document, size_t n) {
        _cleanup_json_ json_object *recipient = json_object_new_object();

        if (!recipient || add_text(recipient, "KeyEncryptionAlgorithm", "RSAES_OAEP_SHA_256") < 0 ||
            add_base64(recipient, "AttestationDocument", document, n) < 0)
                return -ENOMEM;
        return json_object_object_add(o, "Recipient", TAKE(recipient)) == 0 ? 0 : -ENOMEM;
}

/* With a fresh attestation document, if there is to be a recipient. */
static int make_body(const struct kms_request *request, char **ret, struct error *e) {
        _cleanup_json_ json_object *body = json_object_new_object();
        _cleanup_free_ uint8_t *document = NULL;
        size_t n = 0;
        int r;

        if (request->attest) {
                r = request->attest(request->userdata, &document, &n, e);
                if (r < 0)
                        return r;
        }
        if (!body || add_text(body, "KeyId", request->key) < 0 ||
            (request->blob && add_base64(body, "CiphertextBlob", request->blob, request->blob_size) < 0) ||
            (request->more && add_text(body, request->more->name, request->more->value) < 0) ||
            add_context(body, request->context, request->n_context) < 0 ||
            (document && add_recipient(body, document, n) < 0))
                return fail_oom(e);
        *ret = strdup(json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
                              ?: "");
        return *ret ? 0 : fail_oom(e);
}

/* ---- one operation: its attempts, and what they have in common */

struct operation {
        struct kms *kms;
        const struct kms_request *request;
        char *region; /* the key ARN's; NULL: the service's */
        char subject[sizeof((struct error *) NULL)->subject];
        unsigned attempts;
        int64_t deadline_ns;
};

static void operation_done(struct operation *op) {
        free(op->region);
}

/* A server that sends a byte now and then must not hold up the boot for longer than the deadline. */
static unsigned attempt_ms(const struct operation *op) {
        int64_t left_ms = (op->deadline_ns - clock_ns()) / NS_PER_MS;

        return (unsigned) MAX_OF(MIN_OF(left_ms, (int64_t) ATTEMPT_MS), (int64_t) ATTEMPT_MIN_MS);
}

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct operation *op = userdata;
        _cleanup_free_ char *body = NULL, *target = NULL;
        int r;

        op->attempts++;
        r = make_body(op->request, &body, e);
        if (r < 0)
                return r;
        if (asprintf(&target, "TrentService.%s", op->request->operation) < 0)
                return fail_oom(e);
        r = service_prepare(&op->kms->service, &(struct service_request) {
                .region = op->region, .path = "/",
                .http = {
                        .method = "POST",
                        .headers = (struct pair[]) {
                                { "content-type", "application/x-amz-json-1.1" }, { "x-amz-target", target },
                        },
                        .n_headers = 2,
                        .body = body, .body_size = strlen(body),
                        .max_answer = MAX_ANSWER, .secret_answer = true, .own_connection = true,
                        .timeout_ms = attempt_ms(op), .subject = op->subject, .malformed = FAILURE_KMS_ANSWER,
                },
        }, easy, refresh, ret, e);
        if (r < 0)
                return r;
        http_call_attach(*ret, TAKE(body), free);
        return 0;
}

/* A key store is shown no credentials and no time of this machine, so it cannot refuse them. */
static enum http_verdict judge_store(enum http_verdict verdict, struct error *e) {
        if (!e)
                return verdict == HTTP_REFRESH ? HTTP_FINAL : verdict;
        if (e->failure != FAILURE_CREDENTIALS && e->failure != FAILURE_CLOCK)
                return verdict;
        e->failure = FAILURE_KMS_ANSWER;
        return HTTP_FINAL;
}

static enum http_verdict judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        const struct operation *op = userdata;
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK || http_call_status(call) == 200)
                return verdict;
        verdict = service_judge(call, NULL, kms_judge_error, e);
        return op->kms->is_store ? judge_store(verdict, e) : verdict;
}

static void name_key(const struct kms *kms, const char *key, char *ret, size_t n) {
        if (kms->is_store)
                snprintf(ret, n, "key store %s, key %s", kms->service.endpoint.origin, key);
        else
                snprintf(ret, n, "kms key %s", key);
}

/* What a key store says is its owner's to explain. */
static void advise(const struct kms *kms, struct error *e) {
        if (e && kms->is_store && e->failure >= FAILURE_KMS_DENIED && e->failure <= FAILURE_KMS_ANSWER)
                fail_advice(e, "The key store named above is the owner's own: ask the owner, whose log says why.");
}

void kms_blame(const struct kms *kms, const struct kms_answer *answer, struct error *e) {
        char key[sizeof e->subject], subject[sizeof e->subject];

        if (!e || e->failure != FAILURE_KMS_ANSWER)
                return;
        name_key(kms, answer->key_arn, key, sizeof key);
        snprintf(subject, sizeof subject, "%.440s%s%.64s", key, e->subject[0] ? ": " : "", e->subject);
        utf8_make_printable(subject); /* where a character was cut */
        memcpy(e->subject, subject, sizeof subject);
        snprintf(e->request_id, sizeof e->request_id, "%s", answer->request_id);
        advise(kms, e);
}

/* An ARN must be the same, and an id its end. Only KMS knows the key of an alias. */
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

static int read_answer(const struct operation *op, struct http_call *call, struct kms_answer *ret, struct error *e) {
        size_t n;
        char *text = http_call_text(call, &n);
        int r;

        r = kms_parse_answer(text, n, op->subject, ret, e);
        if (r < 0)
                return r;
        if (!key_matches(op->request->key, ret->key_arn))
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, op->subject, "the answer is for another key, %s",
                            ret->key_arn);
        return 0;
}

int kms_perform(struct kms *kms, const struct kms_request *request, struct kms_answer *ret, struct error *e) {
        _cleanup_(operation_done) struct operation op = { .kms = kms, .request = request };
        const struct http_exchange exchange = { .prepare = prepare, .judge = judge, .userdata = &op };
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_kms_answer_ struct kms_answer answer = {};
        int r;

        op.deadline_ns = clock_deadline_ns(kms->policy.deadline_ms);
        name_key(kms, request->key, op.subject, sizeof op.subject);
        if (strlen(request->key) >= KMS_KEY_ARN_SIZE ||
            (strncmp(request->key, "arn:", 4) == 0 && key_arn_region(request->key, &op.region) < 0))
                return fail(e, FAILURE_KMS_KEY, -EINVAL, op.subject, "it is not the ARN of a KMS key");
        if (!op.region && !kms->service.region)
                return fail(e, FAILURE_CONFIG, -EINVAL, op.subject,
                            "there is no Region: the key is not named by its ARN, and none is configured");
        r = http_perform(kms->service.http, &exchange, &kms->policy, &call, e);
        if (r < 0) {
                advise(kms, e);
                return r;
        }
        r = read_answer(&op, call, &answer, e);
        if (r < 0) {
                advise(kms, e);
                if (e)
                        snprintf(e->request_id, sizeof e->request_id, "%s", http_call_request_id(call));
                return r;
        }
        answer.attempts = op.attempts;
        snprintf(answer.request_id, sizeof answer.request_id, "%s", http_call_request_id(call));
        *ret = TAKE_STRUCT(answer);
        return 0;
}

/* ---- what a boot asks for */

int kms_release(struct kms *kms, const struct kms_ciphertext *ciphertext, kms_attest attest, void *userdata,
                struct kms_answer *ret, struct error *e) {
        const struct kms_request request = {
                .operation = "Decrypt",
                .key = ciphertext->key_arn,
                .context = ciphertext->context,
                .n_context = ciphertext->n_context,
                .blob = ciphertext->blob,
                .blob_size = ciphertext->size,
                .attest = attest,
                .userdata = userdata,
        };
        _cleanup_kms_answer_ struct kms_answer answer = {};
        int r;

        r = kms_perform(kms, &request, &answer, e);
        if (r < 0)
                return r;
        if (answer.plaintext) {
                fail(e, FAILURE_KMS_ANSWER, -EBADMSG, "",
                     "the answer has the plaintext data key in it, although the request named a recipient");
                kms_blame(kms, &answer, e);
                fail_advice(e, "What answered ignored the Recipient and has seen the data key: treat the key as "
                               "disclosed, check the KMS endpoint, and seal the model again.");
                return -EBADMSG;
        }
        if (!answer.envelope) {
                fail(e, FAILURE_KMS_ANSWER, -EBADMSG, "", "the answer has no CiphertextForRecipient");
                kms_blame(kms, &answer, e);
                return -EBADMSG;
        }
        *ret = TAKE_STRUCT(answer);
        return 0;
}
