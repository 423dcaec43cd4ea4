/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one type for key material. Its bytes live in OpenSSL's secure heap: guard pages, locked into memory, left out of
 * core dumps, wiped when freed. RSA private keys made by OpenSSL keep their numbers in the same heap. */

#include <openssl/types.h>

#include "basic/macros.h"

/* The size of the data key that KMS generates and releases for a model: AES-256. */
enum { DATA_KEY_SIZE = 32 };

struct secret {
        size_t size;
        uint8_t *data; /* size bytes, then one NUL that is not counted, so that text secrets are C strings */
};

/* Call once, before any secret or key exists, before threads, and before anything else calls OpenSSL: sets up the
 * locked heap, and makes the process undumpable (no core files, no ptrace by its own user). Returns -EPERM or
 * -ENOMEM when memory cannot be locked, -EBUSY when OpenSSL was in use already. */
int secret_init(void);

/* OpenSSL's own memory holds keys, too: the expanded key of AES begins with the key itself, and HKDF and RSA keep
 * copies. Between these two calls, whatever OpenSSL allocates on this thread is in the locked heap, until OpenSSL
 * frees it. Fetch algorithms before: OpenSSL keeps them, and locked memory is scarce. Calls nest. Without secret_init()
 * they have no effect. */
void secret_memory_begin(void);
void secret_memory_end(void);
/* Makes `ctx` ready for a key, which it will keep in the locked heap. -EIO: no such algorithm; -ENOMEM. */
int secret_cipher(EVP_CIPHER_CTX *ctx, const char *algorithm, bool encrypt);
/* The likely cause when OpenSSL fails between the two, for an error. */
#define SECRET_MEMORY_FULL "OpenSSL failed; locked memory may be used up (LimitMEMLOCK=, ulimit -l)"

/* A zeroed secret of `size` bytes; -ENOMEM when the locked heap is full. */
int secret_new(size_t size, struct secret **ret);
int secret_copy(const void *data, size_t size, struct secret **ret);
void secret_free(struct secret *s);
DEFINE_CLEANUP(struct secret *, secret_free, secret_freep)
#define _cleanup_secret_ _cleanup_(secret_freep)
