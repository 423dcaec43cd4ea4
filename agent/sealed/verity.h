/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The Linux fs-verity file digest, which `fsverity digest` prints: version 1, SHA-256, 4096-byte blocks, no salt.
 * Source: Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor".
 *
 * The tree is built from units of 512 KiB of data: 128 leaves, whose digests fill one hash block. Any thread may hash
 * any unit, in any order. A unit takes 32 bytes of memory, until 128 of them fill the hash block above and are freed:
 * memory does not grow with the file. */

#include "basic/failure.h"

enum {
        VERITY_BLOCK = 4096,
        VERITY_DIGEST = 32,
        VERITY_FANOUT = VERITY_BLOCK / VERITY_DIGEST,
        VERITY_UNIT = VERITY_BLOCK * VERITY_FANOUT,
};

/* Hashes blocks; each thread needs its own. verity_hash_new() takes the fastest engine of this CPU and build,
 * verity_hash_new_with() the one of that name, for tests and measurements. The digests are the same. */
struct verity_hash;
int verity_hash_new(struct verity_hash **ret, struct error *e);
/* -EOPNOTSUPP: this CPU or this build does not have that engine. */
int verity_hash_new_with(const char *engine, struct verity_hash **ret, struct error *e);
const char *verity_hash_engine(const struct verity_hash *h);
void verity_hash_free(struct verity_hash *h);
DEFINE_CLEANUP(struct verity_hash *, verity_hash_free, verity_hash_freep)

/* The name of the engine that verity_hash_new() takes here, and of each engine of this build: 0 is "openssl", which
 * runs everywhere; NULL: there is no such number. */
const char *verity_engine(void);
const char *verity_engine_name(size_t number);

/* Hashes the leaves in `data`: n bytes that begin at a block boundary of the file. A last block that is shorter is
 * padded with zeros. Writes VERITY_DIGEST bytes for each block. */
int verity_leaves(struct verity_hash *h, const uint8_t *data, size_t n, uint8_t *digests);

struct verity_tree;
/* For a file of `size` bytes. */
int verity_tree_new(uint64_t size, struct verity_tree **ret, struct error *e);
void verity_tree_free(struct verity_tree *t);
DEFINE_CLEANUP(struct verity_tree *, verity_tree_free, verity_tree_freep)
uint64_t verity_tree_units(const struct verity_tree *t);

/* Sets the digests of all leaves of one unit; the last unit of a file may have fewer than 128. May be called again for
 * the same unit: data that was hashed before its tag was checked may be fetched again. Threads may set different units
 * at the same time. */
int verity_tree_set(struct verity_tree *t, struct verity_hash *h, uint64_t unit, const uint8_t *leaves,
                    size_t n_leaves);
/* The unit, as it was set last, is authentic. Call exactly once for each unit: the hash block above may be freed then.
 */
int verity_tree_settle(struct verity_tree *t, struct verity_hash *h, uint64_t unit);
/* The digest of the file, once every unit is settled; before, -EAGAIN. */
int verity_tree_digest(struct verity_tree *t, struct verity_hash *h, uint8_t ret[static VERITY_DIGEST]);
