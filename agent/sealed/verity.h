/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Linux fs-verity file digest: version 1, SHA-256, 4096-byte blocks, no salt. What `fsverity digest` prints.
 * Source: Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor".
 *
 * The tree is built from units of 512 KiB of data: 128 leaves, whose digests fill one hash block. Units may be hashed
 * in any order and by any thread; a unit is 32 bytes in memory until 128 of them fill the hash block above, so memory
 * stays flat. */

#include "basic/failure.h"

enum {
        VERITY_BLOCK = 4096,
        VERITY_DIGEST = 32,
        VERITY_FANOUT = VERITY_BLOCK / VERITY_DIGEST,
        VERITY_UNIT = VERITY_BLOCK * VERITY_FANOUT,
};

/* Hashes blocks; one per thread. The fastest way this CPU and build have, or with `portable` OpenSSL's: the digests are
 * the same. */
struct verity_hash;
int verity_hash_new(struct verity_hash **ret, struct error *e);
int verity_hash_new_portable(struct verity_hash **ret, struct error *e);
void verity_hash_free(struct verity_hash *h);
DEFINE_CLEANUP(struct verity_hash *, verity_hash_free, verity_hash_freep)

/* The digests of the leaves in `data`: n bytes that start at a block boundary of the file; the last block is padded
 * with zeros. Writes VERITY_DIGEST bytes per started block. */
int verity_leaves(struct verity_hash *h, const uint8_t *data, size_t n, uint8_t *digests);

struct verity_tree;
/* For a file of `size` bytes. */
int verity_tree_new(uint64_t size, struct verity_tree **ret, struct error *e);
void verity_tree_free(struct verity_tree *t);
DEFINE_CLEANUP(struct verity_tree *, verity_tree_free, verity_tree_freep)
uint64_t verity_tree_units(const struct verity_tree *t);

/* Sets the digests of one whole unit's leaves (fewer than 128 in the file's last unit). May be repeated: data that was
 * hashed on the way may turn out not to be authentic, and be fetched again. Units of different threads may come at the
 * same time. */
int verity_tree_set(struct verity_tree *t, struct verity_hash *h, uint64_t unit, const uint8_t *leaves,
                    size_t n_leaves);
/* The unit as set last is authentic. Each unit exactly once; its hash block above may be folded away at once. */
int verity_tree_settle(struct verity_tree *t, struct verity_hash *h, uint64_t unit);
/* After every unit was settled; -EAGAIN if not. */
int verity_tree_digest(struct verity_tree *t, struct verity_hash *h, uint8_t ret[static VERITY_DIGEST]);
