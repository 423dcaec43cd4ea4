/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Digests of a model on the owner's disk, by many threads. */

#include <openssl/evp.h>

#include "owner/progress.h"
#include "owner/source.h"

/* Fills the digest of every file, and the model's. */
int digest_source(struct source *s, unsigned n_threads, struct progress *progress, struct error *e);
/* The plain SHA-384 of the only file of a source, which images with "measure": "sha384" extend. SHA-384 of one file
 * takes one thread. */
int digest_sha384(const struct source *s, struct progress *progress, uint8_t ret[static MODEL_DIGEST], struct error *e);

/* The plain digest of one file, of the algorithm's size. */
int digest_file(const struct source *s, size_t index, const EVP_MD *algorithm, struct progress *progress, uint8_t *ret,
                struct error *e);

/* FAILURE_DIGEST if a file's path states another SHA-256 than the file has (sealed/content-address.h): an agent would
 * refuse it. And how many bytes this reads. */
int digest_check_addresses(const struct source *s, struct progress *progress, struct error *e);
uint64_t digest_addressed_bytes(const struct source *s);

/* Hashes a unit of a file, of n bytes, into the file's tree. -EIO. */
int digest_unit(struct verity_hash *hash, struct verity_tree *tree, uint64_t unit, const uint8_t *data, size_t n);
