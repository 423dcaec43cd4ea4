/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-256 of many 4096-byte blocks at once. Blocks are independent, so a CPU with wide registers hashes 8 or 16 of them
 * in the time of three. Intel's multi-buffer library (package libipsec-mb) uses AVX-512, AVX2, SHA-NI or SSE, whichever
 * the CPU has. Without that library, or on another architecture, OpenSSL hashes one block after another. The digests
 * are the same. */

#include "basic/macros.h"

struct leaves;

/* -EOPNOTSUPP: the library is not built in, or does not support this CPU; -ENOMEM. Each thread needs its own. */
int leaves_new(struct leaves **ret);
void leaves_free(struct leaves *l);
/* Hashes n blocks of 4096 bytes, and writes 32 bytes for each. -EIO: the library failed. */
int leaves_hash(struct leaves *l, const uint8_t *data, size_t n, uint8_t *digests);
