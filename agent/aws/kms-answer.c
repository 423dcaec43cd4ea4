/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/kms-answer.h"

#include <openssl/crypto.h>

#include "aws/answer.h"
#include "aws/denial.h"
#include "aws/verdict.h"
#include "basic/encode.h"

enum { MAX_SKEW_SECONDS = 5 * 60 };

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

/* KMS calls a signature with a wrong date invalid, as it does one by the wrong key. */
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

/* KMS checks the document before the key policy. Its messages about the document are not documented. */
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
                fail(e, v.failure, -EIO, answer->subject, "the answer is HTTP %ld%s%s without a KMS error in it",
                     answer->status, type[0] ? " " : "", type);
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

/* Decodes a member from base64; without the member, *ret stays. */
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
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "%s is not base64, or it is empty", key);
        return 0;
}

/* From one locked secret into another; the buffer between them is wiped. */
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
        if (p < 0 && answer_text(o, "Plaintext")) /* -ENOENT: its name is written with escapes */
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "Plaintext is not base64");
        arn = answer_text(o, "KeyId");
        if (!arn || !arn[0] || strlen(arn) >= KMS_KEY_ARN_SIZE)
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
        if (r < 0)
                return r;
        r = take_bytes(o, "CiphertextForRecipient", subject, &out.envelope, &out.envelope_size, e);
        if (r < 0)
                return r;
        *ret = TAKE_STRUCT(out);
        return 0;
}
