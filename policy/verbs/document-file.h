/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "verify/document.h"

/* Decodes a document from the forms that people have it in: raw bytes; base64 (either alphabet, padded or not) or hex
 * text; JSON with such a text or an array of byte values, such as KMS's Recipient parameter, the answer of a web
 * service
 * {"attestation_document": ...}, or the print of an SDK. Text may be in UTF-8, or in UTF-16 with a byte order mark.
 * FAILURE_DOCUMENT. */
int document_decode(const uint8_t *data, size_t size, const char *subject, uint8_t **ret, size_t *ret_n,
                    struct error *e);

/* The same from a file or "-". The caller frees *ret. */
int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e);
