/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One part on its way from the network to the file: a run of frames, which arrives in pieces of any size. A connection
 * uses one struct part for all its parts, one after another. It owns all buffers that the way needs. */

#include "pipeline/job.h"
#include "sealed/frame.h"

enum {
        CHUNK = 128 * 1024,           /* what is hashed at once */
        WINDOW_MAX = 2 * 1024 * 1024, /* a huge page of the tmpfs: a write of a whole one need not clear it first */
};

struct raw_frame {
        uint8_t iv[MESSAGE_IV_SIZE];
        uint8_t tag[MESSAGE_TAG_SIZE];
};

enum part_phase { PART_HEADER, PART_HEAD, PART_BODY, PART_TAG, PART_FULL };

struct part {
        struct file *file;        /* NULL: idle */
        struct verity_hash *hash; /* the worker's */
        struct frame_cipher *cipher;
        const struct file *keyed; /* the file whose key the cipher has */

        uint32_t first, end; /* frames of this part */
        uint32_t frame;      /* the frame that arrives now */
        uint32_t checkpoint; /* after a failed transfer, the next begins with this frame */
        enum part_phase phase;
        bool live;     /* this frame is decrypted as it arrives */
        uint32_t left; /* bytes of its ciphertext that have not arrived */
        uint8_t iv[MESSAGE_IV_SIZE];
        uint8_t small[MESSAGE_FINAL_HEAD];
        size_t n_small;
        uint8_t *header; /* MESSAGE_HEADER_MAX bytes, for the header of a file's first part */
        size_t n_header;

        struct raw_frame *raw; /* the frames [first, first + n_raw) arrived before the data key */
        uint32_t n_raw, room_raw;

        uint8_t *data; /* the window: `window` bytes of the file, from a multiple of it on */
        size_t window;
        uint64_t position;            /* the place of the next plaintext byte in the file */
        uint64_t hashed;              /* the bytes before this place are decrypted and hashed */
        uint64_t flushed;             /* the bytes before this place are written */
        uint64_t settled;             /* the units before this one are settled */
        uint8_t leaves[VERITY_BLOCK]; /* leaf digests of the unit at `position` */
        struct error error;           /* why a function of this room failed */
};

int part_init(struct part *p, struct verity_hash *hash, struct error *e);
void part_done(struct part *p);

/* Begins the frames [first, end) of an open file. end 0: begins a file that is not open yet. `window`: the bytes that
 * are written at once, a power of two from CHUNK to WINDOW_MAX. */
int part_begin(struct part *p, struct file *file, uint32_t first, uint32_t end, size_t window);
/* The bytes of the object that the part still needs. part_feed() goes on with the first of them. */
void part_range(const struct part *p, uint64_t *ret_first, uint64_t *ret_last);
/* Takes the next bytes. `object_size`, `covered` and `etag` are of the object; they are used for a file's first part.
 * Bytes after the part's last frame are ignored. On failure p->error is filled. */
int part_feed(struct part *p, const uint8_t *data, size_t n, uint64_t object_size, uint64_t covered, const char *etag);
/* Whether all bytes have arrived. Frames that arrived before the data key are still ciphertext. */
static inline bool part_full(const struct part *p) {
        return p->phase == PART_FULL;
}
/* For a full part, once the job has its data key: decrypts what is still ciphertext, and counts the frames. */
int part_finish(struct part *p);
/* The transfer failed: forgets what is not authenticated. part_range() then has what to ask for. */
void part_rewind(struct part *p);
/* After part_rewind(): how far the part has come. A higher number than before the transfer: it made progress. */
uint64_t part_reached(const struct part *p);
