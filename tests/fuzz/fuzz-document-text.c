/* SPDX-License-Identifier: Apache-2.0 */

/* The forms a document is handed over in: every one of them is longer than the document. */

#include "verbs/document-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *document = NULL;
        struct error e = { 0 };
        size_t n;

        if (document_decode(data, size, "fuzz", &document, &n, &e) < 0)
                return e.failure != FAILURE_DOCUMENT || !e.reason[0] ? (abort(), 0) : 0;
        if (n > size || !document)
                abort();
        return 0;
}
