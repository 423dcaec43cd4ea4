/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Seals one file. The file is cut into parts, which are runs of whole frames. Threads seal parts in any order, each
 * part exactly once, into a buffer of the thread. An upload is repeated from that buffer: a part that is read again
 * might have changed, and sealing it again would use a nonce twice. Each unit of plaintext is read, hashed and
 * encrypted while it is in the cache. */

#include "owner/source-file.h"
#include "sealed/message.h"

enum {
        /* Powers of two, so that frames, parts and units of the fs-verity tree end together. */
        SEAL_FRAME_LENGTH_MIN = 4096,
        SEAL_FRAME_LENGTH_MAX = 16 * 1024 * 1024,
        SEAL_PART_BYTES = 8 * 1024 * 1024, /* at least: large files have larger parts, since S3 takes 10,000 */
        SEAL_PARTS_MAX = 10000,
};

/* What all files of one model share, so that KMS is asked once. */
struct seal_key {
        const struct secret *data_key;
        struct message_data_key encrypted;
        const struct pair *context;
        size_t n_context;
        uint32_t frame_length;
};

struct seal_file {
        struct source_file source; /* open; its fd -1 before and after */
        uint64_t size;
        struct message_header *header;
        struct secret *key;
        struct verity_tree *tree;
};

/* Plaintext bytes in each part but the last, and their number (at least 1). */
uint64_t seal_part_bytes(uint64_t size, uint32_t frame_length);
uint64_t seal_parts(uint64_t size, uint32_t frame_length);

/* Makes a fresh header and file key. Call seal_file_close() whatever this returns. */
int seal_file_open(const struct source *s, size_t index, const struct seal_key *key, struct seal_file *ret,
                   struct error *e);
/* The digest, after every part was sealed. Fails if the file was changed meanwhile. */
int seal_file_digest(const struct seal_file *f, struct verity_hash *hash, uint8_t ret[static VERITY_DIGEST],
                     struct error *e);
void seal_file_close(struct seal_file *f);

/* What a thread needs to seal parts; the buffer grows to the largest part it met. */
struct sealer;
int sealer_new(struct sealer **ret, struct error *e);
void sealer_free(struct sealer *s);
DEFINE_CLEANUP(struct sealer *, sealer_free, sealer_freep)
struct verity_hash *sealer_hash(struct sealer *s);

struct sealed_part {
        const uint8_t *data; /* the sealer's, until its next part */
        size_t size;
        uint64_t offset; /* in the object */
        uint64_t plaintext;
};
/* Part `index`, from 0; the first has the header. */
int seal_part(struct sealer *s, struct seal_file *f, uint64_t index, struct sealed_part *ret, struct error *e);

/* Seals a small message in memory, such as a manifest. The caller frees *ret. */
int seal_bytes(const struct seal_key *key, const void *data, size_t n, uint8_t **ret, size_t *ret_n, struct error *e);
