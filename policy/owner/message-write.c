/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/message-write.h"

#include <endian.h>
#include <openssl/rand.h>

#include "sealed/message-key.h"

struct writer {
        uint8_t *p;
        size_t n;
};

static void put(struct writer *w, const void *data, size_t n) {
        if (w->p && n > 0)
                memcpy(w->p + w->n, data, n);
        w->n += n;
}

static void put_u16(struct writer *w, size_t v) {
        put(w, &(uint16_t) { htobe16((uint16_t) v) }, 2);
}

static void put_counted(struct writer *w, const void *data, size_t n) {
        put_u16(w, n);
        put(w, data, n);
}

static size_t put_context(struct writer *w, const struct pair *context, size_t n) {
        size_t before = w->n;

        put_u16(w, n);
        for (size_t i = 0; i < n; i++) {
                put_counted(w, context[i].name, strlen(context[i].name));
                put_counted(w, context[i].value, strlen(context[i].value));
        }
        return w->n - before;
}

/* Called twice: to count the bytes, and to write them. */
static void put_body(struct writer *w, const uint8_t id[static MESSAGE_ID_SIZE], const struct pair *context,
                     size_t n_context, const struct message_data_key *keys, size_t n_keys, uint32_t frame_length,
                     const uint8_t commit[static MESSAGE_KEY_SIZE]) {
        struct writer count = { 0 };

        put(w, &(uint8_t) { MESSAGE_VERSION }, 1);
        put_u16(w, MESSAGE_SUITE);
        put(w, id, MESSAGE_ID_SIZE);
        put_u16(w, n_context > 0 ? put_context(&count, context, n_context) : 0);
        if (n_context > 0)
                put_context(w, context, n_context);
        put_u16(w, n_keys);
        for (size_t i = 0; i < n_keys; i++) {
                put_counted(w, keys[i].provider, strlen(keys[i].provider));
                put_counted(w, keys[i].info, keys[i].info_size);
                put_counted(w, keys[i].ciphertext, keys[i].ciphertext_size);
        }
        put(w, &(uint8_t) { MESSAGE_FRAMED }, 1);
        put(w, &(uint32_t) { htobe32(frame_length) }, 4);
        put(w, commit, MESSAGE_KEY_SIZE);
}

static int compare_pairs(const void *a, const void *b) {
        return strcmp(((const struct pair *) a)->name, ((const struct pair *) b)->name);
}

static int sorted_context(const struct pair *context, size_t n, struct pair **ret, struct error *e) {
        struct pair *sorted;
        size_t total = 2;

        for (size_t i = 0; i < n; i++)
                total += 4 + strlen(context[i].name) + strlen(context[i].value);
        if (total > UINT16_MAX)
                return fail(e, FAILURE_CONTEXT, -E2BIG, "encryption context",
                            "it has %zu bytes, and at most 65535 fit into a message", total);
        sorted = calloc(n + 1, sizeof *sorted);
        if (!sorted)
                return fail_oom(e);
        if (n > 0)
                memcpy(sorted, context, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, compare_pairs);
        *ret = sorted;
        return 0;
}

static int make_tag(const struct secret *key, const uint8_t *body, size_t size, uint8_t tag[static MESSAGE_TAG_SIZE]) {
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        uint8_t none[1];
        int n;

        if (!ctx || message_header_cipher(ctx, true, key, body, size) < 0 || EVP_CipherFinal_ex(ctx, none, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, MESSAGE_TAG_SIZE, tag) != 1)
                return -EIO;
        return 0;
}

int message_header_new(const struct pair *context, size_t n_context, const struct message_data_key *data_keys,
                       size_t n_data_keys, uint32_t frame_length, const struct secret *data_key,
                       struct message_header **ret, struct secret **ret_file_key, struct error *e) {
        _cleanup_free_ struct pair *sorted = NULL;
        _cleanup_secret_ struct secret *key = NULL;
        _cleanup_free_ uint8_t *bytes = NULL;
        uint8_t id[MESSAGE_ID_SIZE], commit[MESSAGE_KEY_SIZE];
        struct writer w = { 0 };
        int r;

        for (size_t i = 0; i < n_data_keys; i++)
                if (data_keys[i].info_size > UINT16_MAX || data_keys[i].ciphertext_size > UINT16_MAX)
                        return fail(e, FAILURE_SEALED_FORMAT, -E2BIG, "encrypted data key",
                                    "it does not fit a message: a field has more than 65535 bytes");
        if (RAND_bytes(id, sizeof id) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "OpenSSL gave no random numbers");
        r = sorted_context(context, n_context, &sorted, e);
        if (r < 0)
                return r;
        r = message_keys_derive(id, data_key, &key, commit, e);
        if (r < 0)
                return r;
        put_body(&w, id, sorted, n_context, data_keys, n_data_keys, frame_length, commit);
        bytes = malloc(w.n + MESSAGE_TAG_SIZE);
        if (!bytes)
                return fail_oom(e);
        w = (struct writer) { .p = bytes };
        put_body(&w, id, sorted, n_context, data_keys, n_data_keys, frame_length, commit);
        if (make_tag(key, bytes, w.n, bytes + w.n) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "AES-256-GCM: " SECRET_MEMORY_FULL);
        /* The parser makes the structure: this shows that the header can be read. */
        r = message_header_parse(bytes, w.n + MESSAGE_TAG_SIZE, "new header", ret, e);
        if (r < 0)
                return r;
        *ret_file_key = TAKE(key);
        return 0;
}

uint64_t message_object_size(size_t header_size, uint32_t frame_length, uint64_t plaintext_size) {
        uint64_t regular = plaintext_size > 0 ? (plaintext_size - 1) / frame_length : 0;

        return header_size + regular * MESSAGE_FRAME_EXTRA + MESSAGE_FINAL_EXTRA + plaintext_size;
}
