/* SPDX-License-Identifier: Apache-2.0 */
#include "recipient/recipient.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "recipient/rsa-key.h"

enum { RSA_BYTES = RSA_KEY_BITS / 8, CONTENT_KEY_BYTES = 32, BLOCK_BYTES = 16 };

static inline void pkey_ctx_freep(EVP_PKEY_CTX **c) {
        EVP_PKEY_CTX_free(*c);
}

struct recipient {
        EVP_PKEY *key;
        uint8_t *spki;
        size_t spki_size;
};

void recipient_free(struct recipient *r) {
        if (!r)
                return;
        EVP_PKEY_free(r->key);
        OPENSSL_free(r->spki);
        free(r);
}

int recipient_new(struct recipient **ret, struct error *e) {
        _cleanup_recipient_ struct recipient *r = NULL;
        int n;

        r = calloc(1, sizeof *r);
        if (!r)
                return fail_oom(e);
        n = rsa_key_new(&r->key) == 0 ? i2d_PUBKEY(r->key, &r->spki) : -1;
        if (n <= 0) {
                ERR_clear_error();
                return fail(e, FAILURE_INTERNAL, -EIO, "recipient key", "OpenSSL cannot make an RSA-2048 key");
        }
        r->spki_size = (size_t) n;
        *ret = TAKE(r);
        return 0;
}

void recipient_public_key(const struct recipient *r, const uint8_t **ret, size_t *ret_size) {
        *ret = r->spki;
        *ret_size = r->spki_size;
}

static inline void cipher_ctx_freep(EVP_CIPHER_CTX **c) {
        EVP_CIPHER_CTX_free(*c);
}

/* Whether `out` now starts with a 32-byte content key. */
static bool decrypt_oaep(struct recipient *r, const uint8_t *encrypted, struct secret *out) {
        _cleanup_(pkey_ctx_freep) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(r->key, NULL);
        size_t n = out->size;
        bool ok;

        if (!c || EVP_PKEY_decrypt_init(c) != 1 || EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING) != 1 ||
            EVP_PKEY_CTX_set_rsa_oaep_md(c, EVP_sha256()) != 1 || EVP_PKEY_CTX_set_rsa_mgf1_md(c, EVP_sha256()) != 1)
                return false;
        secret_memory_begin();
        ok = EVP_PKEY_decrypt(c, out->data, &n, encrypted, RSA_BYTES) == 1 && n == CONTENT_KEY_BYTES;
        secret_memory_end();
        return ok;
}

/* Decrypts all blocks, the padding included. */
static bool decrypt_cbc(const struct enveloped_key *k, const uint8_t *key, struct secret *out) {
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        int n;

        return c && secret_cipher(c, "AES-256-CBC", false) == 0 && EVP_DecryptInit_ex(c, NULL, NULL, key, k->iv) == 1 &&
               EVP_CIPHER_CTX_set_padding(c, 0) == 1 &&
               EVP_DecryptUpdate(c, out->data, &n, k->ciphertext, sizeof k->ciphertext) == 1 &&
               n == (int) sizeof k->ciphertext;
}

/* Where the content key does not decrypt, a random key takes its place: a wrong content key and wrong content then take
 * the same time, and end in the same error. */
int recipient_open(struct recipient *r, const uint8_t *cms, size_t n, struct secret **ret_key, struct error *e) {
        _cleanup_secret_ struct secret *random = NULL, *content_key = NULL, *plaintext = NULL, *key = NULL;
        uint8_t padding[BLOCK_BYTES];
        struct enveloped_key k;
        bool ok;
        int q;

        q = enveloped_key_parse(cms, n, &k, e);
        if (q < 0)
                return q;
        if (secret_new(CONTENT_KEY_BYTES, &random) < 0 || secret_new(RSA_BYTES, &content_key) < 0 ||
            secret_new(sizeof k.ciphertext, &plaintext) < 0)
                return fail_oom(e);
        if (RAND_priv_bytes(random->data, CONTENT_KEY_BYTES) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "OpenSSL gives no random numbers");
        ok = decrypt_oaep(r, k.encrypted_key, content_key);
        if (!decrypt_cbc(&k, ok ? content_key->data : random->data, plaintext))
                return fail(e, FAILURE_INTERNAL, -EIO, "recipient key", "OpenSSL cannot decrypt AES-256-CBC");
        ERR_clear_error();
        /* 32 bytes are followed by a whole block of padding (RFC 5652, section 6.3). */
        memset(padding, BLOCK_BYTES, sizeof padding);
        if ((CRYPTO_memcmp(plaintext->data + DATA_KEY_SIZE, padding, sizeof padding) != 0) | !ok)
                return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, "CiphertextForRecipient",
                            "it does not open with this boot's recipient key");
        if (secret_copy(plaintext->data, DATA_KEY_SIZE, &key) < 0)
                return fail_oom(e);
        *ret_key = TAKE(key);
        return 0;
}
