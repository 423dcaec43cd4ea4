/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One frame after another through AES-256-GCM, streaming: begin, update as often as bytes come, finish. One cipher
 * context serves all frames of a connection; nothing is allocated per frame. In place is allowed (out == in). Source of
 * the AAD and IV rules: AWS Encryption SDK specification, data-format/message-body-aad.md. */

#include "sealed/message.h"

struct frame_cipher;

int frame_cipher_new(bool encrypt, struct frame_cipher **ret, struct error *e);
void frame_cipher_free(struct frame_cipher *c);
DEFINE_CLEANUP(struct frame_cipher *, frame_cipher_free, frame_cipher_freep)

/* The message whose frames follow. The key schedule is all that is kept of `file_key`. */
int frame_cipher_key(struct frame_cipher *c, const struct secret *file_key, const uint8_t id[static MESSAGE_ID_SIZE]);
/* -EIO from these means that OpenSSL failed, which is a defect, not an input. */
int frame_begin(struct frame_cipher *c, uint32_t seq, bool final, uint32_t plaintext_size,
                const uint8_t iv[static MESSAGE_IV_SIZE]);
int frame_update(struct frame_cipher *c, void *out, const void *in, size_t n);
/* Decrypting: -EBADMSG when the tag does not verify; what was put out is then worthless. */
int frame_open(struct frame_cipher *c, const uint8_t tag[static MESSAGE_TAG_SIZE]);
int frame_close(struct frame_cipher *c, uint8_t tag[static MESSAGE_TAG_SIZE]);

/* The IV every Encryption SDK writes: the sequence number, padded with zeros on the left. */
void frame_iv(uint32_t seq, uint8_t iv[static MESSAGE_IV_SIZE]);
/* Writes the bytes before the ciphertext and returns their number: MESSAGE_FRAME_HEAD or MESSAGE_FINAL_HEAD. */
size_t frame_head(uint8_t *out, uint32_t seq, bool final, uint32_t plaintext_size);

/* Checks the head of frame `index` (from 0; MESSAGE_FRAME_HEAD bytes, or MESSAGE_FINAL_HEAD for the last one) against
 * the geometry: marker, sequence number, length, and that the IV is the sequence number unless `any_iv` (AWS's own test
 * vectors hold others, no SDK writes them). FAILURE_SEALED_FORMAT otherwise. */
int frame_head_check(const struct message_geometry *g, uint32_t index, const uint8_t *head, bool any_iv,
                     uint8_t iv[static MESSAGE_IV_SIZE], const char *subject, struct error *e);

/* Encrypts one whole frame, head and tag included; returns the bytes written to `out`, or -EIO. */
ssize_t frame_seal(struct frame_cipher *c, uint32_t seq, bool final, const void *plaintext, uint32_t n, uint8_t *out);

/* A small message (a manifest) that is wholly in memory: header, frames, geometry, everything checked. *ret has one NUL
 * after it. */
int message_open(const struct message_header *h, const uint8_t *object, size_t size, const struct secret *data_key,
                 bool any_iv, const char *subject, uint8_t **ret, size_t *ret_n, struct error *e);
