/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One part on its way from the wire to the page: a run of frames, fed in pieces of any size. One struct part serves one
 * connection after another part; it owns the only buffers the way needs. */

#include "pipeline/job.h"
#include "sealed/frame.h"

enum { CHUNK = 128 * 1024 };

struct raw_frame {
        uint8_t iv[MESSAGE_IV_SIZE];
        uint8_t tag[MESSAGE_TAG_SIZE];
};

enum part_phase { PART_HEADER, PART_HEAD, PART_BODY, PART_TAG, PART_FULL };

struct part {
        struct file *file;        /* NULL: idle */
        struct verity_hash *hash; /* the worker's */
        struct frame_cipher *cipher;
        const struct file *keyed; /* whose key the cipher has */

        uint32_t first, end; /* frames of this part */
        uint32_t frame;      /* the one being fed */
        uint32_t checkpoint; /* a failed transfer begins again here */
        enum part_phase phase;
        bool live;     /* this frame is decrypted as it comes */
        uint32_t left; /* ciphertext bytes it still lacks */
        uint8_t iv[MESSAGE_IV_SIZE];
        uint8_t small[MESSAGE_FINAL_HEAD];
        size_t n_small;
        uint8_t *header; /* MESSAGE_HEADER_MAX bytes while the first part's header is read */
        size_t n_header;

        struct raw_frame *raw; /* frames [first, first + n_raw) came before the key */
        uint32_t n_raw, room_raw;

        uint8_t *chunk;               /* CHUNK bytes: the file from a multiple of CHUNK */
        uint64_t position;            /* in the file: where the next plaintext byte goes */
        uint64_t flushed;             /* before here, the chunk's bytes are written */
        uint64_t settled;             /* units before this one are settled */
        uint8_t leaves[VERITY_BLOCK]; /* leaf digests of the unit at `position` */
        struct error error;           /* why part_feed() said no */
};

int part_init(struct part *p, struct verity_hash *hash, struct error *e);
void part_done(struct part *p);

/* Begins frames [first, end) of an open file; end 0: the beginning of a file that is not open. */
int part_begin(struct part *p, struct file *file, uint32_t first, uint32_t end);
/* The bytes of the object this part still wants, from where part_feed() will go on. */
void part_range(const struct part *p, uint64_t *ret_first, uint64_t *ret_last);
/* `object_size`, `covered` and `etag` are what the answer said of the object: used with a file's first part. Bytes
 * after the part's last frame are passed over. On failure p->error is filled. */
int part_feed(struct part *p, const uint8_t *data, size_t n, uint64_t object_size, uint64_t covered, const char *etag);
/* All bytes are there; what came before the key may still be ciphertext. */
static inline bool part_full(const struct part *p) {
        return p->phase == PART_FULL;
}
/* Full, and the key known: decrypts what is not, and counts the part. */
int part_finish(struct part *p);
/* The transfer failed: forget what is not authenticated. part_range() then says what to ask for. */
void part_rewind(struct part *p);
/* After part_rewind(): how far the part has come; more than before the transfer if that was of use. */
uint64_t part_reached(const struct part *p);
