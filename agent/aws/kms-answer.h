/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What KMS answers: the members of a success, and what an error means. Nothing here uses the network. The failures of
 * an error: KMS_DENIED, KMS_KEY, KMS_CIPHERTEXT, KMS_UNAVAILABLE, KMS_ANSWER, CLOCK, CREDENTIALS; the reason quotes
 * KMS. Source: KMS API Reference, Decrypt and GenerateDataKey. */

#include "aws/service.h"
#include "basic/secret.h"

enum { KMS_KEY_ARN_SIZE = 2048 + 1, KMS_REQUEST_ID_SIZE = 96 };

struct kms_answer {
        char *key_arn;            /* KeyId */
        struct secret *plaintext; /* NULL: absent, as are the next two */
        uint8_t *blob;            /* CiphertextBlob */
        size_t blob_size;
        uint8_t *envelope; /* CiphertextForRecipient: CMS EnvelopedData in BER */
        size_t envelope_size;
        char request_id[KMS_REQUEST_ID_SIZE];
        unsigned attempts;
};
void kms_answer_done(struct kms_answer *answer);
#define _cleanup_kms_answer_ _cleanup_(kms_answer_done)

/* The members of a success; the last two members of *ret are the caller's to set. `text` is NUL-terminated and changed:
 * the plaintext is moved out of it. FAILURE_KMS_ANSWER. */
int kms_parse_answer(char *text, size_t n, const char *subject, struct kms_answer *ret, struct error *e);

/* Judges an answer whose status is not 200; fills e. */
enum http_verdict kms_judge_error(const struct service_answer *answer, struct error *e);

/* What the owner of a key must do so that it can be used, by KMS's error or by DescribeKey's KeyState; NULL: unknown.
 */
const char *kms_state_advice(const char *words);

/* Whether a KMS_DENIED is about the key policy and what was presented to it; false when a policy of another kind
 * refused, or none. */
bool kms_denial_is_of_key_policy(const char *reason);
