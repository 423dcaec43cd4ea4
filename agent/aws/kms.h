/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who releases data keys: AWS KMS, or a key store of an owner's own that answers the same request. Decrypt for an
 * attested recipient. (policy/owner/kms-write.h adds what an owner does.) JSON 1.1 over SigV4.
 * Requests are tried again under a deadline: verdict.c says which. Failures: those of kms-answer.h, and NETWORK.
 * Source: KMS API Reference, Decrypt. */

#include "aws/kms-answer.h"
#include "basic/pair.h"

struct kms;

/* The Region of `access` signs requests whose key is not an ARN (an ARN's own Region wins), and may be NULL when all
 * are. `deadline_ms` bounds the attempts of each request, and how long the last of them takes: at most a second longer.
 * 0: 30 s. */
int kms_new(const struct service_access *access, unsigned deadline_ms, struct kms **ret, struct error *e);
/* A key store at `url`, an https URL of a host and a port. Its requests are not signed: the attestation document is
 * what it judges by. `http` has the authorities that are trusted for it, and must outlive it. */
int kms_new_store(struct http *http, const char *url, unsigned deadline_ms, struct kms **ret, struct error *e);
void kms_free(struct kms *kms);
DEFINE_CLEANUP(struct kms *, kms_free, kms_freep)

struct kms_ciphertext {
        const char *key_arn; /* the pinned key: sent as KeyId, and the answer must name it */
        const uint8_t *blob; /* an encrypted data key, at most 6144 bytes */
        size_t size;
        const struct pair *context; /* the encryption context */
        size_t n_context;
};

/* Makes an attestation document over the ephemeral public key; called anew for every attempt. *ret is malloc'ed. */
typedef int (*kms_attest)(void *userdata, uint8_t **ret, size_t *ret_n, struct error *e);

/* Decrypt with Recipient: *ret has an envelope. An answer with a Plaintext is refused. On failure *ret is untouched. */
int kms_release(struct kms *kms, const struct kms_ciphertext *ciphertext, kms_attest attest, void *userdata,
                struct kms_answer *ret, struct error *e);

/* Completes a FAILURE_KMS_ANSWER about a part of this answer, which is its subject: names the key, the request id, and
 * the key store, whose owner is to be asked. */
void kms_blame(const struct kms *kms, const struct kms_answer *answer, struct error *e);

/* One operation, for kms_release() and for what policy/owner/kms-write.h adds. */
struct kms_request {
        const char *operation;      /* "Decrypt" */
        const char *key;            /* ARN, id, alias/NAME or alias ARN: sent as KeyId, and the answer must be of it */
        const struct pair *context; /* the encryption context */
        size_t n_context;
        const uint8_t *blob; /* CiphertextBlob; NULL: none */
        size_t blob_size;
        const struct pair *more; /* one more member of the request; NULL: none */
        kms_attest attest;       /* for the Recipient; NULL: none */
        void *userdata;
};
int kms_perform(struct kms *kms, const struct kms_request *request, struct kms_answer *ret, struct error *e);
