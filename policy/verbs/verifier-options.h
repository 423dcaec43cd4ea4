/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The options by which `verify` and `connect` say what a document must show. `field` is a struct sealboot_verifier **.
 */

#include "basic/options.h"
#include "verify/sealboot-verify.h"

/* The verifier's own words for what it refused with `r`: FAILURE_USAGE, or FAILURE_INTERNAL without memory. */
int verifier_refused(struct sealboot_verifier *v, int r, struct error *e);

int verifier_add_file(void *field, const struct option_row *row, char *path, struct error *e); /* --root, --reference */
int verifier_add_digest(void *field, const struct option_row *row, char *text, struct error *e); /* --model-digest */
int verifier_allow_partial_reference(void *field, const struct option_row *row, char *value, struct error *e);
