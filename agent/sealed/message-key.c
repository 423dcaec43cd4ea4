/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/message-key.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

DEFINE_CLEANUP(EVP_KDF *, EVP_KDF_free, kdf_freep)
DEFINE_CLEANUP(EVP_MD *, EVP_MD_free, md_freep)

static int derive(const uint8_t id[static MESSAGE_ID_SIZE], const struct secret *data_key, const char *info,
                  size_t info_size, uint8_t *out) {
        /* Fetched here so that OpenSSL does not do it in locked memory, where it would keep the digest for good. */
        _cleanup_(md_freep) EVP_MD *md = EVP_MD_fetch(NULL, "SHA512", NULL);
        _cleanup_(kdf_freep) EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
        OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *) "SHA512", 0),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, data_key->data, data_key->size),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *) id, MESSAGE_ID_SIZE),
                OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, info_size),
                OSSL_PARAM_construct_end(),
        };
        EVP_KDF_CTX *ctx;
        bool ok;

        if (!md || !kdf)
                return -EIO;
        secret_memory_begin();
        ctx = EVP_KDF_CTX_new(kdf);
        ok = ctx && EVP_KDF_derive(ctx, out, MESSAGE_KEY_SIZE, params) == 1;
        EVP_KDF_CTX_free(ctx);
        secret_memory_end();
        return ok ? 0 : -ENOMEM;
}

int message_keys_derive(const uint8_t id[static MESSAGE_ID_SIZE], const struct secret *data_key,
                        struct secret **ret_file_key, uint8_t commit_key[static MESSAGE_KEY_SIZE], struct error *e) {
        /* The info of the file key begins with the suite, in the byte order of the message. */
        static const char key_info[] = {
                MESSAGE_SUITE >> 8, MESSAGE_SUITE & 0xff, 'D', 'E', 'R', 'I', 'V', 'E', 'K', 'E', 'Y'
        };
        static const char commit_info[] = { 'C', 'O', 'M', 'M', 'I', 'T', 'K', 'E', 'Y' };
        _cleanup_secret_ struct secret *key = NULL;

        if (data_key->size != DATA_KEY_SIZE)
                return fail(e, FAILURE_SEALED_FORMAT, -EINVAL, "", "the data key has %zu bytes instead of 32",
                            data_key->size);
        if (secret_new(MESSAGE_KEY_SIZE, &key) < 0)
                return fail_oom(e);
        if (derive(id, data_key, key_info, sizeof key_info, key->data) < 0 ||
            derive(id, data_key, commit_info, sizeof commit_info, commit_key) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "HKDF-SHA512: " SECRET_MEMORY_FULL);
        *ret_file_key = TAKE(key);
        return 0;
}

int message_header_cipher(EVP_CIPHER_CTX *ctx, bool encrypt, const struct secret *file_key, const uint8_t *body,
                          size_t size) {
        static const uint8_t iv[MESSAGE_IV_SIZE];
        int n;

        if (secret_cipher(ctx, "AES-256-GCM", encrypt) < 0 ||
            EVP_CipherInit_ex(ctx, NULL, NULL, file_key->data, iv, -1) != 1 ||
            EVP_CipherUpdate(ctx, NULL, &n, body, (int) size) != 1)
                return -EIO;
        return 0;
}
