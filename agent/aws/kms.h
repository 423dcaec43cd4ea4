/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* AWS KMS: Decrypt for an attested recipient. (policy/owner/kms-write.h adds what an owner does.) JSON 1.1 over SigV4.
 * What is tried again under a deadline stands in verdict.c. Failures: KMS_DENIED, KMS_KEY, KMS_CIPHERTEXT,
 * KMS_UNAVAILABLE, KMS_ANSWER, CLOCK, CREDENTIALS, NETWORK; the reason carries KMS's own words, the error its request
 * id. Source: KMS API Reference, Decrypt. */

#include "aws/credential-source.h"
#include "aws/endpoint.h"
#include "aws/http.h"
#include "basic/json.h"
#include "basic/pair.h"

struct kms;

enum { KMS_KEY_ARN_SIZE = 2048 + 1, KMS_REQUEST_ID_SIZE = 96 };

/* `region` signs requests whose key is not an ARN (an ARN's own region wins), and may be NULL when all are.
 * `deadline_ms` bounds each function's attempts; 0: 30 s. `http` and `credentials` must outlive it. */
int kms_new(struct http *http, struct credential_source *credentials, const char *region,
            const struct endpoint_choice *endpoint, unsigned deadline_ms, struct kms **ret, struct error *e);
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

struct kms_release {
        uint8_t *envelope; /* CiphertextForRecipient: CMS EnvelopedData in BER */
        size_t size;
        char request_id[KMS_REQUEST_ID_SIZE];
        unsigned attempts;
};
static inline void kms_release_done(struct kms_release *r) {
        free(r->envelope);
}

/* Decrypt with Recipient. An answer with a Plaintext is refused. On failure *ret is untouched. */
int kms_release(struct kms *kms, const struct kms_ciphertext *ciphertext, kms_attest attest, void *userdata,
                struct kms_release *ret, struct error *e);

/* What the owner of a key must do for it to be usable, by KMS's error or by DescribeKey's KeyState; NULL: not known. */
const char *kms_state_advice(const char *words);

/* Why KMS_DENIED is not about what was presented: false when another policy than the key's refused, or none. */
bool kms_denial_is_of_key_policy(const char *reason);

/* What an answer's text holds; absent members are NULL. */
struct kms_answer {
        char *key_arn;
        struct secret *plaintext;
        uint8_t *blob; /* CiphertextBlob */
        size_t blob_size;
        uint8_t *envelope; /* CiphertextForRecipient */
        size_t envelope_size;
};
void kms_answer_done(struct kms_answer *answer);

/* One signed operation with retries, for what policy/owner/kms-write.h adds. */
struct kms_request {
        const char *operation; /* "Decrypt" */
        const char *key;       /* ARN, id, alias/NAME or alias ARN; the answer must be of it */
        json_object *body;     /* all but the Recipient */
        kms_attest attest;     /* NULL: no recipient */
        void *userdata;
};
struct kms_outcome {
        char request_id[KMS_REQUEST_ID_SIZE];
        unsigned attempts;
};
/* `ret_outcome` may be NULL. */
int kms_perform(struct kms *kms, const struct kms_request *request, struct kms_answer *ret,
                struct kms_outcome *ret_outcome, struct error *e);
/* The parts of a body; -ENOMEM. */
int kms_add_text(json_object *body, const char *member, const char *text);
int kms_add_context(json_object *body, const struct pair *context, size_t n);
int kms_decrypt_body(const struct kms_ciphertext *ciphertext, json_object **ret);

/* For tests and fuzzing. `text` is NUL-terminated, and changed: the plaintext is moved out of it. */
int kms_parse_answer(char *text, size_t n, const char *subject, struct kms_answer *ret, struct error *e);
/* Judges an answer whose status is not 200; fills e. */
struct service_answer;
enum http_verdict kms_judge_error(const struct service_answer *answer, struct error *e);
