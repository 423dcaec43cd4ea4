/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "verify/document.h"

/* Reads a document from a file or "-": raw, or as base64 or hex text. The caller frees *ret. */
int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e);
