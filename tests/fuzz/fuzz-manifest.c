/* SPDX-License-Identifier: Apache-2.0 */

/* A manifest. What is accepted must be writable, and read back as the same model. */

#include "owner/manifest-write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_model_ struct model *m = NULL, *again = NULL;
        _cleanup_free_ char *text = NULL, *written = NULL;
        struct error e = { 0 };

        text = malloc(size + 1);
        if (!text)
                return 0;
        memcpy(text, data, size);
        text[size] = '\0';
        if (manifest_parse(text, size, "fuzz", &m, &e) < 0)
                return e.failure == FAILURE_NONE ? (abort(), 0) : 0;
        if (manifest_write(m, &written, &e) < 0 || manifest_parse(written, strlen(written), "fuzz", &again, &e) < 0)
                abort();
        if (again->n_files != m->n_files || memcmp(again->digest, m->digest, MODEL_DIGEST) != 0)
                abort();
        return 0;
}
