/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A message may hold its data key several times, encrypted under several KMS keys, so that any one of them opens it.
 * Here are those that may be asked, in the order of the message, and the asking: one by one, until one opens it.
 *
 * Of a multi-Region key the replica in one's own Region is asked first, then those that the caller and the message
 * name: the same key material opens the data key, and one's own Region is near and up when another is not. So, unlike
 * the Encryption SDK's multi-Region keyrings, which ask one replica alone, a Region without a replica costs one more
 * request, and nothing else. Source: AWS Encryption SDK specification, aws-kms-keyring,
 * aws-kms-mrk-aware-symmetric-keyring. */

#include "aws/kms.h"
#include "sealed/message.h"

/* More are not asked: a hostile header has room for hundreds, each of which may take until KMS's deadline. */
enum { KEY_CANDIDATES_MAX = 32 };

struct key_candidate {
        char *arn;                          /* that KMS is asked with */
        const struct message_data_key *key; /* borrowed from the header */
};

struct key_candidates {
        struct key_candidate items[KEY_CANDIDATES_MAX];
        size_t n;
        size_t left_out;            /* that were allowed, too */
        const struct pair *context; /* the header's; borrowed */
        size_t n_context;
};
void key_candidates_done(struct key_candidates *c);
#define _cleanup_key_candidates_ _cleanup_(key_candidates_done)

/* Those of AWS KMS that one of the `allowed` ARNs names, or a related replica of it; `allowed` NULL: any. `region`:
 * one's own, or NULL. Success with none found: *ret has n == 0. */
int key_candidates_find(const struct message_header *h, const char *const *allowed, size_t n_allowed,
                        const char *region, struct key_candidates *ret, struct error *e);

/* Asks for one; fills e. */
typedef int (*key_candidate_ask)(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e);
/* Told of each that did not open it, where another follows; may be NULL. */
typedef void (*key_candidate_refused)(void *userdata, const struct kms_ciphertext *ciphertext, const struct error *e);

/* Until one opens it. What concerns more than the one key (credentials, the clock, the TPM) ends it at once. When
 * several were asked in vain, the failure is the first one's, and the reason has each with what was said of it. */
int key_candidates_try(const struct key_candidates *c, const char *subject, key_candidate_ask ask,
                       key_candidate_refused refused, void *userdata, struct error *e);
