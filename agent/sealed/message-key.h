/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The keys of a message, and the cipher of its header tag: what opening a message (sealed/message.h) and writing one
 * (policy/owner/message-write.h) share. Source: AWS Encryption SDK specification, framework/algorithm-suites.md,
 * data-format/message-header.md. */

#include <openssl/evp.h>

#include "sealed/message.h"

DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free, cipher_ctx_freep)

/* Derives the file key and the commit key of the message `id` from the data key. A caller that opens a message must
 * compare the commit key with the header's before it uses the file key. */
int message_keys_derive(const uint8_t id[static MESSAGE_ID_SIZE], const struct secret *data_key,
                        struct secret **ret_file_key, uint8_t commit_key[static MESSAGE_KEY_SIZE], struct error *e);

/* Readies the new context `ctx` for the header tag: GCM with an IV of zeros, without plaintext, over the header's body.
 * The caller gets or checks the tag. -EIO. */
int message_header_cipher(EVP_CIPHER_CTX *ctx, bool encrypt, const struct secret *file_key, const uint8_t *body,
                          size_t size);
