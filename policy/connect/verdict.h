/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a verifier found, for people: the table of `sealboot verify`, the same as JSON, and one line that says what a
 * refusal means. `r` is what the verifier's run returned. */

#include "basic/json.h"
#include "verify/sealboot-verify.h"

DEFINE_CLEANUP(struct sealboot_verifier *, sealboot_verifier_free, verifier_freep)
#define _cleanup_verifier_ _cleanup_(verifier_freep)

/* `what` names the document. */
void verdict_print(FILE *f, const struct sealboot_verifier *v, const char *what, int r);
/* "verified", "checks", and "document", which is null unless it is authentic. */
json_object *verdict_to_json(const struct sealboot_verifier *v, int r);
/* The exit code: 0, FAILURE_MISMATCH or FAILURE_DOCUMENT. */
int verdict_code(int r);

/* A stable word, such as "another-image"; and one line, such as "another image: PCR4 differs from image.json". */
enum { REFUSAL_MAX = 512 };
struct refusal {
        const char *code;
        char text[REFUSAL_MAX];
};
void verdict_refusal(const struct sealboot_verifier *v, int r, struct refusal *ret);

/* The certificates of a document that has been verified, leaf first: subject, issuer, not_before, not_after, sha256.
 * NULL: none could be read. */
json_object *certificates_to_json(const void *document, size_t size);
