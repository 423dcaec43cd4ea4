/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the verbs that know a model's digests tell them: what will be measured, for a person or as JSON. */

#include "basic/json.h"
#include "owner/source.h"

/* {"digest": "sha384:<hex>", "pcr15": "<hex>", "bytes": n, "files": [{"path", "size", "digest"}]} plus name and version
 * if known. */
int model_to_json(const struct model *m, json_object **ret, struct error *e);
/* {"digest": ..., "pcr15": ...} for the plain digest that "measure": "sha384" extends. */
int measured_to_json(const uint8_t digest[static MODEL_DIGEST], json_object **ret, struct error *e);

/* Two lines: the digest, and PCR15 of the SHA-384 bank as consumers will see it. */
int measured_print(FILE *f, const uint8_t digest[static MODEL_DIGEST], struct error *e);
/* What a source's model was scanned without, for people: one line on standard error, or nothing. */
void left_out_print(const char *verb, const struct source *s);
/* Adds the same to an object, as the list "left_out". */
int left_out_to_json(const struct source *s, json_object *o, struct error *e);
/* Pretty JSON and a newline. */
int json_print(FILE *f, json_object *o, struct error *e);
