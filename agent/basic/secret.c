/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/secret.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* The smallest has room for an RSA-2048 key and its arithmetic, data keys, credentials and a few ciphers, and fits
 * the RLIMIT_MEMLOCK of 64 KiB that old distributions give ordinary users. The largest has room for the ciphers of
 * more connections than the agent makes. */
enum { SECURE_HEAP_BYTES_MIN = 32 * 1024, SECURE_HEAP_BYTES_MAX = 2 * 1024 * 1024, SECURE_HEAP_SMALLEST = 16 };

/* ---- OpenSSL's allocations. The process has one set of functions for them, which do not learn the purpose: each
 * thread keeps whether it allocates for a secret. */

static _Thread_local unsigned memory_depth;

/* Makes what OpenSSL keeps for a thread (random generators, the queue of errors), so that it is not in locked memory.
 */
static void make_lasting_state(void) {
        uint8_t unused[1];

        (void) RAND_bytes(unused, sizeof unused);
        (void) RAND_priv_bytes(unused, sizeof unused);
        (void) ERR_peek_error();
}

void secret_memory_begin(void) {
        static _Thread_local bool made;

        if (!made)
                make_lasting_state();
        made = true;
        memory_depth++;
}

void secret_memory_end(void) {
        memory_depth--;
}

static void *allocate(size_t n, const char *file, int line) {
        if (memory_depth > 0 && CRYPTO_secure_malloc_initialized())
                return CRYPTO_secure_malloc(n, file, line);
        return malloc(n);
}

static void release(void *p, const char *file, int line) {
        if (p && CRYPTO_secure_allocated(p))
                CRYPTO_secure_clear_free(p, CRYPTO_secure_actual_size(p), file, line);
        else
                free(p);
}

/* Locked memory stays locked. Memory that becomes locked is wiped where it was. */
static void *reallocate(void *p, size_t n, const char *file, int line) {
        bool locked = p && CRYPTO_secure_allocated(p);
        size_t had;
        void *q;

        if (!locked && (memory_depth == 0 || !p))
                return p ? realloc(p, n) : allocate(n, file, line);
        had = locked ? CRYPTO_secure_actual_size(p) : malloc_usable_size(p);
        q = n > 0 && CRYPTO_secure_malloc_initialized() ? CRYPTO_secure_malloc(n, file, line) : NULL;
        if (!q && n > 0)
                return NULL;
        if (q)
                memcpy(q, p, MIN_OF(n, had));
        if (!locked)
                OPENSSL_cleanse(p, had);
        release(p, file, line);
        return q;
}

/* ---- setting up */

/* Locks as much as RLIMIT_MEMLOCK allows. */
static int lock_heap(void) {
        for (size_t size = SECURE_HEAP_BYTES_MAX; size >= SECURE_HEAP_BYTES_MIN; size /= 2) {
                switch (CRYPTO_secure_malloc_init(size, SECURE_HEAP_SMALLEST)) {
                case 1:
                        return 0;
                case 2: /* allocated, but not locked: a key could reach swap */
                        CRYPTO_secure_malloc_done();
                        break;
                default:
                        return -ENOMEM;
                }
        }
        return -EPERM;
}

int secret_init(void) {
        if (prctl(PR_SET_DUMPABLE, 0) < 0)
                return -errno;
        if (setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 }) < 0)
                return -errno;
        if (CRYPTO_secure_malloc_initialized())
                return 0;
        if (CRYPTO_set_mem_functions(allocate, reallocate, release) != 1)
                return -EBUSY;
        return lock_heap();
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

int secret_cipher(EVP_CIPHER_CTX *ctx, const char *algorithm, bool encrypt) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, algorithm, NULL);
        bool ok;

        if (!cipher)
                return -EIO;
        secret_memory_begin();
        ok = EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, encrypt) == 1;
        secret_memory_end();
        EVP_CIPHER_free(cipher); /* the context has its own reference */
        return ok ? 0 : -ENOMEM;
}
