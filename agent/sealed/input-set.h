/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Several models in one machine, each of them an input of its owner. PCR15 is extended once, with the text of one line
 * for each input, in the order of the measured configuration:
 *
 *   sha384:<model digest in hex> NAME OWNER\n   a model that was loaded
 *   absent NAME OWNER\n                         an input that is not required and that was not given
 *
 * The SHA-384 of the text is the set digest. It takes the place of the model digest: PCR15 is SHA384(0^48 || set
 * digest). NAME has no space, and OWNER no line break, so that two sets have two texts. The text of a single model
 * begins with "sha256:", so that no set has the digest of a model. */

#include "sealed/model.h"

struct input_state {
        const char *name, *owner;
        const uint8_t *digest; /* MODEL_DIGEST bytes; NULL: absent */
};

/* The text and its SHA-384; the caller frees *ret. */
int input_set_text(const struct input_state *inputs, size_t n, char **ret, size_t *ret_n,
                   uint8_t ret_digest[static MODEL_DIGEST], struct error *e);
