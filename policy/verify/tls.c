/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/tls.h"

#include <openssl/err.h>
#include <openssl/sha.h>

_Static_assert(sizeof TLS_LABEL + SHA256_DIGEST_LENGTH == SEALBOOT_TLS_USER_DATA_SIZE, "the label keeps its NUL");

enum { CERTIFICATE_MAX = 64 * 1024 };

void tls_user_data(const void *key, size_t key_size, uint8_t ret[static SEALBOOT_TLS_USER_DATA_SIZE]) {
        memcpy(ret, TLS_LABEL, sizeof TLS_LABEL);
        SHA256(key, key_size, ret + sizeof TLS_LABEL);
}

bool tls_is_user_data(const uint8_t *data, size_t size) {
        return size == SEALBOOT_TLS_USER_DATA_SIZE && memcmp(data, TLS_LABEL, sizeof TLS_LABEL) == 0;
}

int tls_certificate_key(const X509 *certificate, uint8_t ret[static SEALBOOT_TLS_KEY_MAX]) {
        X509_PUBKEY *key = X509_get_X509_PUBKEY(certificate);
        int n = i2d_X509_PUBKEY(key, NULL);

        if (n <= 0 || n > SEALBOOT_TLS_KEY_MAX)
                return -EINVAL;
        return i2d_X509_PUBKEY(key, &ret);
}

int sealboot_tls_certificate_key(const void *certificate, size_t size, uint8_t *key, size_t *key_size) {
        const uint8_t *at = certificate;
        X509 *x = NULL;
        int n = -EINVAL;

        if (size <= CERTIFICATE_MAX)
                x = d2i_X509(NULL, &at, (long) size);
        if (x && at == (const uint8_t *) certificate + size)
                n = tls_certificate_key(x, key);
        X509_free(x);
        ERR_clear_error();
        if (n < 0)
                return n;
        *key_size = (size_t) n;
        return 0;
}
