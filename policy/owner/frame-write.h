/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes frames, with a cipher that encrypts: frame_head(), then frame_begin(), frame_update() for each piece of bytes,
 * frame_close(). The agent only opens frames: this is not compiled for it. */

#include "sealed/frame.h"

/* Writes the bytes before the ciphertext and returns their number: MESSAGE_FRAME_HEAD or MESSAGE_FINAL_HEAD. */
size_t frame_head(uint8_t *out, uint32_t seq, bool final, uint32_t plaintext_size);
/* Ends a frame that is encrypted, and gives its tag. -EIO if OpenSSL failed. */
int frame_close(struct frame_cipher *c, uint8_t tag[static MESSAGE_TAG_SIZE]);

/* Encrypts one whole frame, with its head and tag. Returns the number of bytes written to `out`, or -EIO. */
ssize_t frame_seal(struct frame_cipher *c, uint32_t seq, bool final, const void *plaintext, uint32_t n, uint8_t *out);
