/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/secret.h"

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* Room for an RSA-2048 key and its arithmetic, data keys and credentials; small enough for the default
 * RLIMIT_MEMLOCK of 64 KiB that old distributions give ordinary users. */
enum { SECURE_HEAP_BYTES = 32 * 1024, SECURE_HEAP_SMALLEST = 16 };

int secret_init(void) {
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return -errno;
        if (setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 }) < 0)
                return -errno;
        if (CRYPTO_secure_malloc_initialized())
                return 0;
        /* 2 means: allocated, but not locked. A key that may reach swap is no secret. */
        switch (CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_SMALLEST)) {
        case 1:
                return 0;
        case 2:
                return -EPERM;
        default:
                return -ENOMEM;
        }
}

int secret_new(size_t size, struct secret **ret) {
        struct secret *s;

        s = OPENSSL_secure_zalloc(sizeof *s + size + 1);
        if (!s)
                return -ENOMEM;
        *s = (struct secret) { .size = size, .data = (uint8_t *) (s + 1) };
        *ret = s;
        return 0;
}

int secret_copy(const void *data, size_t size, struct secret **ret) {
        int r;

        r = secret_new(size, ret);
        if (r < 0)
                return r;
        if (size > 0)
                memcpy((*ret)->data, data, size);
        return 0;
}

void secret_free(struct secret *s) {
        if (s)
                OPENSSL_secure_clear_free(s, sizeof *s + s->size + 1);
}
