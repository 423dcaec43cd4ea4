/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Opening a sealed model: from the message header to the list of the model's files.
 *
 *   opening_begin_manifest() or opening_begin_single()   the header
 *   opening_accept()                                     the encrypted data keys that may be used; nothing secret yet
 *   key_candidates_try()                                 the caller asks KMS for the data key
 *   opening_read_manifest()                              the model, with the size and digest of each file
 *   the pipeline unseals the files
 *   opening_describe_single()                            the model that a single object is
 *   accepted_digest()                                    the digest of what was unsealed
 *
 * The agent and `sealboot unseal` share this. They differ in how they ask KMS, and in what they accept. */

#include "sealed/candidates.h"
#include "sealed/model.h"

/* What the reader of a sealed model accepts. All pointers are borrowed. */
struct accepted {
        const char *const *keys; /* ARNs of KMS keys; NULL: every key of AWS KMS */
        size_t n_keys;
        const char *keys_name; /* "pinned keys": what an error calls them */
        const struct pair *context;
        size_t n_context;
        const uint8_t (*digests)[MODEL_DIGEST]; /* the digests of allowed models; none: every model */
        size_t n_digests;
        const char *digests_name; /* "--digest": the setting that lists the digests, for errors */
        bool plain_digests;       /* the digests are of the file, not model digests: a manifest does not have them */
        bool any_iv;              /* see frame_head_check() */
};

struct opening {
        const char *subject; /* borrowed: the manifest or the single object, for errors */
        uint8_t *manifest;   /* the sealed manifest; NULL: the model is a single object */
        size_t manifest_size;
        struct message_header *manifest_header;
        const struct message_header *header; /* the manifest's; or borrowed, the single object's */
        char *single_name;                   /* the name of the single object's file */
        struct key_candidates candidates;
        struct secret *data_key; /* set by the caller */
        struct model *model;
};
void opening_done(struct opening *o);
/* Wipes the data key, and forgets the borrowed header. */
void opening_forget_key(struct opening *o);

/* Takes ownership of the manifest's bytes. */
int opening_begin_manifest(struct opening *o, uint8_t *manifest, size_t n, const char *subject, struct error *e);
/* `header` must stay valid until opening_forget_key(). */
void opening_begin_single(struct opening *o, const struct message_header *header, const char *subject);

/* Finds the candidates for the data key, at least one; checks the encryption context; names a single object's file.
 * `region`: the caller's, or NULL. FAILURE_KEY_NOT_PINNED, FAILURE_CONTEXT. */
int opening_accept(struct opening *o, const struct accepted *a, const char *region, struct error *e);

/* Needs the data key. Decrypts, authenticates and checks the manifest; refuses a model whose digest is not accepted
 * before any of its files is unsealed. */
int opening_read_manifest(struct opening *o, const struct accepted *a, struct error *e);
/* Makes the model of one file that a single object is. Its model digest is not set. */
int opening_describe_single(struct opening *o, uint64_t size, const uint8_t digest[static VERITY_DIGEST],
                            struct error *e);

/* FAILURE_DIGEST if only other digests are allowed. */
int accepted_digest(const struct accepted *a, const uint8_t digest[static MODEL_DIGEST], const char *subject,
                    struct error *e);
