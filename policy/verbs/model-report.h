/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What seal, unseal and digest print of a model: its digest and what will be measured, as text or as JSON. */

#include "basic/json.h"
#include "owner/source.h"

/* {"digest": "sha384:<hex>", "pcr15": "<hex>", "bytes": n, "files": [{"path", "size", "digest"}]} plus name and version
 * if known. */
int model_to_json(const struct model *m, json_object **ret, struct error *e);
/* {"digest": ..., "pcr15": ...} of the plain digest that images with "measure": "sha384" extend. */
int measured_to_json(const uint8_t digest[static MODEL_DIGEST], json_object **ret, struct error *e);

/* Two lines: the digest, and PCR15 of the SHA-384 bank as consumers will see it. */
int measured_print(FILE *f, const uint8_t digest[static MODEL_DIGEST], struct error *e);
/* One line on standard error about the bookkeeping that was left out, if there was any. */
void left_out_print(const char *verb, const struct source *s);
/* Adds the same to an object, as the list "left_out". */
int left_out_to_json(const struct source *s, json_object *o, struct error *e);
/* The layout that these verbs print, on standard output. */
int model_print_json(json_object *o, struct error *e);
