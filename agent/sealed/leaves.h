/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA-256 of many 4096-byte blocks by the fastest engine that this build and this CPU have. Blocks are independent, so
 * an engine hashes 2, 8 or 16 of them side by side, in the time in which OpenSSL hashes fewer one after another. All
 * engines give the same digests. */

#include "basic/macros.h"

struct leaves;

/* `engine` is the name of one; NULL: the fastest. Each thread needs its own.
 * -EOPNOTSUPP: this build or this CPU does not have it, or has none; -ENOMEM. */
int leaves_new(const char *engine, struct leaves **ret);
void leaves_free(struct leaves *l);
const char *leaves_engine(const struct leaves *l);
/* Hashes the first of n blocks, as many as fill the engine's lanes, and writes 32 bytes for each. Returns how many it
 * hashed; the caller hashes the few that remain. -EIO: the engine failed. */
ssize_t leaves_hash(struct leaves *l, const uint8_t *data, size_t n, uint8_t *digests);

/* The names of the engines in this build, the fastest first; NULL: there is no such number. */
const char *leaves_engine_name(size_t number);
