/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Sealing a whole model into a place: every file by many threads, the manifest last. On failure nothing of it stays
 * there. */

#include "owner/place.h"
#include "owner/progress.h"
#include "owner/seal.h"

struct seal_model {
        struct source *source; /* its model gets object names and digests */
        const char *name, *version;
        const struct place *place; /* an object: of a source of one file, without a manifest */
        struct owner *owner;       /* NULL: the place is local */
        const struct seal_key *key;
        unsigned connections; /* threads; 0: chosen */
        struct progress *progress;
};

/* FAILURE_PUBLISH (-EEXIST) when there is a sealed model or object already. */
int seal_model_check(const struct place *place, struct owner *owner, struct error *e);
/* `replace`: what is there is removed first, manifest before objects, so that nobody ever finds a mixture. */
int seal_model(struct seal_model *s, bool replace, struct error *e);
