/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The bounds-checked cursor that every binary format is read with. It borrows its bytes; nothing here allocates.
 * Every read returns 0, or -EBADMSG when fewer bytes are left than asked for; the cursor then stays where it was,
 * so that `r->offset` tells an error message where the input ended. Outputs are written only on success. */

#include "basic/macros.h"

struct reader {
        const uint8_t *data;
        size_t size;
        size_t offset;
};

static inline struct reader reader_over(const void *data, size_t size) {
        return (struct reader) { .data = data, .size = size };
}

static inline size_t reader_left(const struct reader *r) {
        return r->size - r->offset;
}

/* Borrows the next n bytes; n may be 0. */
int reader_bytes(struct reader *r, size_t n, const uint8_t **ret) _must_check_;
int reader_copy(struct reader *r, void *out, size_t n) _must_check_;
int reader_skip(struct reader *r, size_t n) _must_check_;
/* A cursor over the next n bytes, which the outer one then has passed. */
int reader_sub(struct reader *r, size_t n, struct reader *ret) _must_check_;
/* Jumps to an absolute offset, which may be the end. */
int reader_seek(struct reader *r, size_t offset) _must_check_;

int reader_u8(struct reader *r, uint8_t *ret) _must_check_;
int reader_be16(struct reader *r, uint16_t *ret) _must_check_;
int reader_be32(struct reader *r, uint32_t *ret) _must_check_;
int reader_be64(struct reader *r, uint64_t *ret) _must_check_;
int reader_le16(struct reader *r, uint16_t *ret) _must_check_;
int reader_le32(struct reader *r, uint32_t *ret) _must_check_;
int reader_le64(struct reader *r, uint64_t *ret) _must_check_;
