/* SPDX-License-Identifier: Apache-2.0 */

/* An EFI signature list. Every entry must lie in the input, in order and without overlap. */

#include "measure/esl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_esl_ struct esl esl = {};
        const uint8_t *at = data;
        struct error e = {};

        if (esl_parse(data, size, "fuzz", &esl, &e) < 0)
                return e.failure == FAILURE_NONE ? (abort(), 0) : 0;
        if (esl.bytes < data || esl.bytes + esl.size != data + size)
                abort();
        at = esl.bytes;
        for (size_t i = 0; i < esl.n; i++) {
                const struct esl_entry *entry = &esl.entries[i];

                if (entry->signature < at || entry->signature + entry->signature_size > data + size ||
                    entry->data + entry->data_size != entry->signature + entry->signature_size ||
                    entry->data_size < esl_hash_size(entry->type))
                        abort();
                at = entry->signature + entry->signature_size;
        }
        return 0;
}
