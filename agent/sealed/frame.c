/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/frame.h"

#include <endian.h>
#include <limits.h>

#include "basic/reader.h"
#include "sealed/frame-cipher.h"

static const char regular_text[] = "AWSKMSEncryptionClient Frame";
static const char final_text[] = "AWSKMSEncryptionClient Final Frame";

int frame_cipher_new(bool encrypt, struct frame_cipher **ret, struct error *e) {
        _cleanup_(frame_cipher_freep) struct frame_cipher *c = calloc(1, sizeof *c);
        int r;

        if (!c)
                return fail_oom(e);
        c->ctx = EVP_CIPHER_CTX_new();
        r = c->ctx ? secret_cipher(c->ctx, "AES-256-GCM", encrypt) : -ENOMEM;
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, "", "AES-256-GCM: " SECRET_MEMORY_FULL);
        *ret = TAKE(c);
        return 0;
}

void frame_cipher_free(struct frame_cipher *c) {
        if (!c)
                return;
        EVP_CIPHER_CTX_free(c->ctx);
        free(c);
}

int frame_cipher_key(struct frame_cipher *c, const struct secret *file_key, const uint8_t id[static MESSAGE_ID_SIZE]) {
        memcpy(c->id, id, MESSAGE_ID_SIZE);
        return EVP_CipherInit_ex(c->ctx, NULL, NULL, file_key->data, NULL, -1) == 1 ? 0 : -EIO;
}

int frame_begin(struct frame_cipher *c, uint32_t seq, bool final, uint32_t plaintext_size,
                const uint8_t iv[static MESSAGE_IV_SIZE]) {
        const char *text = final ? final_text : regular_text;
        size_t text_size = final ? sizeof final_text - 1 : sizeof regular_text - 1, n = 0;
        uint8_t aad[MESSAGE_ID_SIZE + sizeof final_text + 4 + 8];
        int out;

        memcpy(aad, c->id, MESSAGE_ID_SIZE);
        n += MESSAGE_ID_SIZE;
        memcpy(aad + n, text, text_size);
        n += text_size;
        memcpy(aad + n, &(uint32_t) { htobe32(seq) }, 4);
        n += 4;
        memcpy(aad + n, &(uint64_t) { htobe64(plaintext_size) }, 8);
        n += 8;
        if (EVP_CipherInit_ex(c->ctx, NULL, NULL, NULL, iv, -1) != 1 ||
            EVP_CipherUpdate(c->ctx, NULL, &out, aad, (int) n) != 1)
                return -EIO;
        return 0;
}

int frame_update(struct frame_cipher *c, void *out, const void *in, size_t n) {
        while (n > 0) {
                int step = (int) MIN_OF(n, (size_t) 1 << 30), done;

                if (EVP_CipherUpdate(c->ctx, out, &done, in, step) != 1 || done != step)
                        return -EIO;
                out = (uint8_t *) out + step;
                in = (const uint8_t *) in + step;
                n -= (size_t) step;
        }
        return 0;
}

int frame_open(struct frame_cipher *c, const uint8_t tag[static MESSAGE_TAG_SIZE]) {
        uint8_t none[1];
        int n;

        if (EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_SET_TAG, MESSAGE_TAG_SIZE, (void *) tag) != 1)
                return -EIO;
        return EVP_CipherFinal_ex(c->ctx, none, &n) == 1 ? 0 : -EBADMSG;
}

void frame_iv(uint32_t seq, uint8_t iv[static MESSAGE_IV_SIZE]) {
        memset(iv, 0, MESSAGE_IV_SIZE - 4);
        memcpy(iv + MESSAGE_IV_SIZE - 4, &(uint32_t) { htobe32(seq) }, 4);
}

int frame_head_check(const struct message_geometry *g, uint32_t index, const uint8_t *head, bool any_iv,
                     uint8_t iv[static MESSAGE_IV_SIZE], const char *subject, struct error *e) {
        bool final = message_frame_is_final(g, index);
        struct reader r = reader_over(head, final ? MESSAGE_FINAL_HEAD : MESSAGE_FRAME_HEAD);
        uint8_t wanted[MESSAGE_IV_SIZE];
        uint32_t mark = MESSAGE_FINAL_MARK, seq, length = g->final_length;

        if ((final && reader_be32(&r, &mark) < 0) || reader_be32(&r, &seq) < 0 ||
            reader_copy(&r, iv, MESSAGE_IV_SIZE) < 0 || (final && reader_be32(&r, &length) < 0))
                return fail(e, FAILURE_INTERNAL, -EIO, subject, "it has a frame head that is too short");
        if (mark != MESSAGE_FINAL_MARK)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has no final frame where its size puts it: truncated, or with trailing bytes");
        if (!final && seq == MESSAGE_FINAL_MARK)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject, "it has a final frame at position %u of %u",
                            index + 1, g->n_frames);
        if (seq != index + 1)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has frame %u at position %u: frames were moved or lost", seq, index + 1);
        if (length != g->final_length)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has a final frame of %u bytes, but its size leaves %u: truncated, or with trailing "
                            "bytes",
                            length, g->final_length);
        frame_iv(seq, wanted);
        if (!any_iv && memcmp(iv, wanted, sizeof wanted) != 0)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has an IV in frame %u that is not its sequence number", seq);
        return 0;
}

/* Decrypts the frames of `body` one after another into `out`, which has room for the plaintext. */
static int open_frames(struct frame_cipher *c, const struct message_geometry *g, struct reader *body, bool any_iv,
                       const char *subject, uint8_t *out, struct error *e) {
        for (uint32_t i = 0; i < g->n_frames; i++) {
                uint32_t length = message_frame_plaintext(g, i);
                bool final = message_frame_is_final(g, i);
                const uint8_t *head, *ciphertext, *tag;
                uint8_t iv[MESSAGE_IV_SIZE];
                int r;

                if (reader_bytes(body, final ? MESSAGE_FINAL_HEAD : MESSAGE_FRAME_HEAD, &head) < 0 ||
                    reader_bytes(body, length, &ciphertext) < 0 || reader_bytes(body, MESSAGE_TAG_SIZE, &tag) < 0)
                        return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject, "it is truncated in frame %u", i + 1);
                r = frame_head_check(g, i, head, any_iv, iv, subject, e);
                if (r < 0)
                        return r;
                if (frame_begin(c, i + 1, final, length, iv) < 0 || frame_update(c, out, ciphertext, length) < 0 ||
                    frame_open(c, tag) < 0)
                        return fail(e, FAILURE_AUTHENTICATION, -EBADMSG, subject,
                                    "it was altered: the tag of frame %u of %u does not verify", i + 1, g->n_frames);
                out += length;
        }
        return 0;
}

int message_open(const struct message_header *h, const uint8_t *object, size_t size, const struct secret *data_key,
                 bool any_iv, const char *subject, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_(frame_cipher_freep) struct frame_cipher *cipher = NULL;
        _cleanup_secret_ struct secret *key = NULL;
        _cleanup_free_ uint8_t *out = NULL;
        struct message_geometry g;
        struct reader body;
        int r;

        r = message_geometry(h, size, subject, &g, e);
        if (r < 0)
                return r;
        r = message_file_key(h, data_key, subject, &key, e);
        if (r < 0)
                return r;
        r = frame_cipher_new(false, &cipher, e);
        if (r < 0)
                return r;
        out = malloc(g.plaintext_size + 1);
        if (!out || frame_cipher_key(cipher, key, h->id) < 0)
                return fail_oom(e);
        body = reader_over(object + h->size, size - h->size);
        r = open_frames(cipher, &g, &body, any_iv, subject, out, e);
        if (r < 0)
                return r;
        out[g.plaintext_size] = 0;
        *ret = TAKE(out);
        *ret_n = g.plaintext_size;
        return 0;
}
