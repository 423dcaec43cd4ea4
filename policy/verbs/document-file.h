/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "verify/document.h"

/* The forms in which people hand a document over: raw; as base64 (either alphabet, padded or not) or hex text; or as
 * such a text or an array of byte values in JSON, such as KMS's Recipient parameter, a web service's
 * {"attestation_document": ...}, or what an SDK prints. Text may be in UTF-8 or UTF-16 with a byte order mark.
 * FAILURE_DOCUMENT. */
int document_decode(const uint8_t *data, size_t size, const char *subject, uint8_t **ret, size_t *ret_n,
                    struct error *e);

/* The same from a file or "-". The caller frees *ret. */
int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e);
