/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one type for key material. Its bytes live in OpenSSL's secure heap: guard pages, locked into memory, left out of
 * core dumps, wiped when freed. RSA private keys made by OpenSSL keep their numbers in the same heap. */

#include "basic/macros.h"

struct secret {
        size_t size;
        uint8_t *data; /* size bytes, then one NUL that is not counted, so that text secrets are C strings */
};

/* Call once, before any secret or key exists and before threads: sets up the locked heap, and makes the process
 * undumpable (no core files, no ptrace by its own user). Returns -EPERM or -ENOMEM when memory cannot be locked. */
int secret_init(void);

/* A zeroed secret of `size` bytes; -ENOMEM when the locked heap is full. */
int secret_new(size_t size, struct secret **ret);
int secret_copy(const void *data, size_t size, struct secret **ret);
void secret_free(struct secret *s);
DEFINE_CLEANUP(struct secret *, secret_free, secret_freep)
#define _cleanup_secret_ _cleanup_(secret_freep)
