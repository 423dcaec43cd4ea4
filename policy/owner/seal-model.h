/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Seals a whole model into a place: the files by many threads, the manifest last. On failure nothing is left there. */

#include "owner/place.h"
#include "owner/progress.h"
#include "owner/seal.h"

struct seal_model {
        struct source *source; /* its model gets object names and digests */
        const char *name, *version;
        const struct place *place; /* a single object: the source is one file, and there is no manifest */
        struct owner *owner;       /* NULL: the place is local */
        const struct seal_key *key;
        unsigned connections; /* threads; 0: chosen */
        struct progress *progress;
};

/* FAILURE_PUBLISH (-EEXIST) when there is a sealed model or object already. */
int seal_model_check(const struct place *place, struct owner *owner, struct error *e);
/* `replace`: removes a sealed model or object at the place first, the manifest before the objects, so that no reader
 * finds a mixture. */
int seal_model(struct seal_model *s, bool replace, struct error *e);
