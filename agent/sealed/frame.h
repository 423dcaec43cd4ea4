/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Encrypts or decrypts frames with AES-256-GCM, as a stream: frame_begin(), frame_update() for each piece of bytes,
 * then frame_open(), or frame_close() of policy/owner/frame-write.h. One cipher context serves all frames of a
 * connection; nothing is allocated per frame. `out` may be `in`. Source of the AAD and IV rules: AWS Encryption SDK
 * specification, data-format/message-body-aad.md. */

#include "sealed/message.h"

struct frame_cipher;

int frame_cipher_new(bool encrypt, struct frame_cipher **ret, struct error *e);
void frame_cipher_free(struct frame_cipher *c);
DEFINE_CLEANUP(struct frame_cipher *, frame_cipher_free, frame_cipher_freep)

/* Sets the message whose frames follow. Only the key schedule of `file_key` is kept. */
int frame_cipher_key(struct frame_cipher *c, const struct secret *file_key, const uint8_t id[static MESSAGE_ID_SIZE]);
/* These return -EIO if OpenSSL failed. Input alone cannot cause that. */
int frame_begin(struct frame_cipher *c, uint32_t seq, bool final, uint32_t plaintext_size,
                const uint8_t iv[static MESSAGE_IV_SIZE]);
int frame_update(struct frame_cipher *c, void *out, const void *in, size_t n);
/* Ends a frame that is decrypted: -EBADMSG if the tag does not verify. The output must not be used then. */
int frame_open(struct frame_cipher *c, const uint8_t tag[static MESSAGE_TAG_SIZE]);

/* The IV that every Encryption SDK writes: the sequence number, with zeros on the left. */
void frame_iv(uint32_t seq, uint8_t iv[static MESSAGE_IV_SIZE]);

/* Checks the head of frame `index` (from 0; MESSAGE_FRAME_HEAD bytes, or MESSAGE_FINAL_HEAD for the last one) against
 * the geometry: marker, sequence number, length. The IV must be the sequence number unless `any_iv`: AWS's own test
 * vectors have other IVs, though no SDK writes them. FAILURE_SEALED_FORMAT. */
int frame_head_check(const struct message_geometry *g, uint32_t index, const uint8_t *head, bool any_iv,
                     uint8_t iv[static MESSAGE_IV_SIZE], const char *subject, struct error *e);

/* Decrypts a small message, a manifest, that is in memory. Checks everything: header, geometry, frames. A NUL follows
 * the plaintext. */
int message_open(const struct message_header *h, const uint8_t *object, size_t size, const struct secret *data_key,
                 bool any_iv, const char *subject, uint8_t **ret, size_t *ret_n, struct error *e);
