/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A message may hold its data key several times, encrypted under several KMS keys: any one of them opens it. This finds
 * the KMS keys that may be asked, in the order of the message, and asks them one by one, until one opens the data key.
 *
 * All replicas of a multi-Region key have the same key material. The replica in the caller's own Region is asked first:
 * it is near, and it works while another Region does not. Then come the replicas that the caller and the message name.
 * (The Encryption SDK's multi-Region keyrings ask one replica alone.) A Region without a replica costs one more
 * request. Source: AWS Encryption SDK specification, aws-kms-keyring, aws-kms-mrk-aware-symmetric-keyring. */

#include "aws/kms.h"
#include "sealed/message.h"

/* No more are asked. A hostile header has room for hundreds of keys, and each may take until KMS's deadline. */
enum { KEY_CANDIDATES_MAX = 32 };

struct key_candidate {
        char *arn;                          /* the name of the key in the request to KMS */
        const struct message_data_key *key; /* borrowed from the header */
};

struct key_candidates {
        struct key_candidate items[KEY_CANDIDATES_MAX];
        size_t n;
        size_t left_out;            /* how many more there were */
        const struct pair *context; /* the header's; borrowed */
        size_t n_context;
};
void key_candidates_done(struct key_candidates *c);
#define _cleanup_key_candidates_ _cleanup_(key_candidates_done)

/* Finds the keys of AWS KMS that an ARN of `allowed` names, or that are replicas of such a key; `allowed` NULL: every
 * key of AWS KMS. `region`: the caller's, or NULL. If there is none, *ret has n == 0, which is no error. */
int key_candidates_find(const struct message_header *h, const char *const *allowed, size_t n_allowed,
                        const char *region, struct key_candidates *ret, struct error *e);

/* Asks KMS to open this data key. */
typedef int (*key_candidate_ask)(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e);
/* Called for each key that did not open the data key, if another key follows. May be NULL. */
typedef void (*key_candidate_refused)(void *userdata, const struct kms_ciphertext *ciphertext, const struct error *e);

/* Asks one key after another, until one opens the data key. A failure that concerns more than one key (credentials, the
 * clock, the TPM) ends it at once. If several keys failed, the error is that of the first, with a reason that lists
 * all.
 */
int key_candidates_try(const struct key_candidates *c, const char *subject, key_candidate_ask ask,
                       key_candidate_refused refused, void *userdata, struct error *e);
