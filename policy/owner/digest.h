/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Digests of what lies on the owner's disk, by many threads. */

#include "owner/progress.h"
#include "owner/source.h"

/* Fills the digest of every file, and the model's. */
int digest_source(struct source *s, unsigned n_threads, struct progress *progress, struct error *e);
/* The plain SHA-384 of the only file of a source: what "measure": "sha384" extends. One thread, by its nature. */
int digest_sha384(const struct source *s, struct progress *progress, uint8_t ret[static MODEL_DIGEST], struct error *e);
