/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/kms-write.h"

static int check_data_key(const struct kms_answer *answer, const char *subject, struct error *e) {
        if (!answer->plaintext || answer->plaintext->size != DATA_KEY_SIZE)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, subject, "the answer has no data key of %d bytes",
                            DATA_KEY_SIZE);
        return 0;
}

int kms_decrypt(struct kms *kms, const struct kms_ciphertext *ciphertext, struct secret **ret, struct error *e) {
        const struct kms_request request = {
                .operation = "Decrypt",
                .key = ciphertext->key_arn,
                .context = ciphertext->context,
                .n_context = ciphertext->n_context,
                .blob = ciphertext->blob,
                .blob_size = ciphertext->size,
        };
        _cleanup_kms_answer_ struct kms_answer answer = {};
        int r;

        r = kms_perform(kms, &request, &answer, e);
        if (r < 0)
                return r;
        r = check_data_key(&answer, ciphertext->key_arn, e);
        if (r < 0)
                return r;
        *ret = TAKE(answer.plaintext);
        return 0;
}

int kms_generate_data_key(struct kms *kms, const char *key, const struct pair *context, size_t n_context,
                          struct kms_data_key *ret, struct error *e) {
        const struct kms_request request = {
                .operation = "GenerateDataKey",
                .key = key,
                .context = context,
                .n_context = n_context,
                .more = &(struct pair) { "KeySpec", "AES_256" },
        };
        _cleanup_kms_answer_ struct kms_answer answer = {};
        int r;

        r = kms_perform(kms, &request, &answer, e);
        if (r < 0)
                return r;
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
