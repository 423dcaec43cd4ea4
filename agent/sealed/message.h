/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sealed file is one AWS Encryption SDK message, format version 2, algorithm suite 0x0478 (AES-256-GCM, HKDF-SHA512,
 * key commitment, no signature), framed. Source: AWS Encryption SDK specification, data-format/message-header.md,
 * message-body.md, message-body-aad.md and framework/algorithm-suites.md.
 *
 *   header body  02 | suite u16 | message id 32 | u16 length of [u16 n, (u16 len key, u16 len value) * n]
 *                | u16 count of (u16 len provider, u16 len info, u16 len ciphertext) | content type 02
 *                | u32 frame length L | commit key 32
 *   header tag   16 bytes: AES-256-GCM(file key, IV 0^12, no plaintext, AAD = header body)
 *   frame        u32 seq | IV 12 | ciphertext L | tag 16
 *   final frame  FFFFFFFF | u32 seq | IV 12 | u32 n | ciphertext n | tag 16, 0 <= n <= L
 *
 * Integers are big-endian. A parsed header is hostile until message_file_key() has returned 0. */

#include "basic/failure.h"
#include "basic/pair.h"
#include "basic/secret.h"

enum {
        MESSAGE_VERSION = 0x02,
        MESSAGE_SUITE = 0x0478,
        MESSAGE_FRAMED = 0x02, /* content type */
        MESSAGE_ID_SIZE = 32,
        MESSAGE_KEY_SIZE = 32, /* file key, commit key */
        MESSAGE_IV_SIZE = 12,
        MESSAGE_TAG_SIZE = 16,
        MESSAGE_FRAME_HEAD = 4 + MESSAGE_IV_SIZE,
        MESSAGE_FINAL_HEAD = 4 + 4 + MESSAGE_IV_SIZE + 4,
        MESSAGE_FRAME_EXTRA = MESSAGE_FRAME_HEAD + MESSAGE_TAG_SIZE,
        MESSAGE_FINAL_EXTRA = MESSAGE_FINAL_HEAD + MESSAGE_TAG_SIZE,
        MESSAGE_FRAME_LENGTH = 1024 * 1024, /* that seal writes; any other is read, too */
        /* A limit for hostile headers. No SDK writes such long ones: one key of AWS KMS and a short context take 400
         * bytes. */
        MESSAGE_HEADER_MAX = 64 * 1024,
};

#define MESSAGE_FINAL_MARK UINT32_C(0xffffffff)

struct message_data_key {
        char *provider; /* "aws-kms" */
        char *info;     /* of "aws-kms" the key ARN, of other providers any bytes; a NUL follows them */
        size_t info_size;
        uint8_t *ciphertext;
        size_t ciphertext_size;
};

struct message_header {
        uint8_t id[MESSAGE_ID_SIZE];
        struct pair *context; /* owned; ascending by name */
        size_t n_context;
        struct message_data_key *data_keys;
        size_t n_data_keys;
        uint32_t frame_length; /* >= 1 */
        uint8_t commit_key[MESSAGE_KEY_SIZE];
        uint8_t tag[MESSAGE_TAG_SIZE];
        uint8_t *bytes;   /* body and tag, as the object has them */
        size_t body_size; /* of the body, which the tag authenticates */
        size_t size;      /* of body and tag */
};

/* Where the frames of a message are. The header and the object's size suffice to know it. */
struct message_geometry {
        uint64_t object_size;
        uint64_t header_size;
        uint64_t plaintext_size;
        uint32_t frame_length;
        uint32_t n_frames;     /* with the final frame; >= 1 */
        uint32_t final_length; /* plaintext bytes of the final frame */
};

/* Parses the header at the beginning of `data`. -EAGAIN: it is well-formed so far, and more bytes are needed; never if
 * `size` has reached MESSAGE_HEADER_MAX. FAILURE_SUITE: another suite, with the reason why it is refused.
 * FAILURE_SEALED_FORMAT: malformed. The caller frees *ret. */
int message_header_parse(const uint8_t *data, size_t size, const char *subject, struct message_header **ret,
                         struct error *e);
void message_header_free(struct message_header *h);
DEFINE_CLEANUP(struct message_header *, message_header_free, message_header_freep)
#define _cleanup_message_header_ _cleanup_(message_header_freep)

bool message_header_same_context(const struct message_header *a, const struct message_header *b);
/* Whether both have the same encryption context and the same encrypted data keys: one KMS call opens both. */
bool message_header_same_key(const struct message_header *a, const struct message_header *b);
/* The value of a context key, or NULL. */
const char *message_header_context(const struct message_header *h, const char *key);

/* Derives the file key, and checks it: the key commitment, in constant time, then the header tag.
 * FAILURE_AUTHENTICATION. */
int message_file_key(const struct message_header *h, const struct secret *data_key, const char *subject,
                     struct secret **ret, struct error *e);

/* Refuses a size that no sequence of frames has: the object is truncated, or has bytes after the final frame. */
int message_geometry(const struct message_header *h, uint64_t object_size, const char *subject,
                     struct message_geometry *ret, struct error *e);
/* Frames are numbered from 0 here; their sequence number in the message is index + 1. */
uint64_t message_frame_offset(const struct message_geometry *g, uint32_t index);
uint32_t message_frame_plaintext(const struct message_geometry *g, uint32_t index);
static inline bool message_frame_is_final(const struct message_geometry *g, uint32_t index) {
        return index == g->n_frames - 1;
}
