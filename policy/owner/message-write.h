/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writes the header of a sealed file. The format is drawn in sealed/message.h. The agent only opens sealed files: this
 * is not compiled for it. */

#include "sealed/message.h"

/* Builds a new header, with a new message id, keys derived from `data_key`, and the tag. Context and data keys are
 * copied; the context may come in any order but with distinct keys. *ret_file_key is the key its frames are encrypted
 * under. */
int message_header_new(const struct pair *context, size_t n_context, const struct message_data_key *data_keys,
                       size_t n_data_keys, uint32_t frame_length, const struct secret *data_key,
                       struct message_header **ret, struct secret **ret_file_key, struct error *e);

/* The size of the object that `plaintext_size` bytes are sealed into. */
uint64_t message_object_size(size_t header_size, uint32_t frame_length, uint64_t plaintext_size);
