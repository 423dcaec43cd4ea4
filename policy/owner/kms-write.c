/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/kms-write.h"

static int check_data_key(const struct kms_answer *answer, const char *subject, struct error *e) {
        if (!answer->plaintext || answer->plaintext->size != DATA_KEY_SIZE)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "the answer has no data key of %d bytes",
                            DATA_KEY_SIZE);
        return 0;
}

int kms_decrypt(struct kms *kms, const struct kms_ciphertext *ciphertext, struct secret **ret, struct error *e) {
        struct kms_request request = { .operation = "Decrypt", .key = ciphertext->key_arn };
        _cleanup_(kms_answer_done) struct kms_answer answer = {};
        _cleanup_json_ json_object *body = NULL;
        int r;

        if (kms_decrypt_body(ciphertext, &body) < 0)
                return fail_oom(e);
        request.body = body;
        r = kms_perform(kms, &request, &answer, NULL, e);
        if (r == 0)
                r = check_data_key(&answer, ciphertext->key_arn, e);
        if (r == 0)
                *ret = TAKE(answer.plaintext);
        return r;
}

int kms_generate_data_key(struct kms *kms, const char *key, const struct pair *context, size_t n_context,
                          struct kms_data_key *ret, struct error *e) {
        _cleanup_(kms_answer_done) struct kms_answer answer = {};
        _cleanup_json_ json_object *body = json_object_new_object();
        const struct kms_request request = { .operation = "GenerateDataKey", .key = key, .body = body };
        int r;

        if (!body || kms_add_text(body, "KeyId", key) < 0 || kms_add_text(body, "KeySpec", "AES_256") < 0 ||
            kms_add_context(body, context, n_context) < 0)
                return fail_oom(e);
        r = kms_perform(kms, &request, &answer, NULL, e);
        if (r == 0)
                r = check_data_key(&answer, key, e);
        if (r < 0)
                return r;
        if (!answer.blob)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, key, "the answer has no CiphertextBlob");
        *ret = (struct kms_data_key) { .plaintext = TAKE(answer.plaintext),
                                       .blob = TAKE(answer.blob),
                                       .size = answer.blob_size };
        snprintf(ret->key_arn, sizeof ret->key_arn, "%s", answer.key_arn);
        return 0;
}
