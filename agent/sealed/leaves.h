/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-256 of many 4096-byte blocks at once. Blocks are independent, so a CPU with wide registers hashes 8 or 16 of them
 * in the time of three: Intel's multi-buffer library (package libipsec-mb) picks AVX-512, AVX2, SHA-NI or SSE for the
 * CPU it runs on. Without that library, or on another architecture, there is no such thing and OpenSSL hashes one block
 * after another, with the same result. */

#include "basic/macros.h"

struct leaves;

/* -EOPNOTSUPP when it is not built in or this CPU gains nothing; -ENOMEM. One per thread. */
int leaves_new(struct leaves **ret);
void leaves_free(struct leaves *l);
/* n blocks of 4096 bytes; writes 32 bytes for each. -EIO when the library refuses. */
int leaves_hash(struct leaves *l, const uint8_t *data, size_t n, uint8_t *digests);
