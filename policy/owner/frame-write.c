/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/frame-write.h"

#include <endian.h>

#include "sealed/frame-cipher.h"

static size_t put_u32(uint8_t *out, uint32_t v) {
        memcpy(out, &(uint32_t) { htobe32(v) }, 4);
        return 4;
}

size_t frame_head(uint8_t *out, uint32_t seq, bool final, uint32_t plaintext_size) {
        size_t n = 0;

        if (final)
                n += put_u32(out + n, MESSAGE_FINAL_MARK);
        n += put_u32(out + n, seq);
        frame_iv(seq, out + n);
        n += MESSAGE_IV_SIZE;
        if (final)
                n += put_u32(out + n, plaintext_size);
        return n;
}

int frame_close(struct frame_cipher *c, uint8_t tag[static MESSAGE_TAG_SIZE]) {
        uint8_t none[1];
        int n;

        if (EVP_CipherFinal_ex(c->ctx, none, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(c->ctx, EVP_CTRL_AEAD_GET_TAG, MESSAGE_TAG_SIZE, tag) != 1)
                return -EIO;
        return 0;
}

ssize_t frame_seal(struct frame_cipher *c, uint32_t seq, bool final, const void *plaintext, uint32_t n, uint8_t *out) {
        uint8_t iv[MESSAGE_IV_SIZE];
        size_t head = frame_head(out, seq, final, n);

        frame_iv(seq, iv);
        if (frame_begin(c, seq, final, n, iv) < 0 || frame_update(c, out + head, plaintext, n) < 0 ||
            frame_close(c, out + head + n) < 0)
                return -EIO;
        return (ssize_t) (head + n + MESSAGE_TAG_SIZE);
}
