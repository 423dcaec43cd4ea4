/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A hash engine: one way to compute the SHA-256 of many 4096-byte blocks, which are fs-verity's leaves. Each engine is
 * one file that depends on this header and engine-sha256.h alone, so that the tests build it for other CPUs, too.
 *
 * The engines do not wipe their registers or their stack. They see plaintext and digests of it, never a key. The same
 * plaintext is in this process's buffers and on the tmpfs, and the process cannot be dumped. */

#include <stddef.h>
#include <stdint.h>

enum { ENGINE_BLOCK = 4096, ENGINE_DIGEST = 32 };

struct engine {
        const char *name; /* in the boot report, for example; stable */
        unsigned lanes;   /* so many blocks are hashed side by side */
        /* -EOPNOTSUPP: this CPU does not have the instructions; -ENOMEM. *ret_state is for hash() of one thread. */
        int (*start)(void **ret_state);
        void (*end)(void *state); /* NULL: start() allocates nothing */
        /* Hashes n blocks, a multiple of `lanes`, and writes 32 bytes for each. -EIO: the engine failed. */
        int (*hash)(void *state, const uint8_t *data, size_t n, uint8_t *digests);
};

extern const struct engine engine_library, engine_avx512, engine_avx2, engine_sha_ni, engine_armv8;
