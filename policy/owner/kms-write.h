/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests to KMS that only owners make: for a data key to seal with, and for its plaintext again. */

#include "aws/kms.h"

/* Decrypt to a data key of DATA_KEY_SIZE bytes. */
int kms_decrypt(struct kms *kms, const struct kms_ciphertext *ciphertext, struct secret **ret, struct error *e);

struct kms_data_key {
        struct secret *plaintext; /* DATA_KEY_SIZE bytes */
        uint8_t *blob;            /* the same, encrypted */
        size_t size;
        char key_arn[KMS_KEY_ARN_SIZE]; /* the key that KMS used; an alias resolved */
};
static inline void kms_data_key_done(struct kms_data_key *k) {
        secret_free(k->plaintext);
        free(k->blob);
}

/* `key`: ARN, id, alias/NAME or alias ARN. */
int kms_generate_data_key(struct kms *kms, const char *key, const struct pair *context, size_t n_context,
                          struct kms_data_key *ret, struct error *e);
